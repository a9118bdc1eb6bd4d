"""The pipeline under fire: maps of short steps, retries, outputs that become artifacts, a dynamic loop, and an effect.

Every body writes that it began into a file outside the system. The result is the same for every run of one width.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from orchestrator import Retry, dynamic, pipeline, signal, stage, step
from tests.chaos.orders import at_work

LARGE_BYTES = 100_000
"""Size of the outputs of ``large``: more than what stays inside the journal."""

CALLS = 5


@stage
def small(x: int, folder: str, seconds: float) -> int:
    at_work(folder, seconds)
    return x + 1


@stage(retries=Retry(attempts=4, backoff="1s..2s"))
def shaky(x: int, folder: str, seconds: float) -> int:
    """Fails in its first attempt for every third item."""
    at_work(folder, seconds)
    if step().attempt == 1 and x % 3 == 0:
        raise ConnectionError("the first time it does not answer")
    return x * x


@stage
def large(x: int, folder: str, seconds: float) -> bytes:
    at_work(folder, seconds)
    return hashlib.shake_128(str(x).encode()).digest(LARGE_BYTES)


@stage
def read(data: bytes, go: Any, folder: str, seconds: float) -> str:
    """Reads what was stored, once somebody has said so."""
    at_work(folder, seconds)
    return hashlib.sha256(data).hexdigest()


@dynamic(max_steps=2 * CALLS)
def count(folder: str, seconds: float) -> int:
    """A loop whose calls are steps."""
    left = CALLS
    while left > 0:
        left = less(left, folder, seconds)
    return left


@stage
def less(x: int, folder: str, seconds: float) -> int:
    at_work(folder, seconds)
    return x - 1


@stage
def word(folder: str, seconds: float) -> str:
    """Another one each time it runs: whatever carries it twice is found out."""
    at_work(folder, seconds)
    return uuid.uuid4().hex


@stage(effects=True)
def publish(text: str, folder: str, seconds: float) -> str:
    at_work(folder, seconds, payload=text, with_key=True)
    return text


@stage
def total(xs: list[int]) -> int:
    return sum(xs)


@stage
def joined(xs: list[str]) -> str:
    return hashlib.sha256("".join(xs).encode()).hexdigest()


@stage
def same(x: str, y: str) -> bool:
    return x == y


@pipeline
def weather(folder: str, width: int, seconds: float) -> dict[str, Any]:
    """Some of everything.

    Args:
        folder: Where orders are found and evidence is left.
        width: Items of the widest map.
        seconds: How long a step takes.
    """
    text = word(folder, seconds)
    numbers = small.map(list(range(width)), folder=folder, seconds=seconds)
    squares = shaky.map(numbers, folder=folder, seconds=seconds)
    data = large.map(list(range(width // 4)), folder=folder, seconds=seconds)
    digests = read.map(data, go=signal("go"), folder=folder, seconds=seconds)
    return {
        "squares": total(squares),
        "digests": joined(digests),
        "counted": count(folder, seconds),
        "published": same(text, publish(text, folder, seconds)),
    }
