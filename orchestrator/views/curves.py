"""Values of a metric over its reports, a line for each run: told apart by colour, dashes and marks.

Texts and axes take the colour of the page around them, so the drawing is for being part of a page.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from orchestrator.views.axes import shown_number
from orchestrator.views.lettering import escape

COLOURS = ("#0a7cc1", "#c9581b", "#12876f", "#b03fa0", "#8f7413", "#6b7fd6", "#b5484f", "#7d8899")
_DASHES = ("", "7 4", "2 3", "10 3 2 3", "5 2", "1 4", "12 4", "4 4 1 4")
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _RIGHT = 420.0, 190.0, 62.0, 12.0, 26.0, 14.0
_MOST_POINTS = 400


def curves_svg(name: str, lines: Sequence[Sequence[float]]) -> str:
    """Draw one metric; an empty line is a run that did not report it."""
    known = [value for line in lines for value in line if math.isfinite(value)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    most = max((len(line) for line in lines), default=1)
    body = [*_axes(low, high, most)]
    for place, line in enumerate(lines):
        body += _line(line, place, low, high, most)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="curves" role="img" width="{_WIDTH:g}" height="{_HEIGHT:g}" '
        f'viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}"><title>{escape(name)} over its reports</title>\n'
        + "\n".join(body)
        + "\n</svg>"
    )


def counts_up(values: Sequence[float]) -> bool:
    """Whether values only number the reports, such as ``iteration`` or ``epoch``: there is nothing to see in them."""
    return len(values) > 1 and all(after - before == 1 for before, after in pairwise(values))


def key_svg(place: int) -> str:
    """How the line of a run looks, for a legend; its name has to stand beside it."""
    dot = f'<circle cx="17" cy="6" r="3" fill="{COLOURS[place % len(COLOURS)]}"/>'
    return (
        '<svg class="key" aria-hidden="true" width="34" height="12" viewBox="0 0 34 12">'
        f'<path d="M1 6 H33" {_stroke(place)}/>{dot}</svg>'
    )


def _stroke(place: int) -> str:
    dashes = _DASHES[place % len(_DASHES)]
    return f'fill="none" stroke="{COLOURS[place % len(COLOURS)]}" stroke-width="2"' + (
        f' stroke-dasharray="{dashes}"' if dashes else ""
    )


def _axes(low: float, high: float, most: int) -> Iterator[str]:
    down = _HEIGHT - _BOTTOM
    yield f'<path d="M{_LEFT} {_TOP} V{down} H{_WIDTH - _RIGHT}" fill="none" stroke="currentColor" opacity=".4"/>'
    for part, value in ((0.0, low), (0.5, (low + high) / 2), (1.0, high)):
        y = down - part * (down - _TOP)
        yield f'<path d="M{_LEFT - 4} {y:.1f} h4" stroke="currentColor" opacity=".4"/>'
        yield (
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" font-size="11" text-anchor="end" fill="currentColor">'
            f"{shown_number(value)}</text>"
        )
    for x, text in ((_LEFT, "1"), (_WIDTH - _RIGHT, f"{most:,}")) if most > 1 else ():
        yield (
            f'<text x="{x:.1f}" y="{_HEIGHT - 8}" font-size="11" text-anchor="middle" fill="currentColor">{text}</text>'
        )
    if most > 1:
        yield (
            f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2:.1f}" y="{_HEIGHT - 8}" font-size="11" text-anchor="middle" '
            'fill="currentColor" opacity=".8">report</text>'
        )


def _line(line: Sequence[float], place: int, low: float, high: float, most: int) -> Iterator[str]:
    down, wide = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT - _LEFT
    step = max(1, len(line) // _MOST_POINTS)
    points = [
        (_LEFT + wide * at / max(1, most - 1), down - (down - _TOP) * (line[at] - low) / (high - low))
        for at in dict.fromkeys([*range(0, len(line), step), len(line) - 1] if line else [])
        if math.isfinite(line[at])
    ]
    if len(points) > 1:
        drawn = " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        yield f'<path d="M{drawn}" stroke-linejoin="round" {_stroke(place)}/>'
    if points:
        x, y = points[-1]
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{COLOURS[place % len(COLOURS)]}"/>'
