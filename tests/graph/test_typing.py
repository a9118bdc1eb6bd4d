"""Decorators keep signatures: mypy, run over a small program, agrees line by line with what it says it expects."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PROGRAM = """
from __future__ import annotations

from collections.abc import Iterator

from orchestrator import Retry, approve, dynamic, each, fixed, pipeline, stage, step, when


@stage
def bare(a: int, b: str = "x") -> float:
    return 1.0


@stage(cache="30d", retries=Retry(attempts=4, on=(OSError,)), num_gpus=0.5)
def optioned(a: int) -> list[int]:
    return [a]


def plain(a: int) -> str:
    return ""


called = stage(plain, retries=3)


@stage(streaming=True)
def stream(n: int) -> Iterator[int]:
    yield n


@dynamic(max_steps=5)
def island(a: int) -> int:
    return a


@pipeline
def p(a: int = 3) -> float:
    return bare(a)


reveal_type(bare(1))  # R: float
reveal_type(optioned(1))  # R: list[int]
reveal_type(called(1))  # R: str
reveal_type(stream(1))  # R: Iterator[int]
reveal_type(island(1))  # R: int
reveal_type(p(1))  # R: float
reveal_type(bare.map([1, 2], b="x"))  # R: list[float]
reveal_type(bare.options(num_gpus=1, name="big")(1, b="y"))  # R: float
reveal_type(when(True, then=lambda: 1))  # R: int | None
reveal_type(when(True, then=lambda: 1, otherwise=lambda: "a"))  # R: int | str
reveal_type(approve("go?"))  # R: bool
reveal_type(step().key)  # R: str
bare("no")  # E: arg-type
bare(1, c=2)  # E: call-arg
bare()  # E: call-arg
optioned(1, 2)  # E: call-arg
called([])  # E: arg-type
island("no")  # E: arg-type
p("no")  # E: arg-type
p.graph("no")  # E: arg-type
p.graph(a=1)
p.run(a=2)
p.run(b=2)  # E: call-arg
bare.options(num_gpu=1)  # E: call-arg
bare.options(num_gpus="1")  # E: arg-type
stage(plain, retrys=3)  # E: call-overload
bare.map(each([1]), b=fixed("x"))
"""


def test_mypy_sees_through_the_decorators(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "mypy", str(file)]  # whoever checks the project next finds it in the cache
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=600)
    said: dict[int, str] = {}
    for line in done.stdout.splitlines():
        match = re.fullmatch(r".*program\.py:(\d+): (error|note): (.*)", line)
        if match is None:
            continue
        number, kind, text = int(match[1]), match[2], match[3]
        revealed = re.fullmatch(r'Revealed type is "(.*)"', text)
        if revealed is not None:
            said[number] = "R: " + re.sub(r"\b(builtins|collections\.abc|typing)\.", "", revealed[1])
        elif kind == "error":
            said[number] = "E: " + text[text.rindex("[") + 1 : -1]
    expected = {
        number: line.partition("  # ")[2] for number, line in enumerate(PROGRAM.splitlines(), 1) if "  # " in line
    }
    assert said == expected, done.stdout + done.stderr
