"""Where the inputs of a range of steps are: references into chunks, never values."""

from __future__ import annotations

from collections.abc import MutableMapping

from orchestrator.engine.state import NodeState, RunFold
from orchestrator.graph.node import Node, Ref, refs
from orchestrator.ports.frames import CHECKPOINTS, Input, Segment, Span

Singles = MutableMapping[str, Input]
"""Outputs of single steps as inputs of others, by node: steps of one bundle often need the same."""

_MADE_HERE = [Span(0, 1, "", 0)]


def made_here(node: str) -> Input:
    """The output of a single step that runs earlier in the same bundle."""
    return Input(node, False, _MADE_HERE)


def segment(fold: RunFold, node: Node, start: int, stop: int, singles: Singles) -> Segment:
    """Steps ``start..stop`` of a node with their inputs; those in ``singles`` are taken from there and added."""
    state = fold.nodes[node.id]
    needed = inputs(fold, node, start, stop, singles)
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


def inputs(fold: RunFold, node: Node, start: int, stop: int, singles: Singles) -> list[Input]:
    """One Input for each node that the arguments refer to."""
    found: dict[str, Input] = {}
    for name, expr in node.args.items():
        for ref in (expr,) if type(expr) is Ref else refs(expr):
            known = singles.get(ref.node)
            if known is not None:
                found[ref.node] = known
                continue
            source = fold.nodes[ref.node]
            if source.many:
                by_item = name in node.mapped and ref is expr and not ref.path
                _add(found, source, ref, (start, stop) if by_item else None)
            else:
                found[ref.node] = singles[ref.node] = output(source)
    return list(found.values())


def output(state: NodeState) -> Input:
    """The whole output of a node, as an input of somebody."""
    if state.many:
        return Input(state.node.id, True, list(state.outputs.spans))
    span = state.outputs.find(0)
    return Input(state.node.id, False, [span] if span else [])


def _add(found: dict[str, Input], source: NodeState, ref: Ref, items: tuple[int, int] | None) -> None:
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
