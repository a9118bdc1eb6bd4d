"""What a step reported while it ran, as curves: a small chart for each metric, report by report."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from orchestrator.views.axes import shown_number
from orchestrator.views.panel import CALM, FAINT, GROUND, Panel, label, picture

_WIDE, _HIGH, _LEFT, _GAP, _TOP = 236.0, 96.0, 62.0, 30.0, 34.0
_ACROSS = 3
_MOST = 12
_POINTS = 400


def metric_series(reports: Sequence[Mapping[str, float]]) -> dict[str, list[tuple[int, float]]]:
    """Each metric's values with the number of the report, from 1; what is no finite number is left out."""
    found: dict[str, list[tuple[int, float]]] = {}
    for number, report in enumerate(reports, 1):
        for name, value in report.items():
            if math.isfinite(value):
                found.setdefault(name, []).append((number, float(value)))
    return found


def reports_svg(title: str, reports: Sequence[Mapping[str, float]]) -> str:
    """Draw the metrics that were reported more than once, up to twelve; nothing if there are none."""
    series = {name: points for name, points in metric_series(reports).items() if len(points) > 1}
    drawn = list(series.items())[:_MOST]
    if not drawn:
        return ""
    across = min(len(drawn), _ACROSS)
    rows = math.ceil(len(drawn) / across)
    width = across * (_LEFT + _WIDE) + _GAP
    height = rows * (_TOP + _HIGH + _GAP) + 4
    body: list[str] = []
    for place, (name, points) in enumerate(drawn):
        left = _LEFT + (place % across) * (_LEFT + _WIDE)
        body += _chart(name, points, len(reports), left, _TOP + (place // across) * (_TOP + _HIGH + _GAP))
    return picture(title, width, height, body)


def _chart(name: str, points: Sequence[tuple[int, float]], last: int, left: float, top: float) -> Iterator[str]:
    values = [value for _, value in points]
    low, high = min(values), max(values)
    spare = (high - low) * 0.06 or abs(high) * 0.05 or 1.0
    panel = Panel(left, top, _WIDE - 16, _HIGH, 1.0, max(float(last), 2.0), low - spare, high + spare)
    yield label(left, top - 10, f"{name} {shown_number(values[-1])}", bold=True)
    yield panel.frame()
    yield from panel.values([low, high] if high > low else [low])
    for number in sorted({1, (last + 1) // 2, last}):
        yield label(panel.x(number), top + _HIGH + 15, str(number), anchor="middle", colour=FAINT)
    step = max(1, len(points) // _POINTS)
    kept = [*points[:-1:step], points[-1]]
    yield panel.line([(float(number), value) for number, value in kept], CALM)
    number, value = points[-1]
    yield (
        f'<circle cx="{panel.x(number):.1f}" cy="{panel.y(value):.1f}" r="3.5" fill="{CALM}" stroke="{GROUND}" '
        'stroke-width="1"/>'
    )
