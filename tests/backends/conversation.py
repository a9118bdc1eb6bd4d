"""Talks to an executor as a driver does, with hand-made bundles, and keeps what it says."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.artifacts import StoredValues
from orchestrator.graph.json import node_from_json, nodes_to_bytes, seal
from orchestrator.graph.node import Graph, Node
from orchestrator.graph.stage import Stage
from orchestrator.graph.trace import Traced
from orchestrator.ports.executor import Accepted, Bundle, Executor, FromBundle, Lost, Refused, RunCode
from orchestrator.ports.frames import Call, Failed, Input, Logged, Outcomes, Released, Reported, Returned, Segment, Span
from orchestrator.ports.values import decode_cell, decode_chunk, describe, digest_bytes, encode_chunk

RUN = "run-1"


@dataclass
class Conversation:
    """One run on one executor.

    Attributes:
        chunks: Inline chunks by digest.
        places: Where the output of each step is.
        asked: Digests that the executor asked the driver for.
    """

    executor: Executor
    values: StoredValues
    traced: Traced
    capsule: str
    chunks: dict[str, bytes] = field(default_factory=dict)
    places: dict[tuple[str, int], Span] = field(default_factory=dict)
    batches: dict[tuple[str, int], Span] = field(default_factory=dict)
    failed: dict[tuple[str, int], Failed] = field(default_factory=dict)
    lengths: dict[str, int | None] = field(default_factory=dict)
    truths: dict[str, bool | None] = field(default_factory=dict)
    lost: list[Lost] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    released: list[tuple[str, int, int]] = field(default_factory=list)
    accepted: list[Accepted] = field(default_factory=list)
    metrics: list[Reported] = field(default_factory=list)
    logs: list[tuple[str, Logged]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    open: set[str] = field(default_factory=set)
    hosts: dict[str, str] = field(default_factory=dict)
    _children: dict[str, tuple[str, Call, bool]] = field(default_factory=dict)
    _nodes: dict[str, Node] = field(default_factory=dict)
    _count: int = 0

    def __post_init__(self) -> None:
        graph: Graph = seal(self.traced.graph, self.values.encode)
        self._nodes = {node.id: node for node in graph.nodes}
        self.executor.open(RunCode(RUN, self.capsule, self._define, self._chunk))

    def _define(self, nodes: Sequence[str]) -> bytes:
        return nodes_to_bytes(self._nodes[node] for node in nodes)

    def _chunk(self, digest: str) -> bytes | None:
        self.asked.append(digest)
        return self.chunks.get(digest)

    # ---- talking

    def submit(self, *segments: Segment, **options: Any) -> str:
        """One bundle; options as of ``Bundle``."""
        self._count += 1
        bundle = Bundle(f"bundle-{self._count}", RUN, 1, 7, segments, **options)
        self.open.add(bundle.id)
        self.executor.submit(bundle)
        return bundle.id

    def give(self, value: object, node: str, index: int = 0) -> Input:
        """Make a value the output of a step, as if it had run; as an input."""
        data = encode_chunk([self.values.encode(value)])
        digest = digest_bytes(data)
        self.chunks[digest] = data
        self.places[node, index] = Span(index, index + 1, digest, 0)
        return self.output(node)

    def output(self, node: str, many: bool = False) -> Input:
        """The outputs of a node so far, as an input."""
        spans = [span for (name, _), span in sorted(self.places.items()) if name == node]
        return Input(node, many, spans)

    # ---- listening

    def until(self, done: Callable[[], bool], limit_s: float = 200.0) -> None:
        """Take events until something is so; the test fails if that takes too long."""
        deadline = time.monotonic() + limit_s
        while not done():
            assert time.monotonic() < deadline, f"nothing more came within {limit_s} s; open: {self.open}"
            for event in self.executor.poll(0.1):
                self._take(event)

    def finish(self, limit_s: float = 200.0) -> None:
        """Take events until no bundle is open."""
        self.until(lambda: not self.open, limit_s)

    def _take(self, event: Any) -> None:
        if isinstance(event, FromBundle):
            if isinstance(event.frame, Outcomes):
                self._outcomes(event.worker, event.frame)
            elif isinstance(event.frame, Released):
                self.released += event.frame.steps
            else:
                self._called(event.frame)
        elif isinstance(event, Lost):
            self.lost.append(event)
            self.open -= set(event.bundles)
        elif isinstance(event, Refused):
            self.refused.append(event)
            self.open.discard(event.bundle)
        else:
            self.accepted.append(event)

    def _outcomes(self, worker: str, frame: Outcomes) -> None:
        if frame.data is not None:
            assert digest_bytes(frame.data) == frame.chunk
            self.chunks[frame.chunk] = frame.data
        for done in frame.completed:
            self.truths[done.node], self.lengths[done.node] = done.truth, done.length
            for index in range(done.start, done.stop):
                assert (done.node, index) not in self.places, f"a second outcome for {done.node}[{index}]"
                self.places[done.node, index] = Span(index, index + 1, frame.chunk, done.at + index - done.start)
        for singles in frame.singles:
            for place, node in enumerate(singles.nodes):
                self.truths[node], self.lengths[node] = singles.truths.get(place), singles.lengths.get(place)
                assert (node, 0) not in self.places, f"a second outcome for {node}"
                self.places[node, 0] = Span(0, 1, frame.chunk, singles.at + place)
        for made in frame.made:
            self.calls.append(made.call)
            if made.failed is not None:
                failure = made.failed.classes, made.failed.message
                self.executor.answer(
                    frame.bundle, Returned(made.call.node, made.call.index, made.call.ordinal, None, {}, *failure)
                )
        for batch in frame.batches:
            self.batches[batch.node, batch.start] = Span(batch.start, batch.stop, frame.chunk, batch.at)
        for failed in frame.failed:
            self.failed[failed.node, failed.index] = failed
        self.metrics += frame.metrics
        self.logs += [(worker, log) for log in frame.logs]
        if frame.finished:
            self.open.discard(frame.bundle)
        for child in [node for node in self._children if (node, 0) in self.places or (node, 0) in self.failed]:
            self._answer_if_done(child)

    # ---- values

    def cell(self, span: Span) -> Any:
        """A cell, from an inline chunk or the store."""
        data = self.chunks.get(span.chunk)
        return decode_chunk(self.values.store.get(span.chunk) if data is None else data)[span.at]

    def value(self, node: str, index: int = 0) -> Any:
        """The output of a step."""
        return self.values.load(self.cell(self.places[node, index])).value

    def items(self, node: str) -> dict[int, Any]:
        """Outputs of a map by item."""
        return {index: self.value(name, index) for name, index in sorted(self.places) if name == node}

    def log(self, directory: Path, node: str, index: int = 0) -> str:
        """What a step printed."""
        parts = []
        for worker, logged in self.logs:
            data = (directory / f"{worker}.log").read_bytes()
            for place, item in enumerate(range(logged.start, logged.stop)):
                if (logged.node, item) == (node, index):
                    low, high = logged.offsets[2 * place : 2 * place + 2]
                    parts.append(data[low:high].decode())
        return "".join(parts)

    # ---- ``@dynamic`` bodies: calls become nodes and bundles of their own

    def _called(self, call: Call) -> None:
        self.calls.append(call)
        node = node_from_json(json.loads(call.body))
        name = f"{call.node}.{call.ordinal}"
        child = Node(name, node.kind, node.stage, node.args, node.mapped)
        self._nodes[name] = child
        width = self._width(child)
        segment = Segment(name, 0, width, [])
        parent = next(bundle for bundle, hosted in self.hosts.items() if hosted == call.node)
        self._children[name] = (parent, call, child.is_map)
        if child.kind == "dynamic":
            self.host(segment)
        else:
            self.submit(segment)

    def _width(self, node: Node) -> int:
        if not node.is_map:
            return 1
        const: Any = node.args[node.mapped[0]]
        return describe(decode_cell(const.cell)).length or 0

    def host(self, segment: Segment) -> str:
        """Submit a ``@dynamic`` body."""
        bundle = self.submit(segment, host=True)
        self.hosts[bundle] = segment.node
        return bundle

    def _answer_if_done(self, child: str) -> None:
        bundle, call, is_map = self._children[child]
        failed = self.failed.get((child, 0))
        if failed is None and is_map and not self._map_done(child):
            return
        del self._children[child]
        classes, message = (failed.classes, failed.message) if failed else ([], "")
        output = None if failed else self.output(child, many=is_map)
        chunks = {span.chunk: self.chunks[span.chunk] for span in output.spans} if output else {}
        self.executor.answer(bundle, Returned(call.node, call.index, call.ordinal, output, chunks, classes, message))

    def _map_done(self, child: str) -> bool:
        width = self._width(self._nodes[child])
        return sum(1 for name, _ in self.places if name == child) == width


def whole(traced: Traced, width: int = 1, place: int = 0, inputs: Sequence[Input] = (), **options: Any) -> Segment:
    """All steps of a node of the graph."""
    return Segment(traced.graph.nodes[place].id, 0, width, list(inputs), **options)


def traced(body: Callable[[], Any]) -> Traced:
    """Graph of a pipeline's body."""
    from orchestrator import pipeline

    return pipeline(body).trace()


def stages_of(found: Traced, *more: Stage[..., Any]) -> dict[str, Stage[..., Any]]:
    """Stages by reference, with those that only ``@dynamic`` bodies call."""
    return {**found.stages, **{one.spec.ref: one for one in more}}
