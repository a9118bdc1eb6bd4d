"""A pipeline with one step of each kind that is not safe to repeat, and one that has none."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestrator import Retry, approve, dynamic, pipeline, signal, stage, step, when

CONFIGURED: dict[str, int] = {}


@stage
def stamped() -> float:
    return time.time()


@stage
def named() -> str:
    return uuid.uuid4().hex


@stage
def unsorted(words: list[str]) -> list[str]:
    return list(set(words))


@stage
def dated(folder: str) -> float:
    path = Path(folder) / "dated"
    path.write_text("now")
    return path.stat().st_mtime


@stage
def logged(folder: str) -> int:
    with open(Path(folder) / "log", "a") as file:
        file.write("a line\n")
    return 1


@stage
def asked(port: int) -> int:
    with socket.create_connection(("127.0.0.1", port), timeout=10):
        return 1


@stage
def called() -> int:
    return subprocess.run(["true"], check=True).returncode


@stage(effects=True)
def mailed(folder: str) -> int:
    with open(Path(folder) / "mail", "a") as file:
        file.write("dear customer\n")
    return 1


@stage(effects=True)
def billed(folder: str) -> str:
    bill = f"{time.time()} EUR"
    (Path(folder) / f"bill-{step().key}").write_text(bill)
    return "billed"


@stage
def sorted_in_place(words: list[str]) -> list[str]:
    words.sort()
    return words


@stage
def configured(words: list[str]) -> int:
    CONFIGURED["length"] = len(words)
    return len(words)


@stage
def using(count: int, after: int) -> int:
    return CONFIGURED.get("length", 0) + count + after


@stage(effects=True)
def made(folder: str) -> str:
    os.mkdir(Path(folder) / f"made-{step().run_id}-{step().key}-{os.environ['ORC_SWEEP_OUTSIDE'].replace('/', '_')}")
    return "made"


@stage
def words() -> list[str]:
    return ["one", "two", "three", "four", "five", "six", "seven"]


@pipeline
def unsafe(folder: str, port: int) -> dict[str, Any]:
    given = words()
    sent = mailed(folder)
    return {
        "stamped": stamped(),
        "named": named(),
        "unsorted": unsorted(given),
        "dated": dated(folder),
        "logged": logged(folder),
        "asked": asked(port),
        "called": called(),
        "billed": billed(folder),
        "sorted": sorted_in_place(given),
        "using": using(configured(given), sent),
        "made": made(folder),
    }


# ---- nothing to be found here


@stage(retries=Retry(attempts=3, backoff="0s..0s"))
def drawn(x: int) -> float:
    if step().attempt == 1 and x == 1:
        raise ConnectionError("first time")
    return step().random.random() + x


@stage(streaming=True)
def pieces(n: int) -> Iterator[int]:
    yield from range(n)


@stage
def total(xs: list[float]) -> float:
    return sum(xs)


@stage
def scratch(xs: list[str]) -> list[str]:
    path = Path("scratch-file-of-a-step")
    path.write_text("\n".join(sorted(set(xs))))
    try:
        return path.read_text().split()
    finally:
        path.unlink()


@stage(effects=True)
def posted(folder: str, value: float) -> str:
    path = Path(folder) / f"posted-{step().key}"
    path.write_text(f"{value}")
    return path.name


@stage(uses=("serving",), effects=True)
def deployed(value: float) -> str:
    return str(step().serving.deploy("app", "v1", "m:Predictor", repr(value).encode()).version)


@dynamic
def halved(x: int) -> int:
    while x > 1:
        x = half(x)
    return x


@stage
def half(x: int) -> int:
    return x // 2


@pipeline
def safe(folder: str) -> dict[str, Any]:
    amount = total(drawn.map([0, 1, 2]))
    return {
        "posted": posted(folder, amount),
        "served": when(approve("serve it?"), then=lambda: deployed(amount), otherwise=lambda: words()),
        "label": signal("label"),
        "words": scratch(words()),
        "pieces": total(pieces(3)),
        "halved": halved(9),
    }


@pipeline
def two_kinds() -> list[Any]:
    return [stamped(), sorted_in_place(words())]


@pipeline
def calm() -> float:
    return total(drawn.map([0, 1, 2]))
