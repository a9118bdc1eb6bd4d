"""How the requests of an application are split, as one bar."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.views.lettering import escape
from orchestrator.views.panel import CALM, LINE

_WIDTH, _HEIGHT = 220.0, 14.0


def split_svg(weights: Mapping[str, float], new: str = "") -> str:
    """Draw it: the new version first and in colour.

    Args:
        weights: Percent of the requests by version.
        new: The version that is released; nothing is in colour without one.
    """
    order = sorted(weights.items(), key=lambda one: (one[0] != new, -one[1]))
    total, left, parts = sum(weights.values()) or 1.0, 0.0, []
    for version, weight in order:
        width = _WIDTH * weight / total
        fill = CALM if version == new else LINE
        parts.append(f'<rect x="{left:.1f}" width="{max(width - 1, 0.5):.1f}" height="{_HEIGHT:g}" fill="{fill}"/>')
        left += width
    title = escape(split_text(weights))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" class="orc-panel split" width="{_WIDTH:g}" '
        f'height="{_HEIGHT:g}" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}"><title>{title}</title>{"".join(parts)}</svg>'
    )


def split_text(weights: Mapping[str, float]) -> str:
    """The same in words."""
    return ", ".join(f"{version} {weight:g} %" for version, weight in weights.items()) or "not known"
