"""The picture for the docs: microseconds a step on a logarithmic scale, a panel for each graph, peers beside ours."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from benchmarks.peers import CHAIN_SMALL, FAN_OUT, FAN_OUT_SMALL, LAYERS, Peer

SIDES = ((FAN_OUT_SMALL, CHAIN_SMALL), (FAN_OUT, LAYERS, "chain", "dynamic"))
"""Keys of rows, side by side and then downwards."""

LEFT, PLOT, RIGHT, LINE, THICK = 186.0, 250.0, 64.0, 19.0, 12.0
PANEL = LEFT + PLOT + RIGHT
MARGIN, GAP, HEAD, FOOT = 20.0, 26.0, 30.0, 22.0
INK, FAINT, GRID, GROUND = "#1c2430", "#5b6675", "#d9dee6", "#f6f8fb"
COLOURS = {"ours": "#2f6fde", "raw Ray": "#c77700", "floor": "#7d8899", "peer": "#aab4c2"}


class Bar(NamedTuple):
    """One bar; ``at_least`` if the truth is longer."""

    name: str
    us: float
    colour: str
    at_least: bool = False


class Panel(NamedTuple):
    """One graph: bars in groups that are not ranked against each other."""

    title: str
    groups: tuple[tuple[str, tuple[Bar, ...]], ...]

    @property
    def height(self) -> float:
        """Room it takes."""
        return HEAD + FOOT + sum(LINE * (len(bars) + 1) for _, bars in self.groups)


def svg(rows: Sequence[Any], peers: Sequence[Peer], caption: str) -> str:
    """A self-contained picture of the rows of a report's document that have microseconds a step.

    Raises:
        ValueError: none of the rows can be drawn.
    """
    known = {row["key"]: row for row in rows}
    sides = [[_panel(known[key], peers) for key in keys if key in known] for keys in SIDES]
    sides = [panels for panels in sides if panels]
    if not sides:
        shown = ", ".join(key for keys in SIDES for key in keys)
        raise ValueError(f"nothing to draw: the picture shows the rows {shown}")
    decades = _decades(bar.us for panels in sides for panel in panels for _, bars in panel.groups for bar in bars)
    body = []
    for place, panels in enumerate(sides):
        y = MARGIN + 24
        for panel in panels:
            body.append(f'<g transform="translate({MARGIN + place * (PANEL + GAP):.1f} {y:.1f})">')
            body += [*_draw(panel, decades), "</g>"]
            y += panel.height + GAP
    width = 2 * MARGIN + PANEL * len(sides) + GAP * (len(sides) - 1)
    height = MARGIN + 46 + max(sum(panel.height + GAP for panel in panels) for panels in sides)
    title = "Microseconds a step, logarithmic; shorter is better"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="system-ui, -apple-system, \'Segoe UI\', sans-serif">'
        f"<title>{title}</title>\n"
        f'<rect width="{width:.0f}" height="{height:.0f}" rx="8" fill="{GROUND}"/>\n'
        + text(MARGIN, MARGIN + 10, title, 15, INK, weight=600)
        + "\n"
        + "\n".join(body)
        + "\n"
        + text(MARGIN, height - 16, caption, 11, FAINT)
        + "\n</svg>\n"
    )


def _panel(row: Any, peers: Sequence[Peer]) -> Panel:
    measured = [Bar(name, column["median"], _colour(name)) for name, column in row["columns"].items()]
    others = [
        (peer.one_process, Bar(peer.name, peer.ms * 1e3, COLOURS["peer"], peer.at_least))
        for peer in peers
        if peer.graph == row["key"]
    ]
    groups = (
        ("in worker processes", [*measured, *(bar for one, bar in others if not one)]),
        ("in one process (not to be ranked against the above)", [bar for one, bar in others if one]),
    )
    shown = ((name, tuple(sorted(bars, key=lambda bar: bar.us))) for name, bars in groups if bars)
    return Panel(row["title"], tuple(shown))


def _colour(column: str) -> str:
    return next((colour for name, colour in COLOURS.items() if column.startswith(name)), COLOURS["peer"])


def _decades(values: Iterable[float]) -> tuple[int, int]:
    """Powers of ten around all values: every bar has a length, and the longest fits."""
    logs = [math.log10(value) for value in values if value > 0]
    low = math.floor(min(logs) - 0.05)
    return low, max(low + 1, math.ceil(max(logs)))


def _draw(panel: Panel, decades: tuple[int, int]) -> Iterable[str]:
    low, high = decades
    bottom = panel.height - FOOT
    yield text(0, 14, panel.title, 13, INK, weight=600)
    for power in range(low, high + 1):
        x = LEFT + PLOT * (power - low) / (high - low)
        yield f'<path d="M{x:.1f} {HEAD - 6:g} V{bottom:.1f}" stroke="{GRID}"/>'
        yield text(x, bottom + 14, duration(10.0**power), 10, FAINT, anchor="middle")
    y = HEAD
    for name, bars in panel.groups:
        yield text(0, y + 11, name, 10, FAINT, style="italic")
        y += LINE
        for bar in bars:
            length = PLOT * (math.log10(bar.us) - low) / (high - low) if bar.us > 0 else 0.0
            yield from _bar(bar, y, length)
            y += LINE


def _bar(bar: Bar, y: float, length: float) -> Iterable[str]:
    ours = bar.name.startswith("ours")
    shown = f"> {duration(bar.us)}" if bar.at_least else duration(bar.us)
    yield text(LEFT - 8, y + 10, bar.name, 11, INK, anchor="end", weight=600 if ours else 400)
    look = f'fill="{bar.colour}"' + (' fill-opacity="0.45"' if bar.at_least else "")
    yield (
        f'<rect x="{LEFT:g}" y="{y:.1f}" width="{max(length, 1.0):.1f}" height="{THICK:g}" rx="2" {look}>'
        f"<title>{html.escape(f'{bar.name}: {shown}')}</title></rect>"
    )
    yield text(LEFT + max(length, 1.0) + 5, y + 10, shown, 11, INK if ours else FAINT)


def duration(us: float) -> str:
    """A time in the unit in which it is easiest read."""
    unit, factor = ("µs", 1.0) if us < 999.5 else ("ms", 1e3) if us < 999.5e3 else ("s", 1e6)
    value = us / factor
    return f"{value:.0f} {unit}" if value >= 99.5 else f"{value:.2g} {unit}"


def text(
    x: float, y: float, content: str, size: int, colour: str, anchor: str = "start", weight: int = 400, style: str = "",
) -> str:  # fmt: skip
    """A line of text."""
    slanted = f' font-style="{style}"' if style else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="{colour}"{slanted}>{html.escape(content)}</text>'
    )
