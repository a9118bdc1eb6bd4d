"""Trees of text for terminals: of a graph before it runs, of a run while and after it does.

``tree_lines`` draws any tree of ``Branch``; ``graph_tree`` makes one of a graph, scopes as inner nodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from orchestrator.graph.node import Graph
from orchestrator.views.cards import Card, picture, scopes_of, status_text
from orchestrator.views.status import LOOKS, NodeStatus


@dataclass(frozen=True, slots=True)
class Branch:
    """One line of a tree and what hangs below it.

    Attributes:
        state: A state of ``status.LOOKS``; its glyph stands before the label. Empty for none.
        detail: Stands after the label, in a column of its own.
    """

    label: str
    detail: str = ""
    state: str = ""
    children: Sequence[Branch] = ()


class TreeLine(NamedTuple):
    """A line in its parts, for whoever colours them; ``text`` is the whole of it."""

    guide: str
    glyph: str
    label: str
    gap: str
    detail: str
    state: str

    @property
    def text(self) -> str:
        """The line as plain text."""
        return f"{self.guide}{self.glyph}{self.label}{self.gap}{self.detail}".rstrip()


def tree_lines(branches: Sequence[Branch]) -> list[TreeLine]:
    """Lines of the trees, details aligned in one column."""
    flat: list[tuple[str, Branch]] = []
    for branch in branches:
        flat.append(("", branch))
        _flatten(branch, "", flat)
    lines = [(guide, f"{LOOKS[b.state].glyph} " if b.state else "", b) for guide, b in flat]
    widths = [len(guide) + len(glyph) + len(branch.label) for guide, glyph, branch in lines]
    column = max(widths, default=0) + 2
    return [
        TreeLine(guide, glyph, branch.label, " " * (column - width), branch.detail, branch.state)
        for (guide, glyph, branch), width in zip(lines, widths, strict=True)
    ]


def _flatten(branch: Branch, guide: str, flat: list[tuple[str, Branch]]) -> None:
    for position, child in enumerate(branch.children):
        last = position == len(branch.children) - 1
        flat.append((f"{guide}{'└─ ' if last else '├─ '}", child))
        _flatten(child, f"{guide}{'   ' if last else '│  '}", flat)


def graph_tree(graph: Graph, status: Mapping[str, NodeStatus] | None = None) -> Branch:
    """The nodes of a graph in order under their scopes; with ``status`` (by node id), their states."""
    shown = picture(graph, status)
    return Branch(shown.title, children=_children("", shown.cards))


def _children(scope: str, cards: Sequence[Card]) -> list[Branch]:
    """Branches directly in a scope, in the order in which they first appear."""
    found: list[Branch] = []
    seen: set[str] = set()
    for card in cards:
        if card.scope == scope:
            found.append(_leaf(card))
            continue
        inner = next((path for path in scopes_of(card) if path.rpartition("/")[0] == scope and path != scope), None)
        if inner is not None and inner not in seen:
            seen.add(inner)
            members = [other for other in cards if inner in scopes_of(other)]
            name = inner.rpartition("/")[2]
            found.append(Branch(name, state=_scope_state(members), children=_children(inner, members)))
    return found


def _leaf(card: Card) -> Branch:
    notes = " · ".join(card.notes)
    label = f"{card.title} {card.width}".strip()
    if card.status is None:
        return Branch(label, notes)
    single = card.status.total <= 1
    detail = " · ".join(part for part in (status_text(card.status, single), card.status.note) if part)
    return Branch(label, detail, card.status.state)


def _scope_state(cards: Sequence[Card]) -> str:
    """The state in a scope that most needs attention; none without a run."""
    states = {card.status.state for card in cards if card.status is not None}
    if "pending" in states and not states <= {"pending", "skipped"} and not states & {"failed", "retrying", "waiting"}:
        return "running"
    return next((state for state in LOOKS if state in states), "")
