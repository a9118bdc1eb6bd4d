"""Who holds how much of what there is: a bar for each resource of a machine, in the colours of the page around it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.views.curves import COLOURS
from orchestrator.views.lettering import escape, text_width

_LEFT, _PLOT, _ROW, _BAR, _SIZE = 104.0, 640.0, 34.0, 22.0, 11.0
_RIGHT = 110.0
_LEAST = 2.0


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a bar.

    Attributes:
        group: What has the same colour; None for what is not ours.
        told: In words, for who points at it.
    """

    label: str
    amount: float
    told: str
    group: int | None = None
    link: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """How much of a resource there is and who holds it; ``shown`` says the amounts in words."""

    name: str
    total: float
    segments: Sequence[Segment]
    shown: str


def packing_svg(title: str, bars: Sequence[Bar]) -> str:
    """Draw the bars of one machine."""
    width, height = _LEFT + _PLOT + _RIGHT, _ROW * len(bars) + 4
    body = [line for place, bar in enumerate(bars) for line in _bar(bar, 2 + _ROW * place)]
    role = "group" if any(segment.link for bar in bars for segment in bar.segments) else "img"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="packing" role="{role}" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"><title>{escape(title)}</title>\n'
        + "\n".join(body)
        + "\n</svg>"
    )


def _bar(bar: Bar, top: float) -> Iterator[str]:
    middle = top + _ROW / 2
    text = f'y="{middle + 4:.1f}" font-size="12" fill="currentColor"'
    yield f'<text x="{_LEFT - 10}" text-anchor="end" {text}>{escape(bar.name)}</text>'
    frame = f'y="{middle - _BAR / 2:.1f}" height="{_BAR:g}"'
    yield (
        f'<rect x="{_LEFT}" {frame} width="{_PLOT}" rx="3" fill="none" stroke="currentColor" stroke-opacity=".55">'
        f"<title>{escape(bar.shown)}</title></rect>"
    )
    taken = sum(segment.amount for segment in bar.segments)
    scale = _PLOT / max(bar.total, taken, 1e-9)
    x = _LEFT
    for segment in bar.segments:
        wide = max(segment.amount * scale, _LEAST)
        yield from _segment(segment, x, wide, middle, frame)
        x += wide
    yield f'<text x="{_LEFT + _PLOT + 10}" {text}>{escape(bar.shown)}</text>'


def _segment(segment: Segment, x: float, wide: float, middle: float, frame: str) -> Iterator[str]:
    look = 'fill="currentColor" fill-opacity=".2"'
    if segment.group is not None:
        look = f'fill="{COLOURS[segment.group % len(COLOURS)]}" fill-opacity=".3"'
    yield f'<a href="{escape(segment.link)}">' if segment.link else "<g>"
    yield (
        f'<rect x="{x + 0.75:.2f}" {frame} width="{max(wide - 1.5, 1):.2f}" rx="2" {look} stroke="currentColor" '
        f'stroke-opacity=".8" stroke-width="1"><title>{escape(segment.told)}</title></rect>'
    )
    label = _fitting(segment.label, wide - 10)
    if label:
        place = f'x="{x + 6:.1f}" y="{middle + 4:.1f}" font-size="{_SIZE:g}"'
        yield f'<text {place} fill="currentColor">{escape(label)}</text>'
    yield "</a>" if segment.link else "</g>"


def _fitting(label: str, room: float) -> str:
    """As much of a label as there is room for; nothing if that would be two characters."""
    while label and text_width(label, _SIZE) > room:
        label = label.rstrip("…")[:-1].rstrip() + "…"
        if len(label) <= 3:
            return ""
    return label
