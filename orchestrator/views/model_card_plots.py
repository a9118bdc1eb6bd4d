"""The plots of a model card as SVG inside a page: colours are the page's, so that they follow light and dark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.serving import CardBin
from orchestrator.views.axes import shown_number
from orchestrator.views.lettering import FAMILY, escape, text_width

_INK, _FAINT, _LINE, _MARK, _OTHER = "var(--ink)", "var(--soft)", "var(--line)", "var(--mark)", "var(--other)"
_SIZE = 12.0
_ROW = 28.0
_GAP = 12.0
_TRACK = 280.0
_LONGEST_NAME = 200.0


@dataclass(frozen=True, slots=True)
class Interval:
    """A value on a row of its own, with an interval and another value to compare with; None where there is none."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    other: float | None = None

    @property
    def numbers(self) -> list[float]:
        """What has to be on the axis."""
        return [number for number in (self.value, self.low, self.high, self.other) if number is not None]

    @property
    def said(self) -> str:
        """``0.803 [0.79, 0.82]``."""
        value = "cannot be told" if self.value is None else shown_number(self.value)
        if self.low is None or self.high is None:
            return value
        return f"{value} [{shown_number(self.low)}, {shown_number(self.high)}]"


def intervals_svg(title: str, rows: Sequence[Interval], shared: bool, level: float | None = None) -> str:
    """Values with their intervals, one below the other.

    Args:
        shared: All stand on one axis; else each row has its own.
        level: A line down at this value of the shared axis.
    """
    left = _names_width([row.name for row in rows])
    every = [number for row in rows for number in row.numbers] + ([] if level is None else [level])
    body: list[str] = []
    for at, row in enumerate(rows):
        y = at * _ROW + _ROW / 2
        low, high = _range(every if shared else row.numbers)
        body += [_text(left, y + 4, _shortened(row.name), anchor="end"), _track(left + _GAP, y)]
        body += _interval(row, left + _GAP, y, low, high)
    if level is not None and rows:
        low, high = _range(every)
        x = left + _GAP + _TRACK * _part(level, low, high)
        body.insert(0, _dashed(x, 0, x, len(rows) * _ROW))
    return _svg(title, left + 2 * _GAP + _TRACK, len(rows) * _ROW, body)


def bars_svg(title: str, rows: Sequence[tuple[str, float]]) -> str:
    """Values as bars, one below the other; negative ones have none."""
    left = _names_width([name for name, _ in rows])
    most = max([value for _, value in rows] + [0.0]) or 1.0
    body: list[str] = []
    for at, (name, value) in enumerate(rows):
        y = at * _ROW + _ROW / 2
        width = _TRACK * max(value, 0.0) / most
        body.append(_text(left, y + 4, _shortened(name), anchor="end"))
        body.append(f'<rect x="{left + _GAP:.1f}" y="{y - 7:.1f}" width="{width:.1f}" height="14" fill="{_MARK}"/>')
        body.append(_text(left + _GAP + width + 6, y + 4, shown_number(value), colour=_FAINT))
    return _svg(title, left + _GAP + _TRACK + 80, len(rows) * _ROW, body)


def bins_svg(title: str, bins: Sequence[CardBin], across: str, up: str, shares: bool) -> str:
    """Predictions against what came true; on the dashed line they are equal.

    Args:
        shares: Both are between 0 and 1.
    """
    side, left, top = 280.0, 64.0, 8.0
    ends = _range([number for one in bins for number in (one.predicted, one.actual)])
    low, high = (0.0, 1.0) if shares else ends

    def place(one: CardBin) -> tuple[float, float]:
        return left + side * _part(one.predicted, low, high), top + side * (1 - _part(one.actual, low, high))

    body = [_frame(left, top, side, side), _dashed(left, top + side, left + side, top)]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(place, bins))
    body.append(f'<polyline points="{points}" fill="none" stroke="{_MARK}" stroke-width="1.5"/>')
    body += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{_MARK}"/>' for x, y in map(place, bins)]
    for share in (0.0, 0.5, 1.0):
        value = shown_number(low + share * (high - low))
        body.append(_text(left + share * side, top + side + 18, value, anchor="middle", colour=_FAINT))
        body.append(_text(left - 8, top + side * (1 - share) + 4, value, anchor="end", colour=_FAINT))
    body.append(_text(left + side / 2, top + side + 38, across, anchor="middle"))
    turned = f'transform="rotate(-90 14 {top + side / 2:.1f})"'
    body.append(_text(14, top + side / 2, up, anchor="middle", more=turned))
    return _svg(title, left + side + 30, top + side + 46, body)


def histogram_svg(title: str, bins: Sequence[tuple[float, float, int]], across: str) -> str:
    """How many rows lie where; a dashed line stands at zero."""
    width, height, left, top = 420.0, 200.0, 56.0, 8.0
    low, high, most = bins[0][0], bins[-1][1], max(count for _, _, count in bins)
    body = [_frame(left, top, width, height)]
    for begin, end, count in bins:
        x, then = (left + width * _part(edge, low, high) for edge in (begin, end))
        tall = height * count / (most or 1)
        place = f'x="{x + 0.5:.1f}" y="{top + height - tall:.1f}" width="{max(then - x - 1, 1):.1f}"'
        body.append(f'<rect {place} height="{tall:.1f}" fill="{_MARK}"/>')
    if low < 0 < high:
        x = left + width * _part(0.0, low, high)
        body.append(_dashed(x, top, x, top + height, _INK))
    for value in (low, (low + high) / 2, high):
        x = left + width * _part(value, low, high)
        body.append(_text(x, top + height + 18, shown_number(value), anchor="middle", colour=_FAINT))
    body.append(_text(left - 8, top + 10, f"{most:,}", anchor="end", colour=_FAINT))
    body.append(_text(left - 8, top + height, "0", anchor="end", colour=_FAINT))
    body.append(_text(left + width / 2, top + height + 38, across, anchor="middle"))
    return _svg(title, left + width + 30, top + height + 46, body)


def _interval(row: Interval, left: float, y: float, low: float, high: float) -> Iterator[str]:
    if row.low is not None and row.high is not None:
        begin, end = (left + _TRACK * _part(edge, low, high) for edge in (row.low, row.high))
        yield (
            f'<line x1="{begin:.1f}" y1="{y:.1f}" x2="{end:.1f}" y2="{y:.1f}" stroke="{_MARK}" stroke-width="4" '
            'stroke-linecap="round" opacity="0.45"/>'
        )
    if row.other is not None:
        x = left + _TRACK * _part(row.other, low, high)
        points = f"M{x:.1f} {y - 6:.1f} L{x + 6:.1f} {y:.1f} L{x:.1f} {y + 6:.1f} L{x - 6:.1f} {y:.1f} Z"
        yield f'<path d="{points}" fill="none" stroke="{_OTHER}" stroke-width="2"/>'
    if row.value is not None:
        yield f'<circle cx="{left + _TRACK * _part(row.value, low, high):.1f}" cy="{y:.1f}" r="5" fill="{_MARK}"/>'


def _range(numbers: Sequence[float]) -> tuple[float, float]:
    """Ends of an axis that holds the numbers, with some room; never of no length."""
    low, high = (min(numbers), max(numbers)) if numbers else (0.0, 1.0)
    room = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    return low - room, high + room


def _part(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high > low else 0.5


def _names_width(names: Sequence[str]) -> float:
    return min(max((text_width(name, _SIZE) for name in names), default=0.0), _LONGEST_NAME) + 4


def _shortened(name: str) -> str:
    while text_width(name, _SIZE) > _LONGEST_NAME:
        name = f"{name[:-2]}…"
    return name


def _track(left: float, y: float) -> str:
    return f'<line x1="{left:.1f}" y1="{y:.1f}" x2="{left + _TRACK:.1f}" y2="{y:.1f}" stroke="{_LINE}"/>'


def _dashed(x1: float, y1: float, x2: float, y2: float, colour: str = _FAINT) -> str:
    place = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {place} stroke="{colour}" stroke-dasharray="4 4"/>'


def _frame(left: float, top: float, width: float, height: float) -> str:
    down = top + height
    return f'<path d="M{left:.1f} {top:.1f} V{down:.1f} H{left + width:.1f}" fill="none" stroke="{_LINE}"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", colour: str = _INK, more: str = "") -> str:
    look = f'font-size="{_SIZE:g}" text-anchor="{anchor}" fill="{colour}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {look} {more}>{escape(text)}</text>'


def _svg(title: str, width: float, height: float, body: Sequence[str]) -> str:
    shape = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {shape} font-family="{FAMILY}">'
        f"<title>{escape(title)}</title>" + "".join(body) + "</svg>"
    )
