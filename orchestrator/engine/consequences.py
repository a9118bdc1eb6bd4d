"""What follows from a run's state alone: skipped branches, chosen sides, widths of maps, abandoned calls, the end."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.engine.flights import runs
from orchestrator.engine.frontier import takes_items
from orchestrator.engine.state import DONE, FAILED, OPEN, RETRY, SETTLED, WAITING, NodeState
from orchestrator.graph import fact as f
from orchestrator.graph.node import Const, ListExpr, Ref
from orchestrator.ports.values import decode_cell, describe

if TYPE_CHECKING:
    from orchestrator.engine.machine import Machine

_NONE_CELL = b"\xc0"
_VALUE_ERROR = ("builtins:ValueError", "builtins:Exception", "builtins:BaseException")


@dataclass(frozen=True, slots=True)
class Measure:
    """Instruction: find the length of a value, then tell ``measured``."""

    node: str
    ref: Ref


class Consequences:
    """The part of the machine that looks at the state only."""

    def __init__(self, machine: Machine) -> None:
        self._machine: Machine = weakref.proxy(machine)  # that holds this: a cycle would outlive the run
        self._fold = machine.fold
        self._frontier = machine.frontier
        self._measuring: set[str] = set()

    def derive(self, now: float) -> Iterator[f.Fact]:
        """Facts that follow from the state; the caller applies each before taking the next."""
        changed = self._frontier.changed
        while changed:
            state = changed.popleft()
            if state.is_settled:
                yield from self._derive_settled(state)
            else:
                yield from self._derive_open(state, now)
            if state.closed:
                for follower in self._frontier.followers(state):
                    if not follower.state.is_settled:
                        yield from self._derive_open(follower.state, now)
        if self._fold.finished is None:
            yield from self._finish()

    def _derive_open(self, state: NodeState, now: float) -> Iterator[f.Fact]:
        node = state.node
        if self._guard_failed(state):
            yield f.StepsSkipped(node.id, 0, max(state.length, 0 if node.is_map else 1), "branch")
            return
        for index in list(self._frontier.dropped_items(state)):
            if state.status[index] not in SETTLED:
                yield f.StepsSkipped(node.id, index, index + 1, "dropped")
        front = self._frontier.fronts[node.id]
        if node.kind == "choice" and front.unmet == 0:
            yield from self._choose(state)
        elif node.kind in ("approval", "signal") and front.unmet == 0 and state.status[0] == OPEN:
            deadline = None if node.timeout_s is None else now + node.timeout_s
            yield f.ApprovalRequested(node.id, node.prompt, deadline)
        elif node.is_map and not state.closed and not state.status.count(FAILED):
            yield from self._expand(state)

    def _derive_settled(self, state: NodeState) -> Iterator[f.Fact]:
        for guarded in self._frontier.guarded_by(state):
            if not guarded.is_settled and self._guard_failed(guarded):
                yield f.StepsSkipped(guarded.node.id, 0, guarded.length, "branch")
        if not state.node.is_map and state.status[0] != DONE:
            yield from self._drop_dependents(state)
        if state.node.kind == "dynamic" and state.is_settled:
            yield from self._abandon_calls(state)

    def _drop_dependents(self, state: NodeState) -> Iterator[f.Fact]:
        if state.status[0] == FAILED or state.skipped:
            return
        for front in list(self._frontier.waiting_for(state)):
            if not front.state.is_settled:
                yield f.StepsSkipped(front.state.node.id, 0, front.state.length, "dropped")

    def _abandon_calls(self, parent: NodeState) -> Iterator[f.Fact]:
        """Calls a ``@dynamic`` body left behind when it ended are not needed any more."""
        for index in range(parent.length):
            for child, _ in self._fold.calls.get((parent.node.id, index), ()):
                state = self._fold.nodes[child]
                if not state.is_settled:
                    yield from self._skip_open(state, "cancelled")
                    for bundle, flight in self._machine.flights.items():
                        if not flight.cancelled and any(name == child for name, _, _ in flight.segments):
                            flight.cancelled = True
                            self._machine.cancels.append(bundle)

    def _skip_open(self, state: NodeState, reason: str) -> Iterator[f.Fact]:
        if not state.closed:
            yield f.MapExpanded(state.node.id, state.length)
        for status in (OPEN, RETRY, WAITING):
            for low, high in list(runs(state.status, status, 0, state.length)):
                yield f.StepsSkipped(state.node.id, low, high, reason)  # type: ignore[arg-type]

    def _guard_failed(self, state: NodeState) -> bool:
        for guard in state.node.guards:
            branch = self._fold.nodes[guard.branch]
            if branch.skipped or (branch.is_settled and branch.status[0] == DONE and branch.truth != guard.expected):
                return True
        return False

    def _choose(self, state: NodeState) -> Iterator[f.Fact]:
        (branch,) = [self._fold.nodes[e.node] for e in (state.node.args["branch"],) if isinstance(e, Ref)]
        side = state.node.args.get("then" if branch.truth else "otherwise")
        if not isinstance(side, Ref):
            yield self._machine.completed_here(state.node.id, 0, _NONE_CELL)
            return
        source = self._fold.nodes[side.node]
        if self._frontier.wait_for(state, source):
            span = source.outputs.find(0)
            assert span is not None
            yield f.StepsCompleted(
                state.node.id, 0, 1, span.chunk, span.at, truth=source.truth, length=source.output_length,
                degraded=bool(source.degraded),
            )  # fmt: skip

    def _expand(self, state: NodeState) -> Iterator[f.Fact]:
        """Find a map's width as soon as something says it; several sources must agree."""
        node, widths = state.node, {}
        by_item = takes_items(node, self._fold)
        for name in node.mapped:
            expr = node.args[name]
            if isinstance(expr, Const) and expr.cell is not None:
                widths[name] = describe(decode_cell(expr.cell)).length
            elif isinstance(expr, ListExpr):
                widths[name] = len(expr.items)
            elif isinstance(expr, Ref):
                source = self._fold.nodes[expr.node]
                if source.node.many and not expr.path:
                    if not source.items_closed:
                        return
                    widths[name] = source.items
                elif not source.has_output:
                    return
                elif not expr.path:
                    widths[name] = source.output_length
                elif by_item or node.id not in self._measuring:
                    self._measuring.add(node.id)
                    self._machine.measures.append(Measure(node.id, expr))
                    return
        yield from self.measured(node.id, *_agree(node.id, widths))

    def _finish(self) -> Iterator[f.Fact]:
        """End the run when nothing is left to do, or when nothing may start and nothing runs any more."""
        fold = self._fold
        if self._frontier.unsettled == 0 and not self._machine.ending:
            state: f.RunState = "degraded" if fold.is_degraded else "succeeded"
            moved, problem = self._moved_cursors() if state == "succeeded" else ([], "")
            if problem:
                yield f.RunFinished("failed", problem)
            else:
                yield from moved
                yield f.RunFinished(state, outcome="refused" if self._gate_refused() else "")
        elif self._machine.ending:
            self._wind_down()
            if not self._machine.flights:
                yield self._ended_early()

    def _moved_cursors(self) -> tuple[list[f.CursorMoved], str]:
        """Cursors that move with the success of the run, or why they cannot."""
        created = self._fold.created
        if created is None or created.verifies or created.repeats:
            return [], ""
        by: dict[str, str] = {}
        moved: list[f.CursorMoved] = []
        for state in self._fold.nodes.values():
            for index, proposed in sorted(state.cursors.items()):
                step = f"{state.node.id}[{index}]" if state.node.is_map else state.node.id
                for name, value in proposed.items():
                    if name in by:
                        return [], f"{by[name]} and {step} both moved the cursor {name!r}; give each a name of its own"
                    by[name] = step
                    known = created.cursors.get(name)
                    if known is None or known.value != value:
                        version = 0 if known is None else known.version
                        moved.append(f.CursorMoved(created.pipeline, name, value, version))
        return moved, ""

    def _wind_down(self) -> None:
        """Offer nothing more; take back what has not started; interrupt what runs if the run was cancelled."""
        for front in self._frontier.ready.values():
            front.withdraw_all()
        self._frontier.ready.clear()
        for bundle, flight in self._machine.flights.items():
            if not flight.cancelled and (flight.host or self._fold.cancel is not None):
                flight.cancelled = True
                self._machine.cancels.append(bundle)
            elif not flight.cancelled and not flight.releasing:
                flight.releasing = True
                self._machine.releases.append((bundle, flight.size))

    def _ended_early(self) -> f.RunFinished:
        if self._fold.cancel is not None:
            return f.RunFinished("cancelled", self._fold.cancel.reason or f"cancelled by {self._fold.cancel.by}")
        node, index = self._fold.failed[0]
        state = self._fold.nodes[node]
        failure = state.failures[index]
        address = f"{node}[{index}]" if state.node.is_map else node
        return f.RunFinished("failed", f"step {address} failed: {failure.name}: {failure.message}")

    def _gate_refused(self) -> bool:
        """A gate is a ``when`` on a field called ``passed``."""
        for state in self._fold.nodes.values():
            if state.node.kind == "branch" and state.status[0] == DONE and state.truth is False:
                value = state.node.args.get("value")
                if isinstance(value, Ref) and value.path and value.path[-1] == "passed":
                    return True
        return False

    def measured(self, node: str, width: int | None, problem: str = "") -> Iterator[f.Fact]:
        """Answer to ``Measure``: the width of a map, or why it cannot be known."""
        self._measuring.discard(node)
        state = self._fold.state(node)
        if state.closed:
            return
        if width is None:
            yield from self._machine.failed_for_good(state, 0, f.Failure(_VALUE_ERROR, problem))
        else:
            yield f.MapExpanded(node, width)


def _agree(node: str, widths: dict[str, int | None]) -> tuple[int | None, str]:
    for name, width in widths.items():
        if width is None:
            return None, f"{node} maps over {name}, which is not a list (it has no length)"
    if len(set(widths.values())) > 1:
        sizes = ", ".join(f"{name} has {width}" for name, width in widths.items())
        return None, f"{node} maps over lists of different lengths: {sizes}; wrap what is not zipped in fixed()"
    return next(iter(widths.values()), 0), ""
