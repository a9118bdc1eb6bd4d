"""Processes for tests, forked from one that has the libraries loaded: as apart as any, without an interpreter's start.

That start is proven by the tests of whole programs, which start them as a user does.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from orchestrator.cli.main import COMMANDS, main

ROOT = Path(__file__).parents[1]
_LIBRARIES = (
    "alembic",
    "jsonschema",
    "numpy",
    "pandas",
    "pyarrow.parquet",
    "rich.live",
    "sqlalchemy.orm",
    "typer",
    "yaml",
)


@dataclass(frozen=True)
class Done:
    """What a process left."""

    code: int
    out: str
    err: str


def command(*arguments: str, cwd: Path, env: Mapping[str, str]) -> Done:
    """Run ``orc`` with arguments to its end."""
    return forked(main, arguments, cwd=cwd, env=env)


def program(code: str, *arguments: str, cwd: Path, env: Mapping[str, str]) -> Done:
    """Run what ``python -c`` would."""
    return forked(_execute, code, arguments, cwd=cwd, env=env)


def forked(work: Callable[..., object], *arguments: Any, cwd: Path, env: Mapping[str, str]) -> Done:
    """Call a function in a process of its own, and wait until it and all that hold its outputs have ended."""
    context = _context()
    (out, its_out), (err, its_err) = context.Pipe(duplex=False), context.Pipe(duplex=False)
    process = context.Process(target=_begin, args=(its_out, its_err, str(cwd), dict(env), work, arguments))
    try:
        process.start()
        its_out.close()
        its_err.close()
        with ThreadPoolExecutor(2) as readers:
            written = list(readers.map(_read, (out, err)))
        process.join()
    finally:
        if process.is_alive():
            process.kill()
    assert process.exitcode is not None
    return Done(process.exitcode, *written)


@cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    modules = {f"orchestrator.cli.{one.module}" for one in COMMANDS.values()}
    context.set_forkserver_preload([*_LIBRARIES, "orchestrator.testing", *sorted(modules)])
    return context


def _begin(
    out: Connection, err: Connection, cwd: str, env: dict[str, str], work: Callable[..., object], arguments: Any
) -> None:
    for number, pipe in ((1, out), (2, err)):
        os.dup2(pipe.fileno(), number)
        pipe.close()
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", buffering=1, closefd=False)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path[:0] = ["", *env.get("PYTHONPATH", "").split(os.pathsep)]
    work(*arguments)


def _execute(code: str, arguments: tuple[str, ...]) -> None:
    sys.argv = ["-c", *arguments]
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})


def _read(pipe: Connection) -> str:
    with os.fdopen(os.dup(pipe.fileno()), errors="replace") as file, pipe:
        return file.read()
