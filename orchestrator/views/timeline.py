"""A run over time: a row per node, when it was ready and waited for a worker, and when it was busy.

Texts take the colour of the page around them, so the drawing is for being part of a page.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from orchestrator.views.lettering import escape, text_width
from orchestrator.views.panel import nice_step
from orchestrator.views.status import LOOKS, duration_text

_ROW, _BAR, _TOP, _SIZE = 26.0, 12.0, 26.0, 12.0
_PLOT, _RIGHT, _LEAST = 860.0, 90.0, 2.5
_RIGHT_OF_MAPS = 150.0
_MOST_LABEL = 300.0
_MAP = 22.0
"""Height of the bar of a map that shows when its items ended."""


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """One node.

    Attributes:
        ready_at, started_at, ended_at: Wall-clock seconds; None for what has not happened.
        critical: The end of the run waited for it.
        ended: Of a map, how many items ended in each of equal parts of the time from ``started_at`` on.
    """

    label: str
    state: str
    ready_at: float | None
    started_at: float | None
    ended_at: float | None
    critical: bool = False
    link: str = ""
    ended: Sequence[int] = ()


def timeline_svg(rows: Sequence[TimelineRow], begin: float, end: float) -> str:
    """Draw rows between two moments (wall-clock seconds)."""
    end = max(end, begin + 0.001)
    left = min(max((text_width(row.label, _SIZE) for row in rows), default=0.0) + 34, _MOST_LABEL)
    right = _RIGHT_OF_MAPS if any(row.ended for row in rows) else _RIGHT
    width, height = left + _PLOT + right, _TOP + _ROW * len(rows) + 8

    def at(moment: float) -> float:
        return left + _PLOT * (min(max(moment, begin), end) - begin) / (end - begin)

    body = [*_ticks(begin, end, left, height), *(line for place, row in enumerate(rows) for line in _row(
        row, _TOP + _ROW * place, at, end))]  # fmt: skip
    role = "group" if any(row.link for row in rows) else "img"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="timeline" role="{role}" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"><title>When each step waited and ran</title>\n'
        + "\n".join(body)
        + "\n</svg>"
    )


def _ticks(begin: float, end: float, left: float, height: float) -> Iterator[str]:
    lasted = end - begin
    step = nice_step(lasted) if lasted >= 5 else 10 ** math.floor(math.log10(lasted)) / 2
    for number in range(math.floor(lasted / step) + 1):
        if lasted / step > 12 and number % 2:
            continue
        x = left + _PLOT * number * step / lasted
        yield f'<path class="tick" d="M{x:.1f} {_TOP - 6:.0f} V{height:.0f}" stroke="currentColor" opacity=".16"/>'
        said = duration_text(number * step).replace(".0 s", " s") if number else "0"
        yield f'<text x="{x:.1f}" y="12" font-size="11" text-anchor="middle" fill="currentColor">{said}</text>'


def _row(row: TimelineRow, top: float, at: Callable[[float], float], end: float) -> Iterator[str]:
    look, middle = LOOKS[row.state], top + _ROW / 2
    yield f"<g><title>{escape(_told(row))}</title>"
    yield (
        f'<path transform="translate(2 {middle - 6:.1f})" d="{look.icon}" fill="none" stroke="{look.colour}" '
        'stroke-width="1.9" stroke-linecap="round" stroke-linejoin="round"/>'
    )
    weight = ' font-weight="700"' if row.critical else ""
    text = (
        f'<text x="22" y="{middle + 4:.1f}" font-size="{_SIZE:g}" fill="currentColor"{weight}>'
        f"{escape(_cut(row.label))}</text>"
    )
    yield f'<a href="{escape(row.link)}">{text}</a>' if row.link else text
    since = row.started_at if row.started_at is not None else row.ended_at
    if row.ready_at is not None and (since is not None or row.state in ("pending", "waiting", "running")):
        until = since if since is not None else end
        x, width = at(row.ready_at), at(until) - at(row.ready_at)
        if width >= 1:
            yield (
                f'<rect class="queued" x="{x:.1f}" y="{middle - 2:.1f}" width="{width:.1f}" height="4" '
                'fill="currentColor" opacity=".38"/>'
            )
    if row.started_at is not None:
        until = row.ended_at if row.ended_at is not None else end
        x, width = at(row.started_at), max(at(until) - at(row.started_at), _LEAST)
        ring = ' stroke="currentColor" stroke-width="1.6"' if row.critical else ""
        if row.ended:
            yield from _columns(row, x, middle, width, ring)
        else:
            yield (
                f'<rect class="busy" x="{x:.1f}" y="{middle - _BAR / 2:.1f}" width="{width:.1f}" height="{_BAR:g}" '
                f'rx="2" fill="{look.colour}"{ring}/>'
            )
        yield (
            f'<text x="{x + width + 7:.1f}" y="{middle + 4:.1f}" font-size="11" fill="currentColor">'
            f"{duration_text(until - row.started_at)}{_rate(row, until)}</text>"
        )
    elif row.state in ("cached", "skipped", "dropped", "cancelled"):
        x = at(row.ended_at if row.ended_at is not None else row.ready_at or 0.0)
        yield (f'<text x="{x + 4:.1f}" y="{middle + 4:.1f}" font-size="11" fill="currentColor">{row.state}</text>')
    yield "</g>"


def _columns(row: TimelineRow, x: float, middle: float, width: float, ring: str) -> Iterator[str]:
    """When items of a map ended: a column for each part of its time, the highest where most did."""
    colour, most, step = LOOKS[row.state].colour, max(row.ended), width / len(row.ended)
    down, tall = middle + _MAP / 2, _MAP - 2
    yield (
        f'<rect class="busy" x="{x:.1f}" y="{middle - _MAP / 2:.1f}" width="{width:.1f}" height="{_MAP:g}" rx="2" '
        f'fill="{colour}" fill-opacity=".22"{ring}/>'
    )
    tops = [down - tall * count / most for count in row.ended]
    path = "".join(f"H{x + place * step:.1f}V{top:.1f}" for place, top in enumerate(tops))
    yield f'<path class="ended" d="M{x:.1f} {down:.1f}{path}H{x + width:.1f}V{down:.1f}Z" fill="{colour}"/>'


def _rate(row: TimelineRow, until: float) -> str:
    """How many items ended, and how many a second."""
    lasted = 0.0 if row.started_at is None else until - row.started_at
    if not row.ended or lasted <= 0:
        return ""
    rate = sum(row.ended) / lasted
    return f", {f'{rate:,.0f}' if rate >= 10 else f'{rate:.2g}'} items/s"


def _told(row: TimelineRow) -> str:
    parts = [f"{row.label}: {row.state}"]
    if row.ready_at is not None and row.started_at is not None:
        parts.append(f"waited {duration_text(max(row.started_at - row.ready_at, 0.0))}")
    if row.started_at is not None and row.ended_at is not None:
        parts.append(f"ran {duration_text(max(row.ended_at - row.started_at, 0.0))}")
    return ", ".join([*parts, *(["the end of the run waited for it"] if row.critical else [])])


def _cut(label: str) -> str:
    """The end of a label that is too long, which tells steps of one scope apart."""
    while text_width(label, _SIZE) + 34 > _MOST_LABEL:
        label = "…" + label.lstrip("…")[1:]
    return label


def sparkline_svg(values: Sequence[tuple[float, str]], width: float = 120.0, height: float = 22.0) -> str:
    """Durations of some runs, oldest first, as bars in the colours of their states."""
    if not values:
        return ""
    most = max(max(value for value, _ in values), 1e-9)
    step = width / max(len(values), 12)
    bars = []
    for place, (value, state) in enumerate(values):
        tall = max(2.0, (height - 2) * value / most)
        colour = LOOKS[state].colour if state in LOOKS else "currentColor"
        bars.append(
            f'<rect x="{place * step:.1f}" y="{height - tall:.1f}" width="{max(step - 1.5, 1):.1f}" '
            f'height="{tall:.1f}" fill="{colour}"/>'
        )
    said = f"The last {len(values)} took {duration_text(min(v for v, _ in values))} to {duration_text(most)}"
    return (
        f'<svg class="spark" role="img" width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}">'
        f"<title>{said}</title>{''.join(bars)}</svg>"
    )


def icon_svg(state: str, size: float = 12.0) -> str:
    """The mark of a state; its name has to stand beside it."""
    look = LOOKS.get(state, LOOKS["pending"])
    return (
        f'<svg class="icon" aria-hidden="true" width="{size:g}" height="{size:g}" viewBox="0 0 12 12"><path '
        f'd="{look.icon}" fill="none" stroke="currentColor" stroke-width="1.9" stroke-linecap="round" '
        'stroke-linejoin="round"/></svg>'
    )


def filling(counts: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """States in the order in which a bar fills: what is done, what needs attention, and last what has not begun."""
    begun = [one for one in reversed(counts) if one[0] != "pending"]
    return [*begun, *(one for one in counts if one[0] == "pending")]


def bar_svg(counts: Sequence[tuple[str, int]], width: float = 160.0) -> str:
    """Shares of states in one bar; every state that occurs can be seen."""
    total = sum(count for _, count in counts)
    if not total:
        return ""
    least = 3.0
    scale = (width - least * len(counts)) / total
    x, parts = 0.0, []
    for state, count in filling(counts):
        wide = least + count * scale
        parts.append(f'<rect x="{x:.1f}" width="{wide:.1f}" height="8" fill="{LOOKS[state].colour}"/>')
        x += wide
    said = ", ".join(f"{count:,} {state}" for state, count in counts)
    return (
        f'<svg class="bar" role="img" width="{width:g}" height="8" viewBox="0 0 {width:g} 8">'
        f"<title>{said}</title>{''.join(parts)}</svg>"
    )
