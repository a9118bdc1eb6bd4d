"""Progress of a run: a live tree on a terminal, a line per event elsewhere (standard error), or JSON lines (output)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from orchestrator.cli.documents import Fact, StepItem
from orchestrator.cli.following import Follower
from orchestrator.cli.output import counted, duration, iso, note, write_json_line
from orchestrator.graph import fact as f

if TYPE_CHECKING:
    from rich.tree import Tree

_WORDS = {"stage": "step", "dynamic": "step"}
_STYLES = {
    "done": "green",
    "reused": "cyan",
    "running": "bold blue",
    "retrying": "yellow",
    "waiting": "magenta",
    "failed": "bold red",
    "degraded": "yellow",
    "skipped": "dim",
    "pending": "dim",
}
CONTROL_KINDS = frozenset({"branch", "choice", "pack"})
"""Kinds of nodes that are wiring, not work, and are left out for people."""


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
            write_json_line(event_of(self._follower.run, recorded))

    def close(self) -> None:
        """Nothing is left to write."""


class Lines:
    """A line when something happens that a person would want to know."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._told: set[str] = set()

    def show(self, fresh: Sequence[f.Recorded]) -> None:
        """Write what the facts mean."""
        for recorded in fresh:
            for line in told(recorded, self._follower):
                note(line)
            node = getattr(recorded.fact, "node", None)
            if isinstance(node, str) and node not in self._told and self._follower.fold.nodes[node].is_settled:
                self._told.add(node)
                item = self._follower.step(node)
                if item.kind not in CONTROL_KINDS:
                    note(f"{item.state:<8} {summary(item)}")

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
        height = max(self._live.console.size.height - 4, 5)
        self._live.update(tree(self._follower, height), refresh=True)

    def close(self) -> None:
        """Leave the last state of the tree behind."""
        self._live.stop()
        self._live.console.print(tree(self._follower, height=40))


def tree(follower: Follower, height: int) -> Tree:
    """All steps under their scopes; when there are more than ``height``, what is settled is only counted."""
    from rich.text import Text
    from rich.tree import Tree

    items = [item for item in follower.steps() if item.kind not in CONTROL_KINDS]
    settled = [item for item in items if item.state in ("done", "reused", "skipped", "pending")]
    root = Tree(Text(follower.run, style="bold"))
    if len(items) > height:
        items = [item for item in items if item not in settled][: height - 1]
        root.add(Text(f"{counted(len(settled), 'node')} done or pending", style="dim"))
    branches: dict[str, Tree] = {"": root}
    for item in items:
        scope, _, name = item.address.rpartition("/")
        branch = _branch(branches, scope)
        branch.add(Text.assemble((f"{item.state:<8} ", _STYLES[item.state]), summary(item, name)))
    return root


def _branch(branches: dict[str, Tree], scope: str) -> Tree:
    if scope not in branches:
        outer, _, name = scope.rpartition("/")
        branches[scope] = _branch(branches, outer).add(name, style="default")
    return branches[scope]


def summary(item: StepItem, name: str = "") -> str:
    """A node in a few words: its name, how far it is, how long it took, and why it failed."""
    parts = [name or item.address]
    if item.steps is None:
        parts.append(f"{item.done:,} so far")
    elif item.steps != 1:
        parts.append(f"{item.done:,}/{item.steps:,}")
    if item.reused and item.reused != item.done:
        parts.append(f"{item.reused:,} reused")
    if item.failed and item.steps != 1:
        parts.append(f"{item.failed:,} failed")
    if item.elapsed_s is not None and item.state in ("done", "failed", "degraded"):
        parts.append(duration(item.elapsed_s))
    if item.failures and item.state in ("failed", "degraded", "retrying"):
        parts.append(f"{item.failures[0].error}: {_first_line(item.failures[0].message)}")
    return "  ".join(parts)


def told(recorded: f.Recorded, follower: Follower) -> list[str]:
    """What a fact means, for those that a person would want to know of."""
    fact = recorded.fact
    if isinstance(fact, f.DriverStarted):
        return [f"driver   {fact.driver} with {fact.backend} workers"] if fact.epoch > 1 else []
    if isinstance(fact, f.AttemptFailed):
        again = max(fact.retry_at - recorded.at, 0.0)
        why = f"{fact.failure.name}: {_first_line(fact.failure.message)}"
        return [f"retry    {_address(follower, fact.node, fact.index)}  {why}  (again in {duration(again)})"]
    if isinstance(fact, f.StepFailed) and fact.action != "fail":
        why = f"{fact.failure.name}: {_first_line(fact.failure.message)}"
        return [f"{fact.action:<8} {_address(follower, fact.node, fact.index)}  {why}"]
    if isinstance(fact, f.WorkerLost):
        return [f"lost     worker {fact.worker}: {fact.reason}; its steps run again"]
    if isinstance(fact, f.ApprovalRequested):
        kind = follower.fold.nodes[fact.node].node.kind
        answer = "approve" if kind == "approval" else "signal"
        return [f"waiting  {fact.node}: {fact.text}  (orc {answer} {follower.run} {fact.node})"]
    if isinstance(fact, f.CancelRequested):
        return [f"cancel   asked for{f' by {fact.by}' if fact.by else ''}{f': {fact.reason}' if fact.reason else ''}"]
    return []


def event_of(run: str, recorded: f.Recorded) -> Fact:
    """A fact as a line of JSON."""
    fact = recorded.fact
    name = "".join(f"_{char.lower()}" if char.isupper() else char for char in type(fact).__name__).lstrip("_")
    index = getattr(fact, "index", None)
    failure = getattr(fact, "failure", None)
    message = (
        f"{failure.name}: {failure.message}" if failure else getattr(fact, "reason", "") or getattr(fact, "text", "")
    )
    return Fact(
        event=name,
        run=run,
        at=iso(recorded.at) or "",
        seq=recorded.seq,
        node=getattr(fact, "node", "") if isinstance(getattr(fact, "node", ""), str) else "",
        start=getattr(fact, "start", index),
        stop=getattr(fact, "stop", None if index is None else index + 1),
        state=getattr(fact, "state", ""),
        message=message,
    )


def _address(follower: Follower, node: str, index: int) -> str:
    return f"{node}[{index}]" if follower.fold.nodes[node].node.is_map else node


def _first_line(message: str) -> str:
    line = message.strip().partition("\n")[0]
    return line if len(line) <= 160 else line[:159] + "…"
