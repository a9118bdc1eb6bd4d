"""Rows of steps that do nothing: what is measured is the engine alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from benchmarks import pipelines as ours
from benchmarks.measure import timed
from benchmarks.place import Place
from benchmarks.row import Column, Row, Target
from benchmarks.sizes import Sizes
from orchestrator import Pipeline

RAW, BY_HAND, FLOOR, LOCAL, ON_RAY = "raw Ray", "raw Ray, 50 a task", "floor", "ours, local", "ours, Ray"
OURS = (LOCAL, ON_RAY)
WARM = {"n": 100, "depth": 3}
"""Largest parameters of the uncounted run before each measurement."""


def rows(sizes: Sizes, place: Place) -> list[Row]:
    """Fan-outs, chains, layers and the loop of a ``@dynamic`` step."""
    n, links, depth, width = sizes.fan_out, sizes.chain, sizes.depth, sizes.width
    shape = {"depth": depth, "width": width}
    level = [Target(name, "share", 1.0, BY_HAND) for name in OURS]
    return [
        _fan_out(place, "fan-out", n, [*_times(20), *level]),
        _chain(place, "chain", links, _times(50)),
        _row(
            place, "layers", f"{depth} layers × {width}, three inputs each", depth * width, ours.layers, shape,
            lambda salt: layers_sum(salt, depth, width), _times(10),
        ),
        _row(
            place, "dynamic", f"@dynamic loop of {sizes.loop:,} calls", sizes.loop, ours.loop, {"n": sizes.loop},
            lambda salt: salt + sizes.loop, _times(5),
        ),
        _fan_out(place, "fan-out-small", sizes.small_fan_out, []),
        _chain(place, "chain-small", sizes.small_chain, []),
    ]  # fmt: skip


def _times(limit: float) -> list[Target]:
    return [Target(name, "times", limit, RAW) for name in OURS]


def _fan_out(place: Place, key: str, n: int, targets: list[Target]) -> Row:
    title = f"fan-out 1 → {n:,} → 1"
    return _row(place, key, title, n, ours.fan_out, {"n": n}, lambda salt: successors_sum(salt, n), targets)


def _chain(place: Place, key: str, n: int, targets: list[Target]) -> Row:
    return _row(place, key, f"chain of {n:,}", n, ours.chain, {"n": n}, lambda salt: salt + n, targets)


def _row(
    place: Place, key: str, title: str, steps: int, pipeline: Pipeline[..., Any], params: Mapping[str, int],
    expected: Callable[[int], int], targets: list[Target],
) -> Row:  # fmt: skip
    def columns(params: Mapping[str, int]) -> dict[str, Column]:
        return {name: timed(steps, work) for name, work in _works(pipeline, params, place)}

    warm = columns({name: min(value, WARM.get(name, value)) for name, value in params.items()})
    return Row(key, title, "µs/step", columns(params), expected, targets, RAW, warm=warm)


def _works(
    pipeline: Pipeline[..., Any], params: Mapping[str, int], place: Place
) -> Iterator[tuple[str, Callable[[int], int]]]:
    """What the columns do. Ray is imported only when one that needs it is called."""
    graph = pipeline.name

    def raw(name: str) -> Callable[[int], int]:
        def work(salt: int) -> int:
            from benchmarks import raw

            answer: int = getattr(raw, name)(salt, **params)
            return answer

        return work

    yield RAW, raw(graph)
    if graph == "fan_out":
        yield BY_HAND, raw("fan_out_by_hand")
    if graph != "loop":
        yield FLOOR, lambda salt: getattr(place.floor(), graph)(salt, **params)
    yield LOCAL, runs(pipeline, "local", params)
    yield ON_RAY, runs(pipeline, "ray", params)


def runs(pipeline: Pipeline[..., Any], backend: Any, params: Mapping[str, Any]) -> Callable[[int], Any]:
    """A durable run of ours, from ``run`` to its result."""
    chosen = pipeline.options(on=backend)
    return lambda salt: chosen.run(salt=salt, **params).result()


def successors_sum(salt: int, n: int) -> int:
    """Sum of what follows ``n`` numbers from ``salt`` up."""
    return n * salt + n * (n + 1) // 2


def layers_sum(salt: int, depth: int, width: int) -> int:
    """What the layers come to."""
    layer = [salt + i + 1 for i in range(width)]
    for _ in range(depth - 1):
        layer = [max(layer[i], layer[(7 * i + 3) % width], layer[(13 * i + 5) % width]) + 1 for i in range(width)]
    return sum(layer)
