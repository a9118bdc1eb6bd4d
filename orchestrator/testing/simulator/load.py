"""A bundle on a simulated worker: what is left of it, what it has made, and the frame that says so."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.graph.node import Node
from orchestrator.ports import frames
from orchestrator.ports.executor import Bundle
from orchestrator.ports.values import decode_cell, describe, digest_bytes, encode_chunk
from orchestrator.testing.simulator.values import encode
from orchestrator.types import Digest


@dataclass(slots=True)
class Load:
    """A bundle on a worker.

    Attributes:
        todo: Steps not started: (segment, index).
        calls: The body of a ``@dynamic`` step that runs, and how many calls it has made.
    """

    bundle: Bundle
    chunks: Mapping[Digest, bytes | None]
    todo: deque[tuple[frames.Segment, int]]
    here: dict[str, Any] = field(default_factory=dict)
    cells: list[bytes] = field(default_factory=list)
    completed: list[frames.Completed] = field(default_factory=list)
    failed: list[frames.Failed] = field(default_factory=list)
    batches: list[frames.Completed] = field(default_factory=list)
    made: list[frames.Made] = field(default_factory=list)
    body: Any = None
    step: tuple[frames.Segment, int] | None = None
    ordinal: int = 0
    names: dict[str, int] = field(default_factory=dict)

    def complete(self, node: Node, index: int, value: Any, duration_s: float) -> None:
        """A step has its output."""
        cell = encode(value)
        seen = describe(decode_cell(cell))
        single = not node.is_map
        elapsed_us = int(duration_s * 1e6).to_bytes(4, "little")
        self.completed.append(frames.Completed(
            node.id, index, index + 1, len(self.cells), elapsed_us,
            seen.truth if single else None, seen.length if single else None,
        ))  # fmt: skip
        self.cells.append(cell)
        if single:
            self.here[node.id] = value

    def fail(self, node: str, index: int, error: Exception) -> None:
        """An attempt has failed."""
        classes = [f"{c.__module__}:{c.__qualname__}" for c in type(error).__mro__ if c is not object]
        self.fail_with(node, index, classes, str(error))

    def fail_with(self, node: str, index: int, classes: list[str], message: str) -> None:
        """An attempt has failed with an exception of these classes, most derived first."""
        self.failed.append(frames.Failed(node, index, classes, message, []))

    def take(self, nodes: Mapping[str, Node], inline: bool, grouped: bool, finished: bool) -> frames.Outcomes:
        """The frame of what has gathered, which is gathered no more.

        Args:
            inline: The cells go along; else they are in the artifact store.
            grouped: Outcomes of single steps go together, as real workers send them.
        """
        data = encode_chunk(self.cells)
        ranges, singles = _grouped(self.completed, nodes) if grouped else (self.completed, [])
        frame = frames.Outcomes(
            self.bundle.id, digest_bytes(data), data if inline else None, ranges, self.failed, self.batches,
            finished=finished, singles=singles, made=self.made,
        )  # fmt: skip
        self.cells, self.completed, self.failed, self.batches, self.made = [], [], [], [], []
        return frame


def _grouped(
    completed: list[frames.Completed], nodes: Mapping[str, Node]
) -> tuple[list[frames.Completed], list[frames.Singles]]:
    """Outcomes of maps and streams, and those of single steps together."""
    ranges = [done for done in completed if nodes[done.node].is_map or nodes[done.node].policy.streaming]
    singles: list[frames.Singles] = []
    for done in completed:
        if done in ranges:
            continue
        last = singles.pop() if singles and singles[-1].at + len(singles[-1].nodes) == done.at else None
        last = last or frames.Singles([], done.at, b"", {}, {})
        place = len(last.nodes)
        truths = last.truths if done.truth is None else {**last.truths, place: done.truth}
        lengths = last.lengths if done.length is None else {**last.lengths, place: done.length}
        elapsed_us = last.elapsed_us + done.elapsed_us
        singles.append(frames.Singles([*last.nodes, done.node], last.at, elapsed_us, truths, lengths))
    return ranges, singles


def shown(frame: frames.Outcomes) -> str:
    """What a frame says of steps, for people."""
    done = [f"{d.node}[{d.start}:{d.stop}]" for d in frame.completed] + [n for s in frame.singles for n in s.nodes]
    return ", ".join([*done, *(f"{d.node}[{d.index}] failed" for d in frame.failed),
                      *(f"{d.node} batch {d.start}" for d in frame.batches)])  # fmt: skip
