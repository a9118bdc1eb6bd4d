"""Progress of a run: a live tree on a terminal, a line per event elsewhere (standard error), or JSON lines (output)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from orchestrator.cli.documents import Fact, StepItem
from orchestrator.cli.following import CONTROL_KINDS, Follower
from orchestrator.cli.output import iso, note, write_json_line
from orchestrator.graph import fact as f
from orchestrator.views.status import LOOKS, duration_text
from orchestrator.views.tree import TreeLine

if TYPE_CHECKING:
    from rich.text import Text

_QUIET_STATES = frozenset({"succeeded", "cached", "skipped", "pending", ""})
"""States that a tree too high for its terminal leaves out first."""


class Progress(Protocol):
    """Shows what a follower has read."""

    def show(self, fresh: Sequence[f.Recorded]) -> None:
        """Take in facts that were just read; called often, also with none."""
        ...

    def close(self) -> None:
        """Stop showing."""
        ...


def open_progress(follower: Follower, as_json: bool, quiet: bool) -> Progress:
    """The progress that suits where the output goes."""
    if as_json:
        return JsonLines(follower)
    if quiet:
        return Silence()
    return LiveTree(follower) if sys.stderr.isatty() else Lines(follower)


class Silence:
    """Shows nothing."""

    def show(self, fresh: Sequence[f.Recorded]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class JsonLines:
    """Every fact as a line on standard output."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower

    def show(self, fresh: Sequence[f.Recorded]) -> None:
        """Write the facts."""
        for recorded in fresh:
            for fact in f.apart(recorded.fact):
                write_json_line(fact_line(self._follower.run, f.Recorded(recorded.seq, recorded.at, fact)))

    def close(self) -> None:
        """Nothing is left to write."""


class Lines:
    """A line when something happens that a person would want to know."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._told: set[str] = set()

    def show(self, fresh: Sequence[f.Recorded]) -> None:
        """Write what the facts mean."""
        nodes = self._follower.fold.nodes
        for recorded in fresh:
            for line in told(recorded, self._follower):
                note(line)
            for fact in f.apart(recorded.fact):
                node = getattr(fact, "node", None)
                if isinstance(node, str) and node not in self._told and nodes[node].is_settled:
                    self._told.add(node)
                    if nodes[node].node.kind not in CONTROL_KINDS:
                        note(summary(self._follower.step(node)))

    def close(self) -> None:
        """Nothing is left to write."""


class LiveTree:
    """The tree of steps, redrawn in place."""

    def __init__(self, follower: Follower) -> None:
        from rich.console import Console
        from rich.live import Live

        self._follower = follower
        self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
        self._live.start()

    def show(self, fresh: Sequence[f.Recorded]) -> None:
        """Redraw the tree; events that leave no trace in it stay as lines above it."""
        for recorded in fresh:
            for line in told(recorded, self._follower):
                self._live.console.print(line, highlight=False, markup=False)
        size = self._live.console.size
        self._live.update(coloured(shortened(self._follower.lines(), max(size.height - 3, 5))), refresh=True)

    def close(self) -> None:
        """Leave the last state of the tree behind."""
        self._live.stop()
        self._live.console.print(coloured(self._follower.lines()))


def shortened(lines: Sequence[TreeLine], height: int) -> list[TreeLine]:
    """The lines that most need to be seen, in order, if there are more than fit."""
    if len(lines) <= height:
        return list(lines)
    lively = [line for line in lines if line.state not in _QUIET_STATES]
    left_out = len(lines) - min(len(lively), height - 2) - 1
    return [lines[0], *lively[: height - 2], TreeLine("", "", f"… and {left_out} more", "", "", "")]


def coloured(lines: Sequence[TreeLine]) -> Text:
    """Lines of a tree for a terminal; what is too long is cut at its edge."""
    from rich.text import Text

    text = Text(no_wrap=True, overflow="ellipsis")
    for position, line in enumerate(lines):
        colour = LOOKS[line.state].colour if line.state else "default"
        text.append("\n" if position else "")
        text.append(line.guide, "dim")
        text.append(line.glyph, colour)
        text.append(line.label, "default" if line.guide else "bold")
        text.append(f"{line.gap}{line.detail}", colour)
    return text


def summary(item: StepItem) -> str:
    """A node in one line: its state, how many steps, how long it took, and why it failed."""
    parts = [f"{item.state:<9} {item.address}"]
    if item.steps != 1 or len(item.counts) > 1:
        parts.append(", ".join(f"{count:,} {state}" for state, count in item.counts.items()))
    if item.elapsed_s is not None:
        parts.append(duration_text(item.elapsed_s))
    if item.failures and item.state in ("failed", "degraded"):
        parts.append(f"{item.failures[0].error}: {_first_line(item.failures[0].message)}")
    return "  ".join(part for part in parts if part)


def told(recorded: f.Recorded, follower: Follower) -> list[str]:
    """What a fact means, for those that a person would want to know of."""
    fact = recorded.fact
    if isinstance(fact, f.DriverStarted):
        return [f"driver    {fact.driver} goes on with the run"] if fact.epoch > 1 else []
    if isinstance(fact, f.CodeChanged):
        again = f"; finished before, made anew: {', '.join(fact.dropped)}" if fact.dropped else ""
        return [f"code      the run goes on with other code{again}"]
    if isinstance(fact, f.AttemptFailed):
        again = duration_text(max(fact.retry_at - recorded.at, 0.0))
        return [f"retrying  {_address(follower, fact.node, fact.index)}  {_why(fact.failure)}  (again in {again})"]
    if isinstance(fact, f.StepFailed) and fact.action != "fail":
        return [f"{fact.action:<9} {_address(follower, fact.node, fact.index)}  {_why(fact.failure)}"]
    if isinstance(fact, f.WorkerLost):
        return [f"lost      worker {fact.worker}: {_first_line(fact.reason)}; its steps run again"]
    if isinstance(fact, f.ApprovalRequested):
        command = "approve" if follower.fold.nodes[fact.node].node.kind == "approval" else "signal"
        return [f"waiting   {fact.node}: {fact.text}  (orc {command} {follower.run} {fact.node})"]
    if isinstance(fact, f.SupervisionEnded):
        return [f"given up  {_first_line(fact.reason)}  (orc resume {follower.run})"]
    if isinstance(fact, f.CancelRequested):
        return [f"cancelled{f' by {fact.by}' if fact.by else ''}{f': {fact.reason}' if fact.reason else ''}"]
    return []


def fact_line(run: str, recorded: f.Recorded) -> Fact:
    """A fact as a line of JSON."""
    fact = recorded.fact
    name = "".join(f"_{char.lower()}" if char.isupper() else char for char in type(fact).__name__).lstrip("_")
    index = getattr(fact, "index", None)
    node = getattr(fact, "node", "")
    failure = getattr(fact, "failure", None)
    message = _why(failure) if failure else getattr(fact, "reason", "") or getattr(fact, "text", "")
    return Fact(
        event=name,
        run=run,
        at=iso(recorded.at) or "",
        seq=recorded.seq,
        node=node if isinstance(node, str) else "",
        start=getattr(fact, "start", index),
        stop=getattr(fact, "stop", None if index is None else index + 1),
        state=getattr(fact, "state", ""),
        message=message,
    )


def _address(follower: Follower, node: str, index: int) -> str:
    return f"{node}[{index}]" if follower.fold.nodes[node].node.is_map else node


def _why(failure: f.Failure) -> str:
    return f"{failure.name}: {_first_line(failure.message)}"


def _first_line(message: str) -> str:
    line = message.strip().partition("\n")[0]
    return line if len(line) <= 160 else line[:159] + "…"
