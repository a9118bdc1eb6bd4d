"""Stages that wait for one another, or for the test, through files: what runs at once is proved without a clock."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from orchestrator import dynamic, pipeline, signal, stage, step

PATIENCE_S = 300.0
"""After this long somebody will not come; only a fault makes anybody wait so long."""


def wait_until(met: Callable[[], bool], what: str) -> None:
    """Wait for something; raises TimeoutError naming it."""
    deadline = time.monotonic() + PATIENCE_S
    while not met():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} has not happened for {PATIENCE_S:g} s")
        time.sleep(0.01)


def gpu_shown() -> str:
    """Which GPUs this process was given."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "")


@stage
def meet(x: int, count: int, folder: str) -> int:
    """Wait until ``count`` steps are here at once; the worker's process."""
    Path(folder, f"here-{x}").touch()
    wait_until(lambda: len(list(Path(folder).glob("here-?"))) >= count, f"the meeting of {count}")
    return os.getpid()


@pipeline
def meeting(folder: str, count: int = 2) -> list[int]:
    return meet.map(list(range(count)), count=count, folder=folder)


@stage
def process() -> tuple[int, int, str, str | None]:
    """The worker, what it was forked from, and what it sees of the driver's surroundings."""
    return os.getpid(), os.getppid(), os.getcwd(), os.environ.get("WARM_WORD")


@pipeline
def one_process() -> tuple[int, int, str, str | None]:
    return process()


@stage
def fail(x: int, count: int, folder: str) -> int:
    """Meet the others, and fail."""
    meet(x, count, folder)
    raise ValueError("no good")


@stage
def sleep(x: int, folder: str) -> None:
    """Sleep until somebody ends this; say so."""
    asleep = Path(folder, f"asleep-{x}")
    asleep.with_suffix(".new").write_text(str(os.getpid()))
    asleep.with_suffix(".new").rename(asleep)
    try:
        while True:
            time.sleep(0.01)
    finally:
        Path(folder, f"woken-{x}").touch()


@pipeline
def failing_meeting(folder: str) -> list[int]:
    return [meet(0, 2, folder), fail(1, 2, folder)]


@pipeline
def sleeping(folder: str, count: int = 2) -> list[None]:
    return sleep.map(list(range(count)), folder=folder)


@stage(num_gpus=0.25, num_cpus=0.1)
def share(x: int, folder: str) -> tuple[str, int]:
    """Say who has ended before this began, wait to be let go, say so."""
    ended = sorted(path.name for path in Path(folder).glob("ended-*"))
    begun = Path(folder, f"begun-{x}")
    begun.with_suffix(".new").write_text(" ".join([gpu_shown(), *ended]))
    begun.with_suffix(".new").rename(begun)
    wait_until(Path(folder, f"go-{x}").exists, f"the release of share {x}")
    Path(folder, f"ended-{x}").touch()
    return gpu_shown(), os.getpid()


@stage
def numbers(n: int) -> list[int]:
    return list(range(n))


@stage(num_gpus=3, num_cpus=0.1)
def other_gpus(folder: str) -> str:
    """Hold all GPUs but one until let go."""
    Path(folder, "others").touch()
    wait_until(Path(folder, "go-others").exists, "the release of the other GPUs")
    return gpu_shown()


@pipeline
def sharing(folder: str) -> dict[str, object]:
    """Shares of a quarter; the signal gives their numbers, once only one GPU is left."""
    return {"others": other_gpus(folder), "shares": share.map(numbers(signal("one GPU is left")), folder=folder)}


@stage(num_gpus=1)
def leaking(x: int) -> int:
    """What a GPU step leaves in its process stays there as long as the process."""
    return os.getpid()


@pipeline
def leaks(n: int) -> list[int]:
    return leaking.map(list(range(n)))


@stage
def light(x: int) -> int:
    return x + 1


@stage(num_cpus=0.5)
def heavy(x: int) -> int:
    return x + 10


@stage(num_cpus=1, memory="64MiB")
def whole(x: int) -> int:
    return x + 100


@dynamic
def mixed(x: int) -> int:
    x = heavy(light(x))
    return light(x) + sum(light.map([x, x]))


@stage(uses=("data",))
def by_ray_data(n: int) -> int:
    import pyarrow as pa

    data = step().data
    parts = [pa.table({"x": list(range(start, start + n))}) for start in (0, n)]
    return int(data.to_arrow(data.from_arrow(parts).map_batches(_same, batch_format="pyarrow")).num_rows)


def _same(table: object) -> object:
    return table


@pipeline
def of_all_kinds(n: int) -> dict[str, object]:
    """Everything that wants the only CPU at once."""
    return {
        "light": light.map(list(range(n))),
        "mixed": [mixed(1), mixed(2)],
        "whole": whole(1),
        "data": light(by_ray_data(100)),
    }


@pipeline
def light_ones(n: int) -> list[int]:
    return light.map(list(range(n)))
