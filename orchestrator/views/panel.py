"""One panel of a chart over time: where a moment and a value stand, lines, bands and ticks, as pieces of SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.views.axes import shown_number
from orchestrator.views.lettering import FAMILY, escape
from orchestrator.views.status import duration_text

INK, FAINT, GROUND, LINE = "#1c2430", "#5b6675", "#f6f8fb", "#c3ccd8"
CALM, ALARM, GOOD = "#0072b2", "#c44601", "#00806a"

AT_NIGHT = {
    INK: "#e6ebf1",
    FAINT: "#a3b0bf",
    GROUND: "#1b2128",
    LINE: "#46525f",
    CALM: "#58b2ea",
    ALARM: "#ff8c5a",
    GOOD: "#3fc7a6",
}
"""What takes the place of each colour where the reader has chosen dark pages."""

_NICE_S = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Panel:
    """A rectangle in the drawing, and the values at its edges.

    Attributes:
        begin, end: Seconds; ``end`` is later.
        low, high: Values at the lower and upper edge; different from each other.
    """

    left: float
    top: float
    width: float
    height: float
    begin: float
    end: float
    low: float = 0.0
    high: float = 1.0

    def x(self, time: float) -> float:
        """Where a moment stands."""
        return self.left + self.width * (time - self.begin) / (self.end - self.begin)

    def y(self, value: float) -> float:
        """Where a value stands; what is outside stands at the edge."""
        part = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.top + self.height * (1.0 - part)

    def frame(self) -> str:
        """The left and the lower edge."""
        down, right = self.top + self.height, self.left + self.width
        return f'<path d="M{self.left:.1f} {self.top:.1f} V{down:.1f} H{right:.1f}" fill="none" stroke="{LINE}"/>'

    def line(self, points: Sequence[tuple[float, float]], colour: str, width: float = 2.0) -> str:
        """Through (time, value) points."""
        drawn = " ".join(f"{self.x(time):.1f},{self.y(value):.1f}" for time, value in points)
        stroke = f'stroke="{colour}" stroke-width="{width:g}" stroke-linejoin="round"'
        return f'<polyline points="{drawn}" fill="none" {stroke}/>'

    def band(self, points: Sequence[tuple[float, float, float]], colour: str, opacity: float = 0.18) -> str:
        """Between a lower and an upper value over time."""
        there = [f"{self.x(time):.1f},{self.y(high):.1f}" for time, _, high in points]
        back = [f"{self.x(time):.1f},{self.y(low):.1f}" for time, low, _ in reversed(points)]
        return f'<polygon points="{" ".join(there + back)}" fill="{colour}" opacity="{opacity:g}"/>'

    def level(self, value: float, colour: str = FAINT, dash: str = "4 4") -> str:
        """A line across at a value."""
        y = self.y(value)
        return (
            f'<line x1="{self.left:.1f}" y1="{y:.1f}" x2="{self.left + self.width:.1f}" y2="{y:.1f}" '
            f'stroke="{colour}" stroke-dasharray="{dash}"/>'
        )

    def values(self, values: Sequence[float], unit: str = "") -> Iterator[str]:
        """Values written at the left edge."""
        for value in values:
            shown = f"{shown_number(value)}{unit}"
            yield label(self.left - 8, self.y(value) + 4, shown, anchor="end", colour=FAINT)

    def times(self) -> Iterator[str]:
        """Times since the beginning, written under the lower edge."""
        lasted = self.end - self.begin
        step = nice_step(lasted)
        down = self.top + self.height
        for number in range(math.floor(lasted / step) + 1):
            x = self.x(self.begin + number * step)
            yield f'<line x1="{x:.1f}" y1="{down:.1f}" x2="{x:.1f}" y2="{down + 4:.1f}" stroke="{LINE}"/>'
            yield label(x, down + 17, _time(number * step), anchor="middle", colour=FAINT)


def nice_step(lasted: float) -> float:
    """Seconds between ticks, at most seven of them, so that people can read the times beside them."""
    return next((nice for nice in _NICE_S if lasted / nice <= 6), math.ceil(lasted / 6 / 604800) * 604800)


def label(
    x: float, y: float, text: str, *, size: float = 11, anchor: str = "start", colour: str = INK, bold: bool = False
) -> str:
    """A line of text."""
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" text-anchor="{anchor}" fill="{colour}"{weight}>'
        f"{escape(text)}</text>"
    )


def picture(title: str, width: float, height: float, body: Sequence[str]) -> str:
    """The drawing, on a ground of its own; its colours follow the reader's choice of light or dark pages."""
    night = "".join(
        f".orc-panel [{part}='{day}']{{{part}:{dark}}}" for day, dark in AT_NIGHT.items() for part in ("fill", "stroke")
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" class="orc-panel" '
        f'width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="{FAMILY}"><title>{escape(title)}</title>\n'
        f"<style>@media (prefers-color-scheme: dark){{{night}}}</style>\n"
        f'<rect width="{width:.0f}" height="{height:.0f}" rx="8" fill="{GROUND}"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _time(time_s: float) -> str:
    if time_s < 60:
        return f"{time_s:g} s"
    if time_s < 3600 and time_s % 60 == 0:
        return f"{time_s / 60:g} m"
    if time_s >= 86400 and time_s % 86400 == 0:
        return f"{time_s / 86400:g} d"
    return f"{time_s / 3600:g} h" if time_s % 3600 == 0 else duration_text(time_s)
