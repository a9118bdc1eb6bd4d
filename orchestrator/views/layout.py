"""Places the cards of a picture, scopes as boxes around their own; every scope is a layered drawing of its own.

An edge that leaves or enters a scope passes through a port on its border, so that it goes around what is in the scope.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from orchestrator.views.layers import Box, End, Link, Placed, arrange

Point = tuple[float, float]

HEAD = 26.0
PAD = 16.0


class Size(NamedTuple):
    """Width and height of a card."""

    width: float
    height: float


class Area(NamedTuple):
    """A placed rectangle."""

    x: float
    y: float
    width: float
    height: float


class Leaf(NamedTuple):
    """A card to place: its key, the scopes around it (outermost first) and its size."""

    key: str
    scopes: tuple[str, ...]
    size: Size


@dataclass(slots=True)
class Layout:
    """Where everything is: cards by key, scopes by path, routes from the source's lower to the target's upper edge."""

    cards: dict[str, Area] = field(default_factory=dict)
    scopes: dict[str, Area] = field(default_factory=dict)
    routes: dict[tuple[str, str], list[Point]] = field(default_factory=dict)
    width: float = 0.0
    height: float = 0.0


@dataclass(slots=True)
class _Group:
    members: list[str] = field(default_factory=list)
    links: dict[tuple[tuple[str, str], tuple[str, str]], None] = field(default_factory=dict)
    ports_in: dict[str, None] = field(default_factory=dict)
    ports_out: dict[str, None] = field(default_factory=dict)
    placed: Placed | None = None
    ends: dict[tuple[tuple[str, str], tuple[str, str]], Link] = field(default_factory=dict)
    port_at: dict[tuple[str, str], float] = field(default_factory=dict)
    size: Size = field(default_factory=lambda: Size(0.0, 0.0))


def lay_out(leaves: Sequence[Leaf], edges: Sequence[tuple[str, str]]) -> Layout:
    """Place leaves and route edges between them; a target that ends in ``/`` is the scope of that path."""
    sizes = {leaf.key: leaf.size for leaf in leaves}
    groups: dict[str, _Group] = {"": _Group()}
    parents: dict[str, str] = {}
    for leaf in leaves:
        outer = ""
        for scope in leaf.scopes:
            if scope not in groups:
                groups[scope] = _Group()
                groups[outer].members.append(f"{scope}/")
                parents[f"{scope}/"] = outer
            outer = scope
        groups[outer].members.append(leaf.key)
        parents[leaf.key] = outer
    steps = {edge: _steps(edge, parents, groups) for edge in dict.fromkeys(edges)}
    for scope in sorted(groups, key=lambda scope: (-scope.count("/") if scope else 1, scope)):
        _arrange_group(groups[scope], groups, sizes, framed=bool(scope))
    layout = Layout(width=groups[""].size.width, height=groups[""].size.height)
    origins = {"": (0.0, 0.0)}
    _position("", groups, sizes, origins, layout)
    for edge, passed in steps.items():
        points: list[Point] = []
        for scope, start, end in passed:
            group, (dx, dy) = groups[scope], origins[scope]
            assert group.placed is not None
            points += [(x + dx, y + dy) for x, y in group.placed.routes[group.ends[start, end]]]
        layout.routes[edge] = points
    return layout


_Step = tuple[str, tuple[str, str], tuple[str, str]]


def _steps(edge: tuple[str, str], parents: Mapping[str, str], groups: Mapping[str, _Group]) -> list[_Step]:
    """Cut an edge at the borders it passes: (group, from, to), each end an item and its port (empty: its middle)."""
    source, target = edge
    up, down = _chain(source, parents), _chain(target, parents)
    common = next(scope for scope in up if scope in down)
    outer = [scope for scope in up if scope not in down]
    inner = [scope for scope in reversed(down) if scope not in up]
    passed: list[_Step] = []
    end = (source, "")
    for scope in outer:
        groups[scope].ports_out[source] = None
        passed.append((scope, end, ("", f"out {source}")))
        end = (f"{scope}/", f"out {source}")
    scopes = [common, *inner]
    for position, scope in enumerate(scopes):
        if position + 1 < len(scopes):
            following = scopes[position + 1]
            groups[following].ports_in[source] = None
            passed.append((scope, end, (f"{following}/", f"in {source}")))
            end = ("", f"in {source}")
        else:
            passed.append((scope, end, (target, "")))
    for scope, start, stop in passed:
        groups[scope].links[start, stop] = None
    return passed


def _chain(key: str, parents: Mapping[str, str]) -> list[str]:
    """Scopes around a card or scope, innermost first, the picture itself last."""
    found = [parents[key]]
    while found[-1]:
        found.append(parents[f"{found[-1]}/"])
    return found


def _arrange_group(group: _Group, groups: Mapping[str, _Group], sizes: Mapping[str, Size], *, framed: bool) -> None:
    boxes = [Box(f"\0in {source}", 0.0, 0.0, pin="top") for source in group.ports_in]
    for key in group.members:
        size = groups[key[:-1]].size if key.endswith("/") else sizes[key]
        boxes.append(Box(key, size.width, size.height))
    boxes += [Box(f"\0out {source}", 0.0, 0.0, pin="bottom") for source in group.ports_out]
    width_of = {box.key: box.width for box in boxes}

    def end(item: str, port: str) -> End:
        if not item:
            return End(f"\0{port}", 0.0)
        if port:
            kind, _, source = port.partition(" ")
            return End(item, groups[item[:-1]].port_at[kind, source])
        return End(item, _quiet_spot(groups[item[:-1]]) if item.endswith("/") else width_of[item] / 2)

    group.ends = {(start, stop): Link(end(*start), end(*stop)) for start, stop in group.links}
    group.placed = arrange(boxes, list(dict.fromkeys(group.ends.values())))
    side, top = (PAD, HEAD + (0.0 if group.ports_in else PAD / 2)) if framed else (0.0, 0.0)
    bottom = (0.0 if group.ports_out else PAD) if framed else 0.0
    group.size = Size(group.placed.width + 2 * side, group.placed.height + top + bottom)
    for kind, sources in (("in", group.ports_in), ("out", group.ports_out)):
        for source in sources:
            group.port_at[kind, source] = group.placed.boxes[f"\0{kind} {source}"].x + side


def _quiet_spot(group: _Group) -> float:
    """Where on its upper edge a scope takes an edge to itself: away from those that pass through."""
    taken = [x for (kind, _), x in group.port_at.items() if kind == "in"]
    spots = [group.size.width * part for part in (0.5, 0.75, 0.25)]
    return max(spots, key=lambda spot: min((abs(spot - x) for x in taken), default=0.0))


def _position(
    scope: str, groups: Mapping[str, _Group], sizes: Mapping[str, Size], origins: dict[str, Point], layout: Layout
) -> None:
    group, (x, y) = groups[scope], origins[scope]
    assert group.placed is not None
    for key in group.members:
        box = group.placed.boxes[key]
        area = Area(box.x + x, box.y + y, box.width, box.height)
        if not key.endswith("/"):
            layout.cards[key] = area
            continue
        inner = key[:-1]
        layout.scopes[inner] = area
        top = HEAD + (0.0 if groups[inner].ports_in else PAD / 2)
        origins[inner] = (area.x + PAD, area.y + top)
        _position(inner, groups, sizes, origins, layout)
