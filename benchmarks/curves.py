"""The curves for the docs: seconds and memory by number of rows, both logarithmic, a line for each column."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from benchmarks.memory import MEMORY
from benchmarks.picture import FAINT, GRID, GROUND, INK, text

WIDTH, HEIGHT, LEFT, TOP, GAP = 400.0, 260.0, 60.0, 64.0, 96.0
LEGEND = 130.0
COLOURS = ("#7d8899", "#3fa7a0", "#2f6fde", "#12357f", "#c77700", "#aab4c2")


class Panel(NamedTuple):
    """One picture: points by column, the power of ten of their values below and above."""

    title: str
    lines: dict[str, list[tuple[float, float]]]
    low: int
    high: int


def svg(rows: Sequence[Any], caption: str) -> str:
    """A self-contained picture of the rows of a report's document that have a size.

    Raises:
        ValueError: fewer than two rows can be drawn.
    """
    sized = sorted((row for row in rows if row.get("size")), key=lambda row: row["size"])
    if len(sized) < 2:
        raise ValueError("curves need two rows or more with a size, such as table-10k and table-100k")
    sizes = (math.floor(math.log10(sized[0]["size"])), math.ceil(math.log10(sized[-1]["size"])))
    panels = [
        _panel("Seconds", sized, lambda column: column["median"]),
        _panel("Memory added by all processes, MB", sized, _memory_mb),
    ]
    names = list(panels[0].lines)
    width = LEFT + len(panels) * (WIDTH + GAP) + LEGEND - GAP / 2
    height = TOP + HEIGHT + 66
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="system-ui, -apple-system, \'Segoe UI\', sans-serif">'
        f'<title>Time and memory by number of rows</title><rect width="100%" height="100%" rx="8" fill="{GROUND}"/>'
    ]
    for place, panel in enumerate(panels):
        body += _draw(panel, LEFT + place * (WIDTH + GAP), sizes, names)
    for place, name in enumerate(names):
        y = TOP + 16 + place * 20
        body.append(f'<rect x="{width - LEGEND:.0f}" y="{y - 8:.0f}" width="14" height="4" fill="{COLOURS[place]}"/>')
        body.append(text(width - LEGEND + 20, y - 2, name, 12, INK))
    body.append(text(LEFT, height - 14, caption, 11, FAINT))
    return "\n".join([*body, "</svg>\n"])


def _memory_mb(column: Any) -> float | None:
    found = column["figures"].get(MEMORY)
    return None if found is None else float(found["median"])


def _panel(title: str, rows: Sequence[Any], value: Callable[[Any], float | None]) -> Panel:
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        for name, column in row["columns"].items():
            if (found := value(column)) is not None:
                lines.setdefault(name, []).append((row["size"], max(found, 0.01)))
    logs = [math.log10(y) for points in lines.values() for _, y in points]
    low = math.floor(min(logs))
    return Panel(title, lines, low, max(low + 1, math.ceil(max(logs))))


def _draw(panel: Panel, left: float, sizes: tuple[int, int], names: Sequence[str]) -> Iterable[str]:
    first, last = sizes

    def place(rows: float, value: float) -> tuple[float, float]:
        x = left + WIDTH * (math.log10(rows) - first) / max(last - first, 1)
        return x, TOP + HEIGHT * (panel.high - math.log10(value)) / (panel.high - panel.low)

    yield text(left, TOP - 16, panel.title, 13, INK, weight=600)
    for power in range(panel.low, panel.high + 1):
        _, y = place(10.0**first, 10.0**power)
        yield f'<path d="M{left:.1f} {y:.1f} H{left + WIDTH:.1f}" stroke="{GRID}"/>'
        yield text(left - 8, y + 4, f"{10.0**power:g}", 10, FAINT, anchor="end")
    for power in range(first, last + 1):
        x, _ = place(10.0**power, 10.0**panel.low)
        yield f'<path d="M{x:.1f} {TOP:.1f} V{TOP + HEIGHT:.1f}" stroke="{GRID}"/>'
        yield text(x, TOP + HEIGHT + 18, f"{10**power:,}", 10, FAINT, anchor="middle")
    for name, points in panel.lines.items():
        colour = COLOURS[names.index(name) % len(COLOURS)]
        found = [place(*point) for point in points]
        line = " ".join(f"{'L' if number else 'M'}{x:.1f} {y:.1f}" for number, (x, y) in enumerate(found))
        yield f'<path d="{line}" fill="none" stroke="{colour}" stroke-width="2"/>'
        for (x, y), (size, value) in zip(found, points, strict=True):
            told = html.escape(f"{name}, {size:,} rows: {value:.3g}")
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"><title>{told}</title></circle>'
