"""What is drawn of a graph, whatever the format: a card per node, the scopes around them, the edges between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from orchestrator.graph.node import Const, Graph, ListExpr, Node, NodeKind, Ref, refs
from orchestrator.graph.policy import Policy
from orchestrator.views.status import NodeStatus, count_text, duration_text

TIMES = "\u00d7"
RESULT = "→ result"
"""Key of the mark for what the pipeline returns; no node can have this name."""


@dataclass(frozen=True, slots=True)
class Card:
    """One node as it is drawn.

    Attributes:
        title: Last part of the node's id, never cut; ``scope`` is the rest.
        width: Text of a map's number of items, ``n`` when only the run will tell; empty for single steps.
        notes: Further lines: stage if named differently, needs, text of an approval.
    """

    key: str
    kind: NodeKind
    scope: str
    title: str
    width: str = ""
    notes: tuple[str, ...] = ()
    status: NodeStatus | None = None


class Edge(NamedTuple):
    """A dependency. ``target`` may be a scope (``scope + "/"``) for the guard of a branch."""

    source: str
    target: str
    label: str = ""
    guard: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """A graph ready to be drawn."""

    title: str
    cards: tuple[Card, ...]
    edges: tuple[Edge, ...]
    results: tuple[str, ...]


def picture(graph: Graph, status: Mapping[str, NodeStatus] | None = None) -> Picture:
    """Cards, edges and results of a graph, with the state of its nodes if there is a run."""
    widths = map_widths(graph)
    states = status or {}
    cards = tuple(_card(node, widths.get(node.id), states.get(node.id)) for node in graph.nodes)
    scopes = {prefix for card in cards for prefix in _prefixes(card.scope)}
    edges: dict[Edge, None] = {}
    for node in graph.nodes:
        for name, expr in node.args.items():
            if node.kind == "choice" and name == "branch":
                continue
            for ref in refs(expr):
                edges[Edge(ref.node, node.id, _path(ref))] = None
        if node.guards:
            guard = node.guards[-1]
            side = f"{guard.branch.rpartition('/')[0]}/{'then' if guard.expected else 'otherwise'}"
            inside = side in scopes and f"{node.id}/".startswith(f"{side}/")
            edges[Edge(guard.branch, f"{side}/" if inside else node.id, "yes" if guard.expected else "no", True)] = None
    for node in graph.nodes:
        if node.kind == "choice" and "otherwise" not in node.args:
            edges[Edge(node.id.rpartition("/")[0] + "/branch", node.id, "no", True)] = None
    known = {node.id for node in graph.nodes}
    kept = tuple(edge for edge in edges if edge.source in known)
    return Picture(graph.pipeline, cards, kept, tuple(dict.fromkeys(ref.node for ref in refs(graph.output))))


def map_widths(graph: Graph) -> dict[str, int | None]:
    """Number of items of each map, None where only the run will tell."""
    widths: dict[str, int | None] = {}
    for node in graph.nodes:
        if not node.is_map:
            continue
        known: int | None = None
        for name in node.mapped:
            expr = node.args[name]
            if isinstance(expr, ListExpr):
                known = len(expr.items)
            elif isinstance(expr, Const) and isinstance(expr.value, list):
                known = len(expr.value)
            elif isinstance(expr, Ref) and not expr.path and widths.get(expr.node) is not None:
                known = widths[expr.node]
        widths[node.id] = known
    return widths


def needs_text(policy: Policy) -> str:
    """What a stage declares, in a few words: ``0.25 GPU · 2 GiB · cached 30 d``."""
    needs = policy.resources
    parts = [
        f"{needs.num_gpus:g} GPU" if needs.num_gpus else "",
        f"{needs.num_cpus:g} CPU" if needs.num_cpus != 1 else "",
        f"{needs.memory / 2**30:.3g} GiB" if needs.memory else "",
        *(f"{amount:g} {name}" for name, amount in needs.resources.items()),
        needs.accelerator_type or "",
        "cache" if policy.cache_s is not None else "",
        f"{policy.retry.attempts} attempts" if policy.retry.attempts > 1 else "",
        "fallback" if policy.has_fallback else "",
        "effects" if policy.effects else "",
        "stream" if policy.streaming else "",
        f"groups by {', '.join(policy.by)}" if policy.by else policy.scope,
        "isolated" if policy.isolated else "",
        *policy.uses,
    ]
    return " · ".join(part for part in parts if part)


def status_text(status: NodeStatus, single: bool) -> str:
    """Counts and time of a node in words: ``998 succeeded, 2 failed · 3.2 s``."""
    told = ", ".join(state if single else f"{count_text(count)} {state}" for state, count in status.ordered())
    parts = [told or "pending", "" if status.elapsed_s is None else duration_text(status.elapsed_s)]
    return " · ".join(part for part in parts if part)


def _card(node: Node, width: int | None, status: NodeStatus | None) -> Card:
    notes: list[str] = []
    if node.stage is not None:
        if node.stage.name != node.name.partition("#")[0]:
            notes.append(node.stage.name)
        notes.append(needs_text(node.policy))
        if node.stage.checks:
            notes.append("1 check" if len(node.stage.checks) == 1 else f"{len(node.stage.checks)} checks")
    if node.kind == "dynamic":
        limit = node.policy.max_steps
        notes.insert(0, "dynamic" if limit is None else f"dynamic, at most {limit} steps")
    if node.kind in ("approval", "signal"):
        notes.append(node.prompt if node.prompt != node.name else node.kind)
    shown = ""
    if node.is_map:
        total = width if status is None or not status.total else status.total
        shown = f"{TIMES} n" if total is None else f"{TIMES} {count_text(total)}"
    return Card(node.id, node.kind, node.scope, _title(node), shown, tuple(note for note in notes if note), status)


def _title(node: Node) -> str:
    if node.kind == "branch":
        condition = next(refs(node.args["value"]))
        return f"{_path(condition).lstrip('.') or condition.node.rpartition('/')[2]}?"
    return node.name


def _path(ref: Ref) -> str:
    return "".join(
        f".{element}" if isinstance(element, str) else f"[{element if isinstance(element, int) else repr(element[1])}]"
        for element in ref.path
    )


def _prefixes(scope: str) -> list[str]:
    parts = scope.split("/") if scope else []
    return ["/".join(parts[: end + 1]) for end in range(len(parts))]


def scopes_of(card: Card) -> list[str]:
    """Scopes around a card, outermost first."""
    return _prefixes(card.scope)
