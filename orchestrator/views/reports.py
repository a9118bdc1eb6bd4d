"""What a step reported while it ran, as curves: a small chart for each metric, report by report."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from orchestrator.views.axes import shown_number
from orchestrator.views.curves import counts_up
from orchestrator.views.panel import CALM, FAINT, Panel, label, picture

Points = list[tuple[int, float]]
"""Numbers of reports with a metric's values."""

_WIDE, _HIGH, _LEFT, _GAP, _TOP = 236.0, 96.0, 62.0, 30.0, 34.0
_ACROSS = 3
_MOST = 12
_POINTS = 400


def metric_series(reports: Sequence[Mapping[str, float]]) -> dict[str, Points]:
    """Each metric's values with the number of the report, from 1; what is no finite number is left out."""
    found: dict[str, Points] = {}
    for number, report in enumerate(reports, 1):
        for name, value in report.items():
            if math.isfinite(value):
                found.setdefault(name, []).append((number, float(value)))
    return found


def reports_svg(title: str, lines: Sequence[Sequence[Mapping[str, float]]]) -> str:
    """Draw the metrics that were reported more than once, up to twelve; nothing if there are none.

    What only counts the reports is left out beside others.

    Args:
        lines: The reports of each step: a line of its own in every chart.
    """
    series: dict[str, list[Points]] = {}
    for reports in lines:
        for name, points in metric_series(reports).items():
            if len(points) > 1:
                series.setdefault(name, []).append(points)
    telling = {
        name: lines for name, lines in series.items() if not all(counts_up([v for _, v in one]) for one in lines)
    }
    drawn = list((telling or series).items())[:_MOST]
    if not drawn:
        return ""
    across = min(len(drawn), _ACROSS)
    rows = math.ceil(len(drawn) / across)
    width = across * (_LEFT + _WIDE) + _GAP
    height = rows * (_TOP + _HIGH + _GAP) + 4
    body: list[str] = []
    for place, (name, several) in enumerate(drawn):
        left = _LEFT + (place % across) * (_LEFT + _WIDE)
        body += _chart(name, several, left, _TOP + (place // across) * (_TOP + _HIGH + _GAP))
    return picture(title, width, height, body)


def _chart(name: str, lines: Sequence[Points], left: float, top: float) -> Iterator[str]:
    values = [value for points in lines for _, value in points]
    low, high, last = min(values), max(values), max(points[-1][0] for points in lines)
    spare = (high - low) * 0.06 or abs(high) * 0.05 or 1.0
    panel = Panel(left, top, _WIDE - 16, _HIGH, 1.0, max(float(last), 2.0), low - spare, high + spare)
    said = shown_number(lines[0][-1][1]) if len(lines) == 1 else f"of {len(lines)} items"
    yield label(left, top - 10, f"{name} {said}", bold=True)
    yield panel.frame()
    yield from panel.values([low, high] if high > low else [low])
    for number in sorted({1, (last + 1) // 2, last}):
        yield label(panel.x(number), top + _HIGH + 15, str(number), anchor="middle", colour=FAINT)
    for points in lines:
        step = max(1, len(points) // _POINTS)
        kept = [*points[:-1:step], points[-1]]
        yield panel.line([(float(number), value) for number, value in kept], CALM, 2.0 if len(lines) == 1 else 1.2)
        x, y = panel.x(points[-1][0]), panel.y(points[-1][1])
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{3.5 if len(lines) == 1 else 2.5}" fill="{CALM}"/>'
