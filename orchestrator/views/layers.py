"""Layered drawing of one group: which item stands in which layer, in which order, and where.

Items are boxes of given size; links go downward between points on them. A long link gets a bend in every layer it
crosses, shared by all links from the same point. Positions come from sweeps in which each layer in turn is placed as
close to its neighbours as order and distances allow (least squares, solved exactly by pooling).
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

GAP_X = 26.0
GAP_Y = 34.0
BEND_GAP_X = 14.0
_SWEEPS = 12


class End(NamedTuple):
    """A point on an item: ``offset`` from its left edge."""

    item: str
    offset: float


class Link(NamedTuple):
    """From the lower edge of one item to the upper edge of another."""

    source: End
    target: End


@dataclass(slots=True)
class Box:
    """An item and, once placed, the position of its upper left corner. ``pin`` holds it in the first or last layer."""

    key: str
    width: float
    height: float
    pin: str = ""
    x: float = 0.0
    y: float = 0.0
    layer: int = 0
    bend: bool = False

    def at(self, offset: float) -> float:
        """Position of a point on the box."""
        return self.x + offset


@dataclass(slots=True)
class Placed:
    """Result for one group: boxes with positions, the points of each link, and the size of it all."""

    boxes: Mapping[str, Box]
    routes: Mapping[Link, list[tuple[float, float]]]
    width: float
    height: float


@dataclass(slots=True)
class _Work:
    boxes: dict[str, Box]
    layers: list[list[Box]] = field(default_factory=list)
    short: dict[Link, None] = field(default_factory=dict)
    chains: dict[Link, list[str]] = field(default_factory=dict)
    bands: list[tuple[float, float]] = field(default_factory=list)
    above: dict[str, list[_Pull]] = field(default_factory=lambda: defaultdict(list))
    below: dict[str, list[_Pull]] = field(default_factory=lambda: defaultdict(list))


class _Pull(NamedTuple):
    """How a box is tied to a neighbour: how strongly, where on itself, and where on the other."""

    weight: float
    own: float
    other: End


def arrange(boxes: Sequence[Box], links: Sequence[Link]) -> Placed:
    """Place boxes, given in order of preference, and route links; only links forward in that order make layers."""
    work = _Work({box.key: box for box in boxes})
    _assign_layers(work, links)
    _insert_bends(work, links)
    _order(work)
    _place_x(work)
    height = _place_y(work)
    left = min((box.x for box in work.boxes.values()), default=0.0)
    for box in work.boxes.values():
        box.x -= left
    width = max((box.x + box.width for box in work.boxes.values()), default=0.0)
    return Placed(work.boxes, {link: _route(work, link) for link in links}, width, height)


def _assign_layers(work: _Work, links: Sequence[Link]) -> None:
    rank = {key: position for position, key in enumerate(work.boxes)}
    after: dict[str, set[str]] = defaultdict(set)
    for link in links:
        if rank[link.source.item] < rank[link.target.item]:
            after[link.source.item].add(link.target.item)
    before: dict[str, set[str]] = defaultdict(set)
    for source, targets in after.items():
        for target in targets:
            before[target].add(source)
    first = 1 if any(box.pin == "top" for box in work.boxes.values()) else 0
    for key, box in work.boxes.items():
        lowest = max((work.boxes[source].layer + 1 for source in before[key]), default=first)
        box.layer = 0 if box.pin == "top" else max(lowest, first)
    last = max((box.layer for box in work.boxes.values() if box.pin != "bottom"), default=0)
    for key in reversed(list(work.boxes)):
        box = work.boxes[key]
        if box.pin == "bottom":
            box.layer = last + 1
        elif not before[key] and after[key] and box.pin != "top":
            box.layer = max(box.layer, min(work.boxes[target].layer for target in after[key]) - 1)
    depth = max((box.layer for box in work.boxes.values()), default=-1) + 1
    work.layers = [[box for box in work.boxes.values() if box.layer == layer] for layer in range(depth)]


def _insert_bends(work: _Work, links: Sequence[Link]) -> None:
    bends: dict[tuple[End, int], str] = {}
    for link in links:
        top, bottom = work.boxes[link.source.item], work.boxes[link.target.item]
        ends = [link.source]
        chain: list[str] = []
        for layer in range(top.layer + 1, bottom.layer):
            key = bends.get((link.source, layer))
            if key is None:
                key = bends[link.source, layer] = f"\0bend {len(bends)}"
                work.boxes[key] = Box(key, 0.0, 0.0, layer=layer, bend=True)
                work.layers[layer].append(work.boxes[key])
            chain.append(key)
            ends.append(End(key, 0.0))
        ends.append(link.target)
        work.chains[link] = chain
        for upper, lower in pairwise(ends):
            short = Link(upper, lower)
            if short not in work.short:
                work.short[short] = None
                weight = (1.0, 3.0, 12.0)[work.boxes[upper.item].bend + work.boxes[lower.item].bend]
                work.below[upper.item].append(_Pull(weight, upper.offset, lower))
                work.above[lower.item].append(_Pull(weight, lower.offset, upper))


def _order(work: _Work) -> None:
    """Sweep down and up, each layer by the mean position of its neighbours; keep the order that crosses least."""
    best = [list(layer) for layer in work.layers]
    fewest = _crossings(work)
    place = {box.key: at for layer in work.layers for box, at in _places(layer)}
    for sweep in range(_SWEEPS):
        downward = sweep % 2 == 0
        neighbours = work.above if downward else work.below
        for layer in work.layers if downward else reversed(work.layers):
            means: list[float] = []
            for position, box in enumerate(layer):
                near = [place[pull.other.item] for pull in neighbours[box.key]]
                means.append(sum(near) / len(near) if near else (position + 0.5) / len(layer))
            layer[:] = [layer[position] for position in sorted(range(len(layer)), key=means.__getitem__)]
            place.update((box.key, at) for box, at in _places(layer))
        crossings = _crossings(work)
        if crossings < fewest:
            fewest, best = crossings, [list(layer) for layer in work.layers]
        if not fewest:
            break
    work.layers = best


def _places(layer: list[Box]) -> Iterator[tuple[Box, float]]:
    for position, box in enumerate(layer):
        yield box, (position + 0.5) / len(layer)


def _crossings(work: _Work) -> int:
    position = {box.key: index for layer in work.layers for index, box in enumerate(layer)}
    by_layer: dict[int, list[tuple[tuple[int, float], tuple[int, float]]]] = defaultdict(list)
    for source, target in work.short:
        upper = (position[source.item], source.offset)
        by_layer[work.boxes[source.item].layer].append((upper, (position[target.item], target.offset)))
    count = 0
    for pairs in by_layer.values():
        seen: list[tuple[int, float]] = []
        for _, lower in sorted(pairs):
            count += len(seen) - bisect_right(seen, lower)
            insort(seen, lower)
    return count


def _place_x(work: _Work) -> None:
    for layer in work.layers:
        x = 0.0
        for box, following in zip(layer, [*layer[1:], None], strict=True):
            box.x = x
            x += box.width + (_gap(box, following) if following else 0.0)
    for sweep in range(_SWEEPS * 2):
        downward = sweep % 2 == 0
        for layer in work.layers if downward else reversed(work.layers):
            _settle(work, layer, both=sweep >= _SWEEPS, downward=downward)


def _gap(left: Box, right: Box) -> float:
    return BEND_GAP_X if left.bend or right.bend else GAP_X


def _settle(work: _Work, layer: list[Box], *, both: bool, downward: bool) -> None:
    """Put the boxes of a layer where their neighbours want them, as far as the gaps between them allow."""
    wanted: list[float] = []
    weights: list[float] = []
    start = 0.0
    starts: list[float] = []
    for box, following in zip(layer, [*layer[1:], None], strict=True):
        pulls: list[tuple[float, float]] = []
        for ends, other_way in ((work.above[box.key], False), (work.below[box.key], True)):
            if both or downward != other_way:
                pulls += [(end.weight, work.boxes[end.other.item].at(end.other.offset) - end.own) for end in ends]
        total = sum(weight for weight, _ in pulls)
        wanted.append((sum(weight * x for weight, x in pulls) / total if total else box.x) - start)
        weights.append(total or 0.01)
        starts.append(start)
        start += box.width + (_gap(box, following) if following else 0.0)
    for box, x, offset in zip(layer, _ascending(wanted, weights), starts, strict=True):
        box.x = x + offset


def _ascending(values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The non-decreasing sequence closest to ``values`` (weighted least squares, by pooling adjacent violators)."""
    pools: list[list[float]] = []
    for value, weight in zip(values, weights, strict=True):
        pools.append([value, weight, 1])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            last, before = pools.pop(), pools[-1]
            total = before[1] + last[1]
            before[0] = (before[0] * before[1] + last[0] * last[1]) / total
            before[1] = total
            before[2] += last[2]
    return [value for value, _, count in pools for _ in range(int(count))]


def _place_y(work: _Work) -> float:
    """Layers from top to bottom, their boxes on one middle line; wide turns between two layers get more height."""
    y = 0.0
    for depth, layer in enumerate(work.layers):
        tallest = max((box.height for box in layer), default=0.0)
        for box in layer:
            box.y = y if box.pin or box.bend else y + (tallest - box.height) / 2
            if box.bend:
                box.height = tallest
        work.bands.append((y, y + tallest))
        y += tallest + (_gap_below(work, layer) if depth + 1 < len(work.layers) else 0.0)
    return y


def _gap_below(work: _Work, layer: list[Box]) -> float:
    turns = (
        abs(box.at(pull.own) - work.boxes[pull.other.item].at(pull.other.offset))
        for box in layer
        for pull in work.below[box.key]
    )
    least = GAP_Y / 2 if all(box.pin for box in layer) else GAP_Y
    return max(least, min(GAP_Y * 2.5, max(turns, default=0.0) * 0.14))


def _route(work: _Work, link: Link) -> list[tuple[float, float]]:
    """Points from source to target: straight down inside of layers, turns only between them."""
    source, target = work.boxes[link.source.item], work.boxes[link.target.item]
    start, stop = source.at(link.source.offset), target.at(link.target.offset)
    points = [(start, source.y + source.height), (start, work.bands[source.layer][1])]
    for key in work.chains[link]:
        bend = work.boxes[key]
        points += [(bend.x, bend.y), (bend.x, bend.y + bend.height)]
    points += [(stop, work.bands[target.layer][0]), (stop, target.y)]
    return [point for point, before in zip(points, [None, *points[:-1]], strict=True) if point != before]
