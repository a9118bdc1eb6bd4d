"""Pipelines that the tests of runs use; their steps leave evidence in a ledger where that matters."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator import File, Retry, Secret, approve, dynamic, pipeline, signal, stage, step, when
from orchestrator.testing import outside, write_ledger


@dataclass
class Pair:
    small: list[int]
    large: list[int]


@stage
def numbers(n: int) -> list[int]:
    return list(range(n))


@stage
def double(x: int) -> int:
    return 2 * x


@stage
def total(xs: list[int]) -> int:
    return sum(xs)


@stage
def split(xs: list[int], at: int) -> Pair:
    return Pair([x for x in xs if x < at], [x for x in xs if x >= at])


@pipeline
def sums(n: int = 10, at: int = 5) -> dict[str, int]:
    parts = split(numbers(n), at)
    return {"small": total(double.map(parts.small)), "large": total(double.map(parts.large))}


@stage
def noted(x: int, ledger: str) -> int:
    write_ledger(ledger)
    return x + 1


@stage(retries=Retry(attempts=3, backoff="0s..0s"))
def unsteady(x: int, ledger: str) -> int:
    write_ledger(ledger)
    if step().attempt < 3:
        raise ConnectionError(f"attempt {step().attempt}")
    return x


@pipeline
def retried(ledger: str) -> int:
    return unsteady(7, ledger)


@stage(cache="1d")
def stored(x: int, ledger: str, label: str = "a") -> int:
    write_ledger(ledger)
    return 10 * x


@pipeline
def cached(ledger: str, label: str = "a") -> int:
    return total(stored.map([1, 2, 3], ledger=ledger, label=label))


@stage(cache="1d")
def read(path: File) -> str:
    return Path(path).read_text()


@pipeline
def reading(path: str) -> str:
    return read(path)


@pipeline
def asking() -> str:
    return when(approve("ship it?"), then=lambda: word("shipped"), otherwise=lambda: word("kept"))


@pipeline
def signalled() -> Any:
    return same(signal("labels"))


@stage
def same(x: Any) -> Any:
    return x


@stage
def word(text: str) -> str:
    return text


@dynamic(max_steps=20)
def countdown(n: int, ledger: str) -> int:
    while n > 0:
        n = minus(n, ledger)
    return n


@stage
def minus(n: int, ledger: str) -> int:
    write_ledger(ledger)
    return n - 1


@dynamic
def nested(depth: int) -> int:
    if depth == 0:
        return double(1)
    return nested(depth - 1) + sum(double.map([1, 2]))


@pipeline
def islands(n: int, ledger: str) -> int:
    return countdown(n, ledger)


@pipeline
def four_nested() -> int:
    return total([nested(3), nested(3), nested(3), nested(3)])


@dynamic
def forgiving() -> str:
    try:
        fail("inside")
    except ValueError as error:
        return f"caught {error}"
    return "not reached"


@stage
def fail(text: str) -> str:
    raise ValueError(text)


@pipeline
def catching() -> str:
    return forgiving()


@pipeline
def failing() -> str:
    return word(fail("no good"))


@stage(streaming=True)
def batches(n: int) -> Iterator[int]:
    yield from range(n)


@pipeline
def streamed(n: int) -> int:
    return total(double.map(batches(n)))


@stage
def login(password: str) -> int:
    print("the password is", password)
    return len(password)


@pipeline
def secretive() -> int:
    return login(Secret("env:FLOW_PASSWORD"))


@stage
def reporting() -> int:
    for iteration in range(3):
        step().report(auc=0.5 + iteration / 10)
    print("trained")
    return 1


@pipeline
def observed() -> int:
    return reporting()


@stage
def nap(seconds: float, ledger: str) -> float:
    write_ledger(ledger)
    time.sleep(seconds)
    return seconds


@pipeline
def slow(ledger: str, n: int = 6, seconds: float = 0.4) -> list[float]:
    return nap.map([seconds] * n, ledger=ledger)


@stage
def unique() -> str:
    return uuid.uuid4().hex


@stage(effects=True)
def publish(payload: str, ledger: str) -> str:
    write_ledger(ledger, payload, with_key=True)
    return payload


@stage(retries=Retry(attempts=4, backoff="0s..0s"))
def shaky(x: int, ledger: str) -> int:
    write_ledger(ledger)
    if step().attempt == 1 and x % 3 == 0:
        raise ConnectionError("first time")
    return x * x


@pipeline
def everything(ledger: str) -> dict[str, Any]:
    """Maps, retries, a dynamic part, effects and an output too large to stay inline."""
    payload = unique()
    squares = shaky.map(numbers(6), ledger=ledger)
    counted = countdown(3, ledger)
    return {
        "sent": publish(payload, ledger),
        "seen": [same(payload), same(payload)],
        "total": total(squares),
        "counted": counted,
        "big": large(100_000),
    }


@stage
def large(n: int) -> list[int]:
    return list(range(n))


@stage
def drawn() -> str:
    return f"{step().random.getrandbits(64):x}"


@stage(effects=True)
def sent(payload: str) -> str:
    """Sends its payload once, by key, as a receiver that knows the keys it has seen would have it."""
    write_ledger(outside() / "ledger", payload, with_key=True)
    (outside() / f"sent-{step().key}").write_text(payload)
    return payload


@stage(uses=("serving",), effects=True)
def served(payload: str) -> str:
    serving = step().serving
    return str(serving.deploy("shop", payload[:8], "m:Predictor", payload.encode()).version)


@stage(retries=Retry(attempts=4, backoff="0s..0s"))
def shaken(x: int) -> int:
    if step().attempt == 1 and x % 3 == 0:
        raise ConnectionError("first time")
    return x * x


@dynamic(max_steps=20)
def counted(n: int) -> int:
    while n > 0:
        n = lessened(n)
    return n


@stage
def lessened(n: int) -> int:
    return n - 1


@pipeline
def swept() -> dict[str, Any]:
    """Maps, retries, a dynamic part, a stream, an approval, a signal, effects, a deployment, and a large output."""
    payload = drawn()
    agreed = approve("go on?")
    return {
        "sent": sent(payload),
        "seen": [same(payload), same(signal("labels"))],
        "total": total(shaken.map(numbers(6))),
        "counted": counted(3),
        "streamed": total(double.map(batches(3))),
        "served": when(agreed, then=lambda: served(payload), otherwise=lambda: word("kept")),
        "big": large(100_000),
    }


@stage
def where() -> str:
    return os.getcwd()


@pipeline
def failing_with(text: str) -> str:
    return fail(text)


@stage(retries=Retry(attempts=3, backoff="0s..0s"))
def epochs(n: int, ledger: str) -> list[int]:
    done: list[int] = step().restored() or []
    for epoch in range(len(done), n):
        write_ledger(ledger, str(epoch))
        done = [*done, epoch]
        step().checkpoint(done)
        if epoch == 2 and step().attempt == 1:
            raise ConnectionError("lost the node")
        if epoch == 3 and step().attempt == 2:
            os._exit(1)
    return done


@pipeline
def trained(n: int, ledger: str) -> list[int]:
    return epochs(n, ledger)


@stage(cache="1d")
def large_stored() -> list[int]:
    return list(range(100_000))


@pipeline
def stored_large() -> int:
    return total(large_stored())


@stage
def deadly(x: int) -> int:
    if x == 3:
        os._exit(1)
    return x


@pipeline
def dying() -> int:
    return total(deadly.map(numbers(8)))


@stage(num_gpus=4)
def hungry() -> int:
    return 1


@pipeline
def greedy() -> int:
    return hungry()


@stage
def handle() -> Any:
    return (i for i in range(3))


@pipeline
def unstorable() -> Any:
    return handle()


class Trap:
    """Runs code wherever it is unpickled."""

    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return spring, (self.marker,)


def spring(marker: str) -> str:
    with open(marker, "a") as file:
        file.write(f"{os.getpid()}\n")
    return "sprung"


@stage
def trap(marker: str) -> Trap:
    return Trap(marker)


@pipeline
def hostile(marker: str) -> Any:
    return trap(marker)


@stage(num_cpus=0.5)
def needy(x: int) -> int:
    return x + 1


@dynamic
def deciding(x: int) -> int:
    return needy(x) + double(x)


@pipeline
def heavy_at_run_time(x: int) -> int:
    return deciding(x)


@stage(uses=("data",))
def summed_by_ray_data(n: int) -> int:
    import pyarrow as pa
    import pyarrow.compute as pc

    data = step().data
    parts = [pa.table({"x": list(range(start, start + n))}) for start in (0, n, 2 * n, 3 * n)]
    doubled = data.from_arrow(parts).map_batches(
        lambda table: table.set_column(0, "x", pc.multiply(table["x"], 2)), batch_format="pyarrow"
    )
    return int(pc.sum(data.to_arrow(doubled)["x"]).as_py())


@pipeline
def with_ray_data(n: int) -> int:
    return double(summed_by_ray_data(n))


@stage(num_gpus=0.25)
def gpu(x: int) -> int:
    return int(os.environ["CUDA_VISIBLE_DEVICES"])


@pipeline
def gpu_share() -> list[int]:
    return gpu.map([1, 2, 3, 4])


@stage(num_gpus=16)
def sixteen() -> int:
    return 16


@pipeline
def impossible() -> int:
    return sixteen()


@stage
def pairs(n: int) -> list[list[int]]:
    return [[i, i] for i in range(n)]


@stage
def grown(pair: list[int]) -> int:
    """Changes its own argument."""
    pair.append(0)
    return len(pair)


@pipeline
def grown_twice(n: int) -> list[list[int]]:
    """Two maps over one list that is large enough to be kept by workers between bundles."""
    made = pairs(n)
    return [grown.map(made), grown.options(name="again").map(made)]
