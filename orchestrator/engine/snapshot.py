"""Snapshots: the fold of a run as bytes, so that a long journal need not be read from its start.

Only durable state goes in. A test holds a loaded snapshot equal to the replay of the facts it stands for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from orchestrator.engine.state import NodeState, Outputs, RunFold
from orchestrator.errors import JournalCorrupt
from orchestrator.graph import fact as f
from orchestrator.graph.json import graph_from_json, graph_to_json, node_from_json, node_to_json
from orchestrator.graph.node import Graph
from orchestrator.ports.frames import Span


class NodeImage(msgspec.Struct, array_like=True):
    """One node's state; ``added`` is the JSON form of a node that a ``@dynamic`` body added."""

    id: str
    added: dict[str, Any] | None
    parent: tuple[str, int, int] | None
    length: int
    closed: bool
    status: bytes
    spans: list[Span]
    batches: int
    settled: int
    failed_attempts: dict[int, int]
    deaths: dict[int, int]
    checkpoints: list[Span]
    failures: dict[int, f.Failure]
    degraded: list[int]
    truth: bool | None
    output_length: int | None
    reused: int
    cursors: dict[int, Mapping[str, str]] = {}


class FoldImage(msgspec.Struct, array_like=True):
    """A run's state after the fact ``seq``; ``graph`` is its graph in JSON form if its code was changed."""

    run: str
    seq: int
    epoch: int
    created: f.RunCreated | None
    cancel: f.CancelRequested | None
    finished: f.RunFinished | None
    waiting: dict[str, f.ApprovalRequested]
    retrying: list[tuple[str, int, float]]
    failed: list[tuple[str, int]]
    calls: list[tuple[str, int, list[tuple[str, str]]]]
    nodes: list[NodeImage]
    graph: dict[str, Any] | None = None
    revision: int = 0


def encode_snapshot(fold: RunFold) -> bytes:
    """Bytes of a run's state."""
    known = {node.id for node in fold.graph.nodes}
    image = FoldImage(
        fold.run, fold.seq, fold.epoch, fold.created, fold.cancel, fold.finished, fold.waiting,
        [(node, index, due) for (node, index), due in fold.retrying.items()],
        fold.failed,
        [(node, index, made) for (node, index), made in fold.calls.items()],
        [_image(state, state.node.id not in known) for state in fold.nodes.values()],
        graph_to_json(fold.graph) if fold.revision else None, fold.revision,
    )  # fmt: skip
    return msgspec.msgpack.encode(image)


def decode_snapshot(body: bytes, graph: Graph) -> RunFold:
    """State from its bytes; ``graph`` is the one that the run was created with.

    Raises:
        JournalCorrupt: the bytes are no snapshot of this graph.
    """
    try:
        image = msgspec.msgpack.decode(body, type=FoldImage)
        fold = RunFold(image.run, graph if image.graph is None else graph_from_json(image.graph))
        for saved in image.nodes:
            if saved.added is not None:
                fold.nodes[saved.id] = NodeState(node_from_json(saved.added), len(fold.nodes), saved.parent)
            _restore(fold.nodes[saved.id], saved)
    except (msgspec.MsgspecError, KeyError) as error:
        raise JournalCorrupt(f"the snapshot of pipeline {graph.pipeline} cannot be read: {error}") from error
    fold.seq, fold.epoch, fold.revision = image.seq, image.epoch, image.revision
    fold.created, fold.cancel, fold.finished = image.created, image.cancel, image.finished
    fold.waiting = image.waiting
    fold.retrying = {(node, index): due for node, index, due in image.retrying}
    fold.failed = image.failed
    fold.calls = {(node, index): made for node, index, made in image.calls}
    return fold


def _image(state: NodeState, added: bool) -> NodeImage:
    return NodeImage(
        state.node.id, node_to_json(state.node) if added else None, state.parent, state.length, state.closed,
        bytes(state.status), state.outputs.spans, state.batches, state.settled, state.failed_attempts, state.deaths,
        list(state.checkpoints.values()),
        state.failures, sorted(state.degraded), state.truth, state.output_length, state.reused,
        state.cursors,
    )  # fmt: skip


def _restore(state: NodeState, saved: NodeImage) -> None:
    state.length, state.closed = saved.length, saved.closed
    state.status = bytearray(saved.status)
    state.outputs = Outputs(saved.spans)
    state.batches, state.settled = saved.batches, saved.settled
    state.failed_attempts, state.deaths, state.failures = saved.failed_attempts, saved.deaths, saved.failures
    state.checkpoints = {span.start: span for span in saved.checkpoints}
    state.degraded = set(saved.degraded)
    state.truth, state.output_length, state.reused = saved.truth, saved.output_length, saved.reused
    state.cursors = saved.cursors
