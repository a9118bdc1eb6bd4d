"""The row of a generator stage: how soon a batch is taken up while the next is being made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.pipelines import delays
from benchmarks.place import Place
from benchmarks.row import Column, Reading, Row, Target
from benchmarks.sizes import Sizes
from benchmarks.small_steps import LOCAL, ON_RAY, OURS, RAW, runs, successors_sum

MOST_DELAY_S = 0.3


def rows(sizes: Sizes, _place: Place) -> list[Row]:
    """One row; its value is the slowest batch's delay."""
    count = sizes.batches
    params = {"count": count, "apart_s": sizes.batch_s}

    def works(params: Mapping[str, Any]) -> dict[str, Callable[[int], Sequence[Sequence[Any]]]]:
        def raw(salt: int) -> Any:
            from benchmarks import raw

            return raw.delays(salt, **params)

        return {RAW: raw, LOCAL: runs(delays, "local", params), ON_RAY: runs(delays, "ray", params)}

    columns = {name: _column(work) for name, work in works(params).items()}
    short = {name: _column(work) for name, work in works({"count": 2, "apart_s": 0.1}).items()}
    return [
        Row(
            "stream", f"generator stage, {count} batches {sizes.batch_s:g} s apart", "s", columns,
            lambda salt: successors_sum(salt, count), [Target(name, "most", MOST_DELAY_S) for name in OURS],
            RAW, warm=short, note="from the yield of a batch to the first line of its consumer; the slowest batch",
        )
    ]  # fmt: skip


def _column(work: Callable[[int], Sequence[Sequence[Any]]]) -> Column:
    def column(salt: int) -> Reading:
        found = work(salt)
        return Reading(max(delay_s for _, delay_s in found), sum(x for x, _ in found))

    return column
