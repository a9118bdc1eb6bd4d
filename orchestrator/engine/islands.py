"""Calls of ``@dynamic`` bodies: each becomes a node of the run, and is answered with its outcome.

A body that is replayed makes the same calls again; those that the journal holds are answered from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from orchestrator.engine.cells import Cells
from orchestrator.engine.inputs import output
from orchestrator.engine.machine import AnswerCall, Machine
from orchestrator.engine.state import NodeState
from orchestrator.graph import fact as f
from orchestrator.graph.json import node_from_json, node_to_json
from orchestrator.graph.verifying import verifying_node
from orchestrator.ports.executor import Executor
from orchestrator.ports.frames import Call, Made, Outcomes, Returned


class Islands:
    """The driver's side of the conversation with ``@dynamic`` hosts."""

    def __init__(self, machine: Machine, executor: Executor, cells: Cells) -> None:
        self._machine = machine
        self._executor = executor
        self._cells = cells
        self._awaited: set[tuple[str, int, int]] = set()

    def called(self, call: Call) -> Iterator[f.Fact]:
        """A body called a stage and waits: answer from the journal, or add the call to the run."""
        self._awaited.add((call.node, call.index, call.ordinal))
        fold = self._machine.fold
        recorded = fold.calls.get((call.node, call.index), [])
        body = msgspec.json.decode(call.body)
        if call.ordinal < len(recorded):
            self._replayed(call, *recorded[call.ordinal], str(body["id"]))
            return
        limit = fold.state(call.node).node.policy.max_steps
        if limit is not None and call.ordinal >= limit:
            message = f"{call.node} made more than max_steps={limit} calls; raise max_steps if that is right"
            self._refuse(call, ("orchestrator.errors:StepLimitExceeded", *_STEP_ERROR), message)
            return
        if fold.created is not None and fold.created.verifies:
            body = node_to_json(verifying_node(node_from_json(body)))
        yield f.NodeAdded(call.node, call.index, call.ordinal, call.key, body)

    def made(self, frame: Outcomes, worker: str, now: float, jitter: Callable[[], float]) -> Iterator[f.Fact]:
        """Calls that a body has run itself: each a node of the run, with its outcome."""
        machine, done = self._machine, []
        if frame.bundle not in machine.flights:
            return
        for one in frame.made:
            call = one.call
            if call.ordinal != len(machine.fold.calls.get((call.node, call.index), ())):
                return  # a body that was replaced meanwhile
            body = msgspec.json.decode(call.body)
            yield f.NodeAdded(call.node, call.index, call.ordinal, call.key, body)
            if one.failed is None:
                done.append((str(body["id"]), one))
                continue
            self._awaited.add((call.node, call.index, call.ordinal))
            yield from self._done(done, frame, worker)
            done = []
            yield f.StepsStarted(str(body["id"]), 0, 1, frame.bundle, worker)
            failure = f.Failure(tuple(one.failed.classes), one.failed.message, tuple(one.failed.frames))
            yield from machine.failed(str(body["id"]), 0, failure, frame.bundle, now, jitter)
        yield from self._done(done, frame, worker)

    def _done(self, done: Sequence[tuple[str, Made]], frame: Outcomes, worker: str) -> Iterator[f.Fact]:
        if done:
            nodes = tuple(node for node, _ in done)
            elapsed_us = b"".join(one.elapsed_us.to_bytes(4, "little") for _, one in done)
            yield f.BundleStarted(tuple((node, 0, 1) for node in nodes), frame.bundle, worker)
            yield f.NodesCompleted(nodes, frame.chunk, done[0][1].at, elapsed_us, worker=worker)

    def answer(self, answer: AnswerCall) -> None:
        """Tell a body that waits the outcome of a call that has just settled."""
        if (answer.parent, answer.index, answer.ordinal) not in self._awaited:
            return
        child = self._machine.fold.nodes[answer.child]
        bundle = self._bundle(answer.parent, answer.index)
        if bundle is not None:
            self._executor.answer(bundle, self._returned(answer.parent, answer.index, answer.ordinal, child))

    def _replayed(self, call: Call, child: str, key: str, name: str) -> None:
        if key != call.key:
            message = (
                f"call {call.ordinal} of {call.node}[{call.index}] is {name} ({call.key[:12]}) now, but the journal "
                f"holds {child} ({key[:12]}): a replayed body must make the same calls with the same inputs"
            )
            self._refuse(call, _MISMATCH, message)
            return
        state = self._machine.fold.nodes[child]
        bundle = self._bundle(call.node, call.index)
        if state.is_settled and bundle is not None:
            self._executor.answer(bundle, self._returned(call.node, call.index, call.ordinal, state))

    def _refuse(self, call: Call, classes: tuple[str, ...], message: str) -> None:
        bundle = self._bundle(call.node, call.index)
        if bundle is not None:
            returned = Returned(call.node, call.index, call.ordinal, None, classes=list(classes), message=message)
            self._executor.answer(bundle, returned)

    def _returned(self, parent: str, index: int, ordinal: int, child: NodeState) -> Returned:
        if not child.has_output:
            failure = next((child.failures[i] for i in sorted(child.failures)), _ABANDONED)
            message = f"{child.node.id}: {failure.message}"
            return Returned(parent, index, ordinal, None, classes=list(failure.classes), message=message)
        result = output(child)
        chunks = {span.chunk: self._cells.inline_chunk(span.chunk) for span in result.spans}
        inline = {digest: data for digest, data in chunks.items() if data is not None}
        return Returned(parent, index, ordinal, result, inline)

    def _bundle(self, node: str, index: int) -> str | None:
        for bundle, flight in self._machine.flights.items():
            if flight.host and flight.segments and flight.segments[0][:2] == (node, index):
                return bundle
        return None


_ERRORS = ("orchestrator.errors:OrchestratorError", "builtins:Exception", "builtins:BaseException")
_STEP_ERROR = ("orchestrator.errors:StepError", *_ERRORS)
_MISMATCH = ("orchestrator.errors:ReplayMismatch", "orchestrator.errors:RunError", *_ERRORS)
_ABANDONED = f.Failure(("orchestrator.errors:StepCancelled", *_STEP_ERROR), "the call was abandoned")
