"""Rows of steps that take time or move data: what is measured is how little the engine adds to them."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import bodies
from benchmarks import work_pipelines as ours
from benchmarks.measure import seconds
from benchmarks.place import CHECKOUT, Place
from benchmarks.row import Column, Reading, Row, Target
from benchmarks.sizes import Sizes
from benchmarks.small_steps import LOCAL, ON_RAY, OURS, RAW, runs, successors_sum

MOST_OVER = 1.02
MOST_OVER_PACKING = 1.10
LONGEST_IDLE_S = 0.1
TAIL_SHAPE, TAIL_LEAST_S, TAIL_SEED = 0.5, 1e-4, 20
CONSUMERS = 5
IDEAL, BARE, PACKED, WITH_FILE = "ideal", "bare processes", "best packing", "raw Ray + a file"


def rows(sizes: Sizes, place: Place) -> list[Row]:
    """Waiting, computing, a heavy tail, a large array."""
    return [_waiting(sizes, place), _computing(sizes, place), _tail(sizes, place), _array(sizes, place)]


def _waiting(sizes: Sizes, place: Place) -> Row:
    n, wait_s = sizes.real_steps, sizes.waiting_s
    ideal_s = n * wait_s / place.slots

    def columns(n: int) -> dict[str, Column]:
        params = {"n": n, "wait_s": wait_s}
        return _three("waits", ours.waits, params)

    return Row(
        "waiting", f"{n} steps of {wait_s:g} s of waiting", "s",
        {IDEAL: _computed(ideal_s, n), **columns(n)}, lambda salt: successors_sum(salt, n),
        [Target(name, "share", MOST_OVER, IDEAL) for name in OURS], IDEAL, "over", warm=columns(place.slots),
        most_repeats=3, note=f"ideal: work ÷ {place.slots} slots, computed",
    )  # fmt: skip


def _computing(sizes: Sizes, place: Place) -> Row:
    n, rounds = sizes.real_steps, bodies.rounds_for(sizes.cpu_s)

    def columns(n: int) -> dict[str, Column]:
        return _three("computes", ours.computes, {"n": n, "rounds": rounds})

    def bare(salt: int) -> Reading:
        return Reading(_bare_s(n, rounds, place.slots), successors_sum(salt, n))

    return Row(
        "cpu", f"{n} steps of {sizes.cpu_s:g} s of CPU", "s", {BARE: bare, **columns(n)},
        lambda salt: successors_sum(salt, n),
        [Target(name, "share", MOST_OVER, BARE) for name in OURS], BARE, "over", warm=columns(place.slots),
        note=f"{rounds:,} rounds of arithmetic a step; bare: {place.slots} Python processes, already up, each with its "
        "share of the same work, beside the idle Ray",
    )  # fmt: skip


def _bare_s(n: int, rounds: int, processes: int) -> float:
    """Seconds that bare processes take for the same work; their start is not counted."""
    shares = [n // processes + (k < n % processes) for k in range(processes)]
    code = (
        "import sys; from benchmarks.bodies import busy; print('up', flush=True); sys.stdin.readline()\n"
        "for _ in range(int(sys.argv[1])): busy(int(sys.argv[2]))\n"
        "print('done', flush=True)"
    )
    working = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(share), str(rounds)], cwd=CHECKOUT, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, bufsize=1,
        )
        for share in shares
    ]  # fmt: skip
    for process in working:
        assert process.stdout is not None
        process.stdout.readline()
    begun = time.perf_counter()
    for process in working:
        assert process.stdin is not None
        process.stdin.write("go\n")
    for process in working:
        assert process.stdout is not None
        process.stdout.readline()
    took_s = time.perf_counter() - begun
    for process in working:
        process.communicate()
    return took_s


def _tail(sizes: Sizes, place: Place) -> Row:
    naps_s = heavy_tail_s(sizes.tail_steps, sizes.tail_longest_s)
    best_s = max(max(naps_s), sum(naps_s) / place.slots)

    def column(work: Callable[[int], Sequence[Sequence[Any]]]) -> Column:
        def measured(salt: int) -> Reading:
            begun = time.perf_counter()
            spans = work(salt)
            took_s = time.perf_counter() - begun
            idle_s, longest_s = idle([(a, b) for _, a, b in spans], place.slots)
            figures = {"idle slot-seconds while steps waited": idle_s, "longest idle stretch s": longest_s}
            return Reading(took_s, sum(x for x, _, _ in spans), figures)

        return measured

    def columns(naps_s: list[float]) -> dict[str, Column]:
        works = _works("naps", ours.naps, {"naps_s": naps_s})
        return {name: column(work) for name, work in works.items()}

    n = len(naps_s)
    targets = [Target(name, "share", MOST_OVER_PACKING, PACKED) for name in OURS]
    targets += [Target(name, "most", LONGEST_IDLE_S, figure="longest idle stretch s") for name in OURS]
    return Row(
        "heavy-tail", f"{n:,} steps of {TAIL_LEAST_S * 1e3:g} ms to {sizes.tail_longest_s:g} s, heavy tail", "s",
        {PACKED: _computed(best_s, n), **columns(naps_s)}, lambda salt: successors_sum(salt, n), targets,
        PACKED, "over", warm=columns(naps_s[: 10 * place.slots]),
        note=f"sleeping; the same draw each time; best packing: max(longest, sum ÷ {place.slots} slots), computed; a "
        "stretch is idle if a slot has nothing to do while some step has not begun",
    )  # fmt: skip


def heavy_tail_s(n: int, longest_s: float) -> list[float]:
    """A bounded Pareto draw, the same every time: most steps are short, a few hold most of the work."""
    draw = random.Random(TAIL_SEED)
    least, most = TAIL_LEAST_S**-TAIL_SHAPE, longest_s**-TAIL_SHAPE
    return [(least - draw.random() * (least - most)) ** (-1 / TAIL_SHAPE) for _ in range(n)]


def idle(spans: Sequence[tuple[float, float]], slots: int) -> tuple[float, float]:
    """Slot-seconds in which a slot had nothing to do while some step had not begun, and the longest stretch of it.

    Args:
        spans: When each step began and ended, in seconds.
    """
    changes = sorted([(begun, 1) for begun, _ in spans] + [(ended, -1) for _, ended in spans])
    last_begin = max(begun for begun, _ in spans)
    at, running, total_s, stretch_s, longest_s = changes[0][0], 0, 0.0, 0.0, 0.0
    for moment, change in changes:
        if moment > last_begin:
            break
        free = max(0, slots - running)
        total_s += free * (moment - at)
        stretch_s = stretch_s + (moment - at) if free else 0.0
        longest_s = max(longest_s, stretch_s)
        at, running = moment, running + change
    return total_s, longest_s


def _array(sizes: Sizes, place: Place) -> Row:
    size = sizes.array_bytes

    def expected(salt: int) -> int:
        array = bodies.salted_array(salt, size)
        return sum(bodies.slice_sum(array, part) for part in range(CONSUMERS))

    def raw_with_file(salt: int) -> int:
        from benchmarks import raw

        return raw.array_to_parts(salt, size, CONSUMERS, str(place.row_home / "array"))

    params = {"size_bytes": size, "parts": CONSUMERS}
    columns = {
        WITH_FILE: seconds(raw_with_file),
        LOCAL: seconds(runs(ours.array_to_parts, "local", params)),
        ON_RAY: seconds(runs(ours.array_to_parts, "ray", params)),
    }
    return Row(
        "large-array", f"array of {size / 1e6:g} MB to {CONSUMERS} consumers", "s", columns, expected,
        [Target(name, "share", 1.2, WITH_FILE) for name in OURS], WITH_FILE, "over", warm=columns,
        note="raw Ray keeps nothing by itself, so its producer writes one file and fsyncs it",
    )  # fmt: skip


def _computed(value_s: float, n: int) -> Column:
    """A column that needs no measuring: a bound."""
    return lambda salt: Reading(value_s, successors_sum(salt, n))


def _works(graph: str, pipeline: Any, params: dict[str, Any]) -> dict[str, Callable[[int], Any]]:
    def raw_work(salt: int) -> Any:
        from benchmarks import raw

        return getattr(raw, graph)(salt, **params)

    return {RAW: raw_work, LOCAL: runs(pipeline, "local", params), ON_RAY: runs(pipeline, "ray", params)}


def _three(graph: str, pipeline: Any, params: dict[str, Any]) -> dict[str, Column]:
    return {name: seconds(work) for name, work in _works(graph, pipeline, params).items()}
