"""The progress of a run while somebody waits for it: a bar, and its nodes with their counts; the same as one line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.graph.fact import FINISHED
from orchestrator.views.markup import Cell, Markup, Number, counted, framed, head, mark, paragraph, table
from orchestrator.views.status import LOOKS, NodeStatus, count_text, duration_text
from orchestrator.views.timeline import bar_svg

_ROWS = 16
_QUIET = frozenset({"succeeded", "cached", "skipped", "pending"})
_WRONG = frozenset({"failed", "degraded", "dropped"})
_OVER = frozenset({"succeeded", "cached", "degraded", "dropped", "failed", "skipped", "cancelled"})


@dataclass(frozen=True, slots=True)
class ProgressView:
    """A run under way.

    Attributes:
        nodes: Address and state of each node that does work, in the order of the graph.
        waits: What it asks people for.
    """

    run: str
    state: str
    elapsed_s: float
    nodes: Sequence[tuple[str, NodeStatus]]
    waits: Sequence[str] = ()

    @property
    def counts(self) -> Counter[str]:
        """Number of steps by state."""
        total: Counter[str] = Counter()
        for _, status in self.nodes:
            total.update(status.counts)
        return total


def progress_html(view: ProgressView) -> str:
    """A fragment that replaces the one before it; of a run that is over, only what needs to be seen."""
    nodes = [one for one in view.nodes if view.state not in FINISHED or one[1].state in _WRONG]
    rows: list[list[Cell]] = [
        [Markup(mark(status.state)), address, Markup(bar_svg(status.ordered())), _counts(status), _took(status)]
        for address, status in _most_lively(nodes)
    ]
    left = len(nodes) - len(rows)
    return framed(
        head(f"{view.run} · {duration_text(view.elapsed_s)}", view.state),
        counted(view.counts),
        "".join(paragraph(f"waits for an answer: {text}") for text in view.waits),
        table(("state", "step", "", "steps", "took"), rows),
        paragraph(f"and {left} more" if left else "", soft=True),
    )


def progress_text(view: ProgressView) -> str:
    """One line: ``flights-1a2b running: 12/20 steps, 3 running, 1 failed · 4.2 s``."""
    counts = view.counts
    over, total = sum(counts[state] for state in _OVER), sum(counts.values())
    told = [f"{count_text(counts[state])} {state}" for state in LOOKS if counts[state] and state in _TOLD]
    waits = [f"waits for an answer: {text}" for text in view.waits]
    steps = ", ".join([f"{count_text(over)}/{count_text(total)} steps", *told, *waits])
    return f"{view.run} {view.state}: {steps} · {duration_text(view.elapsed_s)}"


_TOLD = frozenset({"failed", "retrying", "running", "degraded", "cached"})


def _most_lively(nodes: Sequence[tuple[str, NodeStatus]]) -> list[tuple[str, NodeStatus]]:
    """The nodes that most need to be seen, in order, if there are more than are shown."""
    if len(nodes) <= _ROWS:
        return list(nodes)
    lively = [place for place, (_, status) in enumerate(nodes) if status.state not in _QUIET][:_ROWS]
    begun = [place for place, (_, status) in enumerate(nodes) if status.state not in ("pending", "skipped")]
    kept = sorted({*lively, *begun[::-1][: _ROWS - len(lively)]}) or range(_ROWS)
    return [nodes[place] for place in kept]


def _counts(status: NodeStatus) -> Cell:
    if status.total <= 1:
        return Markup("")
    return ", ".join(f"{count_text(count)} {state}" for state, count in status.ordered())


def _took(status: NodeStatus) -> Cell:
    return Number("" if status.elapsed_s is None else duration_text(status.elapsed_s))
