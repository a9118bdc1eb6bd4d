"""What became of the steps of a node, as a drawing needs it; made by whoever knows the run.

A state is told by its colour, its glyph and its name together, so that no reader depends on colour alone. The
colours are apart for colour-blind readers too, and stand on light and dark pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

StepState = Literal[
    "pending", "running", "waiting", "retrying", "succeeded", "cached", "degraded", "dropped", "failed", "skipped",
    "cancelled",
]  # fmt: skip


class Look(NamedTuple):
    """How a state is shown: a character for text, a path in a box of 12 by 12 for SVG, a colour for both."""

    glyph: str
    icon: str
    colour: str


LOOKS: Mapping[str, Look] = {
    "failed": Look("✗", "M2.5 2.5 L9.5 9.5 M9.5 2.5 L2.5 9.5", "#c44601"),
    "retrying": Look("↻", "M9.8 4.2 A4.2 4.2 0 1 0 10.2 7 M10 1.6 V4.4 H7.2", "#b5179e"),
    "running": Look("▶", "M3.5 2 L10 6 L3.5 10 Z", "#0072b2"),
    "waiting": Look("‖", "M4 2.2 V9.8 M8 2.2 V9.8", "#8a6d00"),
    "degraded": Look("△", "M6 1.8 L10.8 10 H1.2 Z M6 4.8 V7.2", "#c77700"),
    "dropped": Look("↓", "M6 1.8 V9.6 M2.6 6.4 L6 9.8 L9.4 6.4", "#a15c00"),
    "succeeded": Look("✓", "M2 6.4 L4.8 9.2 L10 3", "#00806a"),
    "cached": Look("≡", "M2 3.4 H10 M2 6 H10 M2 8.6 H10", "#4a7fb5"),
    "skipped": Look("\u2013", "M2.5 6 H9.5", "#7d8899"),
    "cancelled": Look("⊘", "M6 1.8 A4.2 4.2 0 1 0 6 10.2 A4.2 4.2 0 1 0 6 1.8 M3.2 8.8 L8.8 3.2", "#6b5b73"),
    "pending": Look("·", "M6 3.4 A2.6 2.6 0 1 0 6 8.6 A2.6 2.6 0 1 0 6 3.4", "#9aa4b2"),
}
"""All states, the one that most needs attention first."""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """State of one node.

    Attributes:
        counts: Number of steps by state; states without steps may be left out.
        elapsed_s: Wall time of the node so far, None if it has not started.
        note: A few words more, such as the reason of a failure or of a cache miss.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    elapsed_s: float | None = None
    note: str = ""

    @property
    def total(self) -> int:
        """Number of steps."""
        return sum(self.counts.values())

    @property
    def state(self) -> str:
        """The state that most needs attention among the node's steps; with some of them dropped it is degraded."""
        found = next((state for state in LOOKS if self.counts.get(state)), "pending")
        return "degraded" if found == "dropped" and self.total > self.counts["dropped"] else found

    def ordered(self) -> list[tuple[str, int]]:
        """States that occur, with their counts, the one that most needs attention first."""
        return [(state, self.counts[state]) for state in LOOKS if self.counts.get(state)]


def size_text(count: float) -> str:
    """``12 B``, ``3.4 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def duration_text(elapsed_s: float) -> str:
    """A duration for people: ``340 ms``, ``3.2 s``, ``4 m 05 s``, ``2 h 10 m``."""
    if elapsed_s < 0.9995:
        return f"{elapsed_s * 1000:.0f} ms"
    if elapsed_s < 59.95:
        return f"{elapsed_s:.1f} s"
    whole = round(elapsed_s)
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} m"


def money_text(amount: float) -> str:
    """An amount of money without its currency: ``12.40``, ``0.0031``, ``< 0.0001``."""
    if amount >= 1:
        return f"{amount:,.2f}"
    return f"{amount:.4f}" if amount >= 0.0001 else "< 0.0001" if amount else "0"


def count_text(count: int) -> str:
    """A number of steps with thin spaces between the thousands: ``12 000``."""
    return f"{count:,}".replace(",", "\u2009")
