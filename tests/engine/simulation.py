"""A seeded world around the machine: workers that run Python functions, die, fail and give steps back.

Everything that could happen between a driver and its workers happens here in one thread and in an order that the
seed decides. Values are JSON-like and travel as cells; nothing but machine, planner and fold is under test.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from orchestrator.engine.front import RUNNING
from orchestrator.engine.machine import Machine
from orchestrator.engine.pace import Pace
from orchestrator.engine.planner import Planner
from orchestrator.engine.recovery import started
from orchestrator.engine.snapshot import decode_snapshot, encode_snapshot
from orchestrator.engine.state import RunFold
from orchestrator.graph import fact as f
from orchestrator.graph.json import seal
from orchestrator.graph.node import Const, DictExpr, Expr, Graph, ListExpr, Node, Ref
from orchestrator.ports import frames
from orchestrator.ports.executor import Bundle
from orchestrator.ports.values import (
    Cell,
    Entry,
    decode_cell,
    decode_chunk,
    describe,
    digest_bytes,
    encode_cell,
    encode_chunk,
)


def encode(value: Any) -> bytes:
    """A JSON-like value as a cell."""
    if value is None or isinstance(value, bool | int | float | str):
        return encode_cell(value)
    data = msgspec.msgpack.encode(value)
    return encode_cell(
        Entry("msgpack", "builtins:list", len(data), digest_bytes(data), bool(value), len(value), "", data)
    )


def decode(cell: Cell) -> Any:
    """The value of a cell."""
    return msgspec.msgpack.decode(cell.data) if isinstance(cell, Entry) and cell.data is not None else cell


def encode_error(failure: f.Failure) -> tuple[str, bytes]:
    """An item error as a chunk: here simply its message."""
    data = encode_chunk([encode(f"error: {failure.message}")])
    return digest_bytes(data), data


class Boom(Exception):
    """A stage's own failure."""


@dataclass
class World:
    """One run of a graph with functions for its stages, under faults.

    Attributes:
        chaos: Probability of a fault at each step body: worker death, or a transient exception.
        starts: How often the body of each step began.
        done_at_restart: Steps whose outcome was recorded when a driver took over; none of them may start again.
    """

    graph: Graph
    functions: Mapping[str, Callable[..., Any]]
    seed: int = 0
    chaos: float = 0.0
    restarts: float = 0.0
    slots: int = 2
    facts: list[f.Fact] = field(default_factory=list)
    starts: dict[tuple[str, int], int] = field(default_factory=dict)
    chunks: dict[str, bytes] = field(default_factory=dict)
    bundles: dict[str, Bundle] = field(default_factory=dict)
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.graph = seal(self.graph, encode)
        self.names = 0
        self._take_over(1)

    # ---- driving

    def _take_over(self, epoch: int) -> None:
        fold = RunFold("r", self.graph)
        for fact in self.facts:
            fold.apply(fact, self.now)
        fold.seq = len(self.facts)
        again = decode_snapshot(encode_snapshot(fold), self.graph)
        assert encode_snapshot(again) == encode_snapshot(fold)
        self.bundles.clear()
        self.machine = Machine(again, encode_error)
        self.planner = Planner(self.machine, Pace(), lambda: self.slots, 0, self._name)
        self.take([started(epoch, "sim", "sim", self.slots)])

    def _name(self) -> str:
        self.names += 1
        return f"b{self.names}"

    def take(self, facts: Any) -> None:
        """Apply and record facts."""
        for fact in facts:
            self.machine.apply(fact, self.now)
            self.facts.append(fact)
        self.chunks.update(self.machine.chunks)

    def run(self) -> f.RunFinished:
        """To the end; fails if nothing happens any more."""
        epoch = 1
        for _ in range(20_000):
            self.take(self.machine.derive(self.now))
            self._measure()
            if self.machine.fold.finished is not None:
                return self.machine.fold.finished
            if self.random.random() < self.restarts:
                epoch += 1
                self._take_over(epoch)
                continue
            self.machine.cancels.clear()
            self.machine.answers.clear()
            for bundle, count in self.machine.releases:
                self._give_back(bundle, count)
            self.machine.releases.clear()
            if not self.machine.ending:
                for bundle in self.planner.plan(2 * self.slots - len(self.bundles), barriers=True):
                    self.bundles[bundle.id] = bundle
                    self._check_flights()
                    self.machine.flights[bundle.id].worker = f"w-{bundle.id}"
            if self.bundles:
                self._work(self.random.choice(sorted(self.bundles)))
            else:
                self.now += 30.0
            self.take(self.machine.observe_due(self.now))
        raise AssertionError("the run does not end")

    def _check_flights(self) -> None:
        """No step is in two bundles."""
        out = [(n, i) for fl in self.machine.flights.values() for n, a, b in fl.segments for i in range(a, b)
               if self.machine.frontier.fronts[n].live[i] == RUNNING]  # fmt: skip
        assert len(out) == len(set(out)), "a step is on its way twice"

    def _measure(self) -> None:
        for measure in self.machine.measures[:]:
            span = self.machine.fold.nodes[measure.ref.node].outputs.find(0)
            assert span is not None
            value = decode(decode_chunk(self.chunks[span.chunk])[span.at])
            for element in measure.ref.path:
                value = value[element[1] if isinstance(element, tuple) else element]
            self.take(self.machine.measured(measure.node, len(value)))
        self.machine.measures.clear()
        self.take(self.machine.derive(self.now))

    # ---- workers

    def _give_back(self, bundle_id: str, count: int) -> None:
        bundle = self.bundles.get(bundle_id)
        if bundle is not None:
            back = [(s.node, s.start, s.stop) for s in bundle.segments][-1:] if self.random.random() < 0.7 else []
            if back:
                bundle = Bundle(
                    bundle.id, bundle.run, bundle.epoch, bundle.seed, list(bundle.segments)[:-1], bundle.alone
                )
                self.bundles[bundle_id] = bundle
            self.machine.observe_released(frames.Released(bundle_id, back))

    def _work(self, bundle_id: str) -> None:
        bundle = self.bundles.pop(bundle_id)
        cells: list[bytes] = []
        completed: list[frames.Completed] = []
        failed: list[frames.Failed] = []
        given_back: list[tuple[str, int, int]] = []
        here: dict[str, Any] = {}
        for segment in bundle.segments:
            node = self.machine.fold.nodes[segment.node].node
            for index in range(segment.start, segment.stop):
                if any(i.spans and i.spans[0].chunk == "" and i.node not in here for i in segment.inputs):
                    given_back.append((node.id, index, index + 1))
                    continue
                self.starts[node.id, index] = self.starts.get((node.id, index), 0) + 1
                dice = self.random.random()
                if dice < self.chaos / 2:
                    self._deliver(bundle, cells, completed, failed, finished=False)
                    self.take(
                        self.machine.observe_lost("w", "killed", [bundle.id], False, self.now, self.random.random)
                    )
                    return
                try:
                    if dice < self.chaos and node.kind == "stage":
                        raise ConnectionError("transient")
                    value = self._call(node, index, segment, here)
                except Exception as error:
                    classes = [f"{c.__module__}:{c.__qualname__}" for c in type(error).__mro__]
                    failed.append(frames.Failed(node.id, index, classes, str(error), []))
                    continue
                cell = encode(value)
                seen = describe(decode_cell(cell))
                single = not node.is_map
                completed.append(frames.Completed(
                    node.id, index, index + 1, len(cells), self.random.randrange(5000).to_bytes(4, "little"),
                    seen.truth if single else None, seen.length if single else None,
                ))  # fmt: skip
                cells.append(cell)
                here[node.id] = value
        if given_back:
            self.machine.observe_released(frames.Released(bundle.id, given_back))
        self._deliver(bundle, cells, completed, failed, finished=True)

    def _deliver(self, bundle: Bundle, cells: list[bytes], completed: Any, failed: Any, finished: bool) -> None:
        data, singles = encode_chunk(cells), []
        if self.random.random() < 0.5:
            completed, singles = self._grouped(completed)
        frame = frames.Outcomes(
            bundle.id, digest_bytes(data), data, completed, failed, finished=finished, singles=singles
        )
        self.take(self.machine.observe_outcomes(frame, f"w-{bundle.id}", self.now, self.random.random))

    def _grouped(self, completed: list[frames.Completed]) -> tuple[list[frames.Completed], list[frames.Singles]]:
        """Outcomes as a worker sends them: those of single steps whose cells follow each other together."""
        ranges: list[frames.Completed] = []
        singles: list[frames.Singles] = []
        for done in completed:
            if self.machine.fold.nodes[done.node].node.is_map:
                ranges.append(done)
                continue
            last = singles[-1] if singles else None
            if last is None or last.at + len(last.nodes) != done.at:
                last = frames.Singles([], done.at, b"", {}, {})
            else:
                singles.pop()
            place = len(last.nodes)
            truths = last.truths if done.truth is None else {**last.truths, place: done.truth}
            lengths = last.lengths if done.length is None else {**last.lengths, place: done.length}
            singles.append(
                frames.Singles([*last.nodes, done.node], last.at, last.elapsed_us + done.elapsed_us, truths, lengths)
            )
        return ranges, singles

    def _call(self, node: Node, index: int, segment: frames.Segment, here: Mapping[str, Any]) -> Any:
        inputs = {i.node: i for i in segment.inputs}
        args = {}
        for name, expr in node.args.items():
            value = self._value(expr, inputs, here, index if name in node.mapped else None)
            args[name] = value
        if node.kind == "branch":
            return bool(args["value"])
        if node.kind == "pack":
            return args["value"]
        assert node.stage is not None
        return self.functions[node.stage.name](**args)

    def _value(self, expr: Expr, inputs: Mapping[str, frames.Input], here: Mapping[str, Any], item: int | None) -> Any:
        if isinstance(expr, Const):
            value = decode(decode_cell(expr.cell or b"\xc0"))
            return value if item is None else value[item]
        if isinstance(expr, ListExpr):
            values = [self._value(e, inputs, here, None) for e in expr.items]
            return values if item is None else values[item]
        if isinstance(expr, DictExpr):
            return {key: self._value(e, inputs, here, None) for key, e in expr.items.items()}
        assert isinstance(expr, Ref)
        return self._referenced(expr, inputs, here, item)

    def _referenced(
        self, ref: Ref, inputs: Mapping[str, frames.Input], here: Mapping[str, Any], item: int | None
    ) -> Any:
        source = inputs[ref.node]
        path = list(ref.path) if item is None else [*ref.path, item]
        if not source.many:
            value = here[ref.node] if source.spans[0].chunk == "" else self._cells(source.spans[0])[0]
        elif path and isinstance(path[0], int):
            wanted = path.pop(0)
            (span,) = [s for s in source.spans if s.start <= wanted < s.stop]
            value = self._cells(span)[wanted - span.start]
        else:
            value = [v for span in source.spans for v in self._cells(span)]
        for element in path:
            value = value[element[1] if isinstance(element, tuple) else element]
        return value

    def _cells(self, span: frames.Span) -> list[Any]:
        cells = decode_chunk(self.chunks[span.chunk])
        return [decode(cell) for cell in cells[span.at : span.at + span.stop - span.start]]

    # ---- results

    def result(self) -> Any:
        """What the pipeline returned."""
        return self._output(self.graph.output)

    def _output(self, expr: Expr) -> Any:
        if isinstance(expr, ListExpr):
            values = [self._output(e) for e in expr.items]
            return tuple(values) if expr.is_tuple else values
        if isinstance(expr, DictExpr):
            return {key: self._output(e) for key, e in expr.items.items()}
        if isinstance(expr, Const):
            return decode(decode_cell(expr.cell or b"\xc0"))
        assert isinstance(expr, Ref)
        state = self.machine.fold.nodes[expr.node]
        source = frames.Input(expr.node, state.node.many, list(state.outputs.spans))
        return self._referenced(expr, {expr.node: source}, {}, None)
