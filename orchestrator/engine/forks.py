"""Where a fork leaves the history of its run: what comes before that step, and what begins anew.

Pure. The step begins anew and with it everything that depends on it; of maps that follow item by item only the items
that do. What comes before is history: it holds as it was recorded. The rest holds as far as it is still valid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.engine.state import RunFold
from orchestrator.errors import NotFound
from orchestrator.graph.node import Graph, ListExpr, Node, Ref, dependencies, refs
from orchestrator.types import parse_address

Items = frozenset[int] | None
"""Some items of a node; None for all of it."""


@dataclass(frozen=True, slots=True)
class ForkPoint:
    """The step from which a fork goes its own way.

    Attributes:
        step: Its address in full.
        node: The node of the graph that it is, or the outermost ``@dynamic`` step in whose body it was called.
        items: Items of that node that begin anew.
        calls: Calls that lead to it, outermost first and itself last; empty if it is the node.
        call_items: As ``items``, of the last of these calls.
    """

    step: str
    node: str
    items: Items = None
    calls: tuple[str, ...] = ()
    call_items: Items = None


@dataclass(frozen=True, slots=True)
class Reach:
    """What a fork means for the nodes of its graph.

    Attributes:
        point: The node where it begins.
        before: Nodes that it depends on.
        anew: Nodes that begin anew, with their items.
    """

    point: str = ""
    before: frozenset[str] = frozenset()
    anew: Mapping[str, Items] = field(default_factory=dict)

    def is_whole(self, node: str) -> bool:
        """True if all of a node begins anew."""
        return node in self.anew and self.anew[node] is None


def find_point(old: RunFold, new: Graph, step: str) -> ForkPoint:
    """The step that an address names; its last part is enough if that is unique.

    Raises:
        NotFound: neither the new graph nor the recorded run has such a step.
        InvalidStepAddress: the text is no address.
    """
    name, item = parse_address(step)
    graph = {node.id for node in new.nodes}
    calls = {node for node, state in old.nodes.items() if state.parent is not None}
    found = _named(name, graph | calls, old.run)
    items = None if item is None else frozenset([item])
    known = old.nodes.get(found)
    if item is not None and (known is None or not known.node.is_map or not 0 <= item < known.length):
        raise NotFound(f"run {old.run}: {found} has no item {item}; fork from all of it: {found}")
    address = found if item is None else f"{found}[{item}]"
    if found in graph:
        return ForkPoint(address, found, items)
    chain, outer = [found], old.nodes[found].parent
    assert outer is not None
    while outer[0] in calls:
        chain.insert(0, outer[0])
        above = old.nodes[outer[0]].parent
        assert above is not None
        outer = above
    if outer[0] not in graph:
        raise NotFound(f"the graph has no step {outer[0]!r} any more, in whose body {found} was called")
    whole = frozenset([outer[1]]) if old.nodes[outer[0]].node.is_map else None
    return ForkPoint(address, outer[0], whole, tuple(chain), items)


def reach(graph: Graph, point: ForkPoint) -> Reach:
    """What comes before a step of a graph, and what begins anew with it."""
    nodes = {node.id: node for node in graph.nodes}
    before: set[str] = set()
    pending = [point.node]
    while pending:
        for ref in dependencies(nodes[pending.pop()]):
            if ref.node not in before:
                before.add(ref.node)
                pending.append(ref.node)
    anew: dict[str, Items] = {point.node: point.items}
    for node in graph.nodes:  # inputs come first
        if node.id != point.node:
            touched = _touched(node, nodes, anew)
            if touched is None or touched:
                anew[node.id] = touched
    return Reach(point.node, frozenset(before), anew)


def _touched(node: Node, nodes: Mapping[str, Node], anew: Mapping[str, Items]) -> Items:
    """Items of a node whose inputs begin anew."""
    if any(guard.branch in anew for guard in node.guards):
        return None
    found: set[int] = set()
    for name, expr in node.args.items():
        if name in node.mapped and isinstance(expr, ListExpr):
            parts = enumerate(expr.items)
            found.update(item for item, part in parts if any(_is_anew(ref, nodes, anew) for ref in refs(part)))
        elif name in node.mapped and isinstance(expr, Ref) and not expr.path and nodes[expr.node].many:
            items = anew.get(expr.node, frozenset())
            if items is None:
                return None
            found |= items
        elif any(_is_anew(ref, nodes, anew) for ref in refs(expr)):
            return None
    return frozenset(found)


def _is_anew(ref: Ref, nodes: Mapping[str, Node], anew: Mapping[str, Items]) -> bool:
    items = anew.get(ref.node, frozenset())
    first = ref.path[0] if ref.path else None
    if items is not None and nodes[ref.node].many and isinstance(first, int):
        return first in items
    return items is None or bool(items)


def _named(name: str, known: set[str], run: str) -> str:
    if name in known:
        return name
    found = sorted(node for node in known if node.endswith("/" + name))
    if len(found) == 1:
        return found[0]
    if found:
        raise NotFound(f"run {run} has several steps {name!r}: {', '.join(found[:5])}")
    raise NotFound(f"neither run {run} nor its graph has a step {name!r}; there are: {', '.join(sorted(known)[:10])}")
