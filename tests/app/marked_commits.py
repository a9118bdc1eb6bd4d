"""A program to be traced: a run whose write transactions leave marks between the system calls around them.

A mark is a ``readlink`` of a path that does not exist: it changes nothing, and a tracer shows it in its place among
the system calls of the same thread.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from sqlalchemy import Connection

from benchmarks.pipelines import fan_out
from orchestrator.store.sqlite import SqliteDatabase

BEGUN, DURABLE = "/mark/begun", "/mark/durable"


def mark(path: str) -> None:
    """Show up in the trace."""
    with contextlib.suppress(OSError):
        os.readlink(path)


def main(n: int) -> None:
    """Run a fan-out; its sum goes to standard output."""
    write = SqliteDatabase.write

    @contextlib.contextmanager
    def marked(database: SqliteDatabase) -> Iterator[Connection]:
        mark(BEGUN)
        with write(database) as connection:
            yield connection
        mark(DURABLE)  # nobody has been told yet

    SqliteDatabase.write = marked  # type: ignore[method-assign]
    print(fan_out.options(on="local").run(salt=0, n=n).result())


if __name__ == "__main__":
    main(2_000)
