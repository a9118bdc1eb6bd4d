"""Triggers over time: what they fired for in the last hours, and at which moments of the next they will.

A row per trigger. What has fired has the mark and colour of its run's state, what will is an open ring. Colours are
those of the page around it, states by its classes ``s-…``, so the drawing is for being part of a page.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from orchestrator.views.lettering import escape, text_width
from orchestrator.views.status import LOOKS

_ROW, _TOP, _SIZE, _PLOT, _RIGHT = 28.0, 30.0, 12.0, 760.0, 24.0
_MOST_LABEL = 330.0
_CLOSE, _APART = 2.0, 11.0
"""Moments to come that are closer are not told apart; those that would touch are strokes in the place of rings."""

_STEPS_H = (1, 2, 3, 6, 12, 24)


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment of a row.

    Attributes:
        state: Of the run; empty for what is still to come.
        told: In words, for who points at it.
    """

    at: float
    state: str
    told: str
    link: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One trigger; ``more`` if not all marks to come are there."""

    label: str
    link: str
    marks: Sequence[Mark]
    more: bool = False


def upcoming_svg(rows: Sequence[Row], begin: float, now: float, end: float) -> str:
    """Draw rows between two moments (wall-clock seconds)."""
    left = min(max((text_width(row.label, _SIZE) for row in rows), default=0.0) + 20, _MOST_LABEL)
    width, height = left + _PLOT + _RIGHT, _TOP + _ROW * len(rows) + 6

    def x(moment: float) -> float:
        return left + _PLOT * (min(max(moment, begin), end) - begin) / (end - begin)

    body = [*_hours(begin, end, x, height), *_now(x(now), height)]
    for place, row in enumerate(rows):
        body += _row(row, _TOP + _ROW * place + _ROW / 2, left, x)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="timeline" role="group" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"><title>What triggers fired for, and when they '
        "will</title>\n" + "\n".join(body) + "\n</svg>"
    )


def _hours(begin: float, end: float, x: Callable[[float], float], height: float) -> Iterator[str]:
    hours = (end - begin) / 3600
    step_s = 3600.0 * next((step for step in _STEPS_H if hours / step <= 9), _STEPS_H[-1])
    for number in range(math.ceil(begin / step_s), math.floor(end / step_s) + 1):
        at = number * step_s
        shown = datetime.fromtimestamp(at, UTC)
        said = f"{shown:%H:%M}" if shown.hour else f"{shown:%d %b}"
        yield f'<path d="M{x(at):.1f} {_TOP - 6:.0f} V{height:.0f}" stroke="currentColor" opacity=".16"/>'
        yield f'<text x="{x(at):.1f}" y="14" font-size="11" text-anchor="middle" fill="currentColor">{said}</text>'
    yield '<text x="2" y="14" font-size="11" fill="currentColor">UTC</text>'


def _now(x: float, height: float) -> Iterator[str]:
    yield (
        f'<path d="M{x:.1f} {_TOP - 8:.0f} V{height:.0f}" stroke="currentColor" stroke-width="1.6" '
        'stroke-dasharray="4 3"><title>now</title></path>'
    )


def _row(row: Row, middle: float, left: float, x: Callable[[float], float]) -> Iterator[str]:
    label = escape(_cut(row.label))
    yield (
        f'<a href="{escape(row.link)}"><text x="2" y="{middle + 4:.1f}" font-size="{_SIZE:g}" fill="currentColor">'
        f"{label}</text></a>"
    )
    yield f'<path d="M{left:.1f} {middle:.1f} H{left + _PLOT:.1f}" stroke="currentColor" opacity=".25"/>'
    drawn = -math.inf
    for mark in row.marks:
        if not mark.state and x(mark.at) - drawn < _CLOSE:
            continue
        near = any(0 < abs(x(other.at) - x(mark.at)) < _APART for other in row.marks if not other.state)
        drawn = x(mark.at) if not mark.state else drawn
        yield from _mark(mark, x(mark.at), middle, near)
    if row.more:
        yield f'<text x="{drawn + 5:.1f}" y="{middle + 4:.1f}" font-size="14" fill="currentColor">…</text>'


def _mark(mark: Mark, x: float, middle: float, near: bool) -> Iterator[str]:
    told = f"<title>{escape(mark.told)}</title>"
    if not mark.state and near:
        yield (
            f'<path class="due" d="M{x:.1f} {middle - 5:.1f} V{middle + 5:.1f}" stroke="currentColor" '
            f'stroke-width="1.4">{told}</path>'
        )
        return
    if not mark.state:
        yield (
            f'<circle class="due" cx="{x:.1f}" cy="{middle:.1f}" r="4.5" fill="none" stroke="currentColor" '
            f'stroke-width="1.6">{told}</circle>'
        )
        return
    look = LOOKS.get(mark.state, LOOKS["pending"])
    icon = (
        f'<g class="fired s-{mark.state}" transform="translate({x - 6:.1f} {middle - 6:.1f})">{told}'
        f'<rect x="-2" y="-2" width="16" height="16" rx="3" fill="currentColor" opacity=".18"/>'
        f'<path d="{look.icon}" fill="none" stroke="currentColor" stroke-width="2.2" stroke-linecap="round" '
        'stroke-linejoin="round"/></g>'
    )
    yield f'<a href="{escape(mark.link)}" aria-label="{escape(mark.told)}">{icon}</a>' if mark.link else icon


def _cut(label: str) -> str:
    """The beginning of a label that is too long."""
    if text_width(label, _SIZE) + 20 <= _MOST_LABEL:
        return label
    while text_width(f"{label}…", _SIZE) + 20 > _MOST_LABEL:
        label = label[:-1]
    return f"{label}…"
