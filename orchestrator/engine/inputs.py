"""Where the inputs of a range of steps are: references into chunks, never values."""

from __future__ import annotations

from collections.abc import Collection

from orchestrator.engine.state import NodeState, RunFold
from orchestrator.graph.node import Node, Ref, refs
from orchestrator.ports.frames import CHECKPOINTS, Input, Segment, Span

_MADE_HERE = [Span(0, 1, "", 0)]


def segment(fold: RunFold, node: Node, start: int, stop: int, together: Collection[str] = ()) -> Segment:
    """Steps ``start..stop`` of a node with their inputs; nodes ``together`` run earlier in the same bundle."""
    state = fold.nodes[node.id]
    needed = inputs(fold, node, start, stop, together)
    if node.kind == "dynamic":
        return Segment(
            node.id, start, stop, needed, _attempts(state, start, stop), len(fold.calls.get((node.id, start), ()))
        )
    if not (state.failed_attempts or state.deaths or state.checkpoints or node.policy.streaming):
        return Segment(node.id, start, stop, needed)
    if node.policy.streaming and state.batches:  # what an earlier attempt delivered, to be produced again alike
        needed.append(output(state))
    kept = [span for index, span in sorted(state.checkpoints.items()) if start <= index < stop]
    if kept:
        needed.append(Input(CHECKPOINTS, True, kept))
    return Segment(node.id, start, stop, needed, _attempts(state, start, stop))


def _attempts(state: NodeState, start: int, stop: int) -> dict[int, int]:
    """Numbers of the attempts that are not the first."""
    tried = {*state.failed_attempts, *state.deaths}
    return {index: state.attempt(index) for index in tried if start <= index < stop}


def inputs(fold: RunFold, node: Node, start: int, stop: int, together: Collection[str] = ()) -> list[Input]:
    """One Input for each node that the arguments refer to."""
    found: dict[str, Input] = {}
    for name, expr in node.args.items():
        for ref in (expr,) if type(expr) is Ref else refs(expr):
            by_item = name in node.mapped and ref is expr and not ref.path
            if ref.node in together:
                found[ref.node] = Input(ref.node, False, _MADE_HERE)
            else:
                _add(found, fold.nodes[ref.node], ref, (start, stop) if by_item else None)
    return list(found.values())


def output(state: NodeState) -> Input:
    """The whole output of a node, as an input of somebody."""
    if state.many:
        return Input(state.node.id, True, list(state.outputs.spans))
    span = state.outputs.find(0)
    return Input(state.node.id, False, [span] if span else [])


def _add(found: dict[str, Input], source: NodeState, ref: Ref, items: tuple[int, int] | None) -> None:
    if not source.many:
        found[ref.node] = output(source)
        return
    if items is not None:
        spans = source.outputs.within(*items)
    elif ref.path and isinstance(ref.path[0], int):
        span = source.outputs.find(ref.path[0])
        spans = [span] if span else []
    else:
        spans = list(source.outputs.spans)
    known = found.get(ref.node)
    if known is not None and known.spans != spans:  # taken in two ways: all of it serves both
        spans = list(source.outputs.spans)
    found[ref.node] = Input(ref.node, True, spans)
