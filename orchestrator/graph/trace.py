"""Tracing: a pipeline's body runs once with placeholders for results, and its calls become nodes.

The same code that binds a traced call binds a real call of a ``@dynamic`` body (``call_node``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, is_dataclass
from dataclasses import fields as dataclass_fields
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.errors import BranchEscape, CyclicGraph, PlaceholderMisuse, WrongType
from orchestrator.graph.call import BoundCall, bind_call
from orchestrator.graph.fingerprint import fingerprint, reachable
from orchestrator.graph.node import (
    Const,
    DictExpr,
    Expr,
    Graph,
    Guard,
    ListExpr,
    Node,
    NodeKind,
    Ref,
    SecretRef,
    Source,
)
from orchestrator.graph.placeholder import Origin, Placeholder, escaping
from orchestrator.graph.secret import Secret, contains_secret
from orchestrator.graph.source import Places, refusal, user_source
from orchestrator.graph.version import VersionInput

if TYPE_CHECKING:
    from orchestrator.graph.stage import Stage

_DEEPEST = 64
_RESULTS = frozenset({Placeholder})


@dataclass(frozen=True, slots=True)
class Traced:
    """A graph, and the stages it calls by their ``StageSpec.ref``: what a capsule has to hold.

    Stages that are called only inside ``@dynamic`` bodies are among them.
    """

    graph: Graph
    stages: Mapping[str, Stage[Any, Any]]


class _Checked(NamedTuple):
    """What was found out about a call, for calls of the same stage on results of the same types.

    Attributes:
        types: Of the arguments; kept, because such calls are looked up by the identity of types.
        first: The node of the first such call.
    """

    types: tuple[Any, ...]
    names: tuple[str, ...]
    output: Any
    first: Node


class Trace:
    """Nodes recorded so far, and where in scopes and branches the tracing stands."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.stages: dict[str, Stage[Any, Any]] = {}
        self._scope = ""
        self._guards: tuple[Guard, ...] = ()
        self._names: Counter[str] = Counter()
        self._places = Places()
        self._guards_of: dict[str, tuple[Guard, ...]] = {}
        self._fingerprints: dict[int, str] = {}
        self._learnt: dict[int, Stage[Any, Any]] = {}
        self._checked: dict[tuple[int, ...], _Checked] = {}

    def call(self, stage: Stage[Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], mapped: bool) -> Any:
        """Record the call of a stage and return its placeholder."""
        alike: tuple[int, ...] | None = None
        if not mapped and not kwargs and _RESULTS.issuperset(map(type, args)):
            origins = [arg._orc_origin for arg in args]
            alike = (id(stage), *[id(origin.type) for origin in origins])
            checked = self._checked.get(alike)
            if checked is not None:
                return self._call_again(stage.name, checked, args, origins)
        bound = bind_call(stage, args, kwargs, mapped)
        self.learn(stage)
        node = self.add(stage.name, **call_fields(stage, bound, self.expr))
        if alike is not None and len(bound.args) == len(args) and not stage.parameters.takes_more:
            types = tuple(arg._orc_origin.type for arg in args)
            self._checked[alike] = _Checked(types, tuple(bound.args), bound.output, node)
        return self.placeholder(node, bound.output, bound.width)

    def _call_again(
        self, name: str, checked: _Checked, args: tuple[Placeholder, ...], origins: list[Origin]
    ) -> Placeholder:
        """Record a call like one before; a graph of thousands of nodes is mostly those."""
        first = checked.first
        if self._guards_of:
            taken = dict(zip(checked.names, map(self._ref, args), strict=True))
        else:  # without branches any result of this tracing may be used
            taken = {
                name: origin.ref if origin.trace is self else self._ref(arg)
                for name, origin, arg in zip(checked.names, origins, args, strict=True)
            }
        node = Node(
            self.unique(name), first.kind, first.stage, taken, (), self._guards, first.fallback, "", first.timeout_s,
            self._places.here(), first.checks,
        )  # fmt: skip
        self._record(node)
        return Placeholder(Origin(self, Ref(node.id), checked.output, first.many))

    def learn(self, stage: Stage[Any, Any]) -> None:
        """Take the stage's code as it is now (in a notebook it may have changed since the last tracing)."""
        if id(stage) in self._learnt:
            return
        if stage.merge is not None:
            self.learn(stage.merge)
        key = id(stage.function)
        if key not in self._fingerprints:
            self._fingerprints[key] = fingerprint(stage.function)
        self._learnt[id(stage)] = stage
        self.stages[stage.describe(self._fingerprints[key]).ref] = stage
        if stage.kind == "dynamic":
            for called in reachable(stage.function, type(stage)):
                self.learn(called)

    def add(self, name: str, kind: NodeKind, **rest: Any) -> Node:
        """Record a node under the current scope and guards."""
        node = Node(self.unique(name), kind, guards=self._guards, source=self._places.here(), **rest)
        self._record(node)
        return node

    def _record(self, node: Node) -> None:
        self.nodes.append(node)
        if node.guards:
            self._guards_of[node.id] = node.guards

    def placeholder(self, node: Node, annotation: Any, width: int | None = None) -> Placeholder:
        """Result of a node."""
        return Placeholder(Origin(self, Ref(node.id), annotation, node.many, width))

    def unique(self, name: str) -> str:
        """``scope/name``, with an ordinal from the second of that name on."""
        path = f"{self._scope}/{name}" if self._scope else name
        count = self._names[path] = self._names[path] + 1
        return path if count == 1 else f"{path}#{count}"

    @contextmanager
    def inside(self, scope: str, guard: Guard | None = None) -> Iterator[None]:
        """Record what follows in another scope and, with a guard, only for one side of a branch."""
        before = self._scope, self._guards
        if scope.count("/") >= _DEEPEST:
            name = scope.rpartition("/")[2]
            raise refusal(CyclicGraph, f"{name!r} is nested {_DEEPEST} deep: it calls itself without end")
        self._scope = scope
        if guard is not None:
            self._guards = (*self._guards, guard)
        try:
            yield
        finally:
            self._scope, self._guards = before

    def expr(self, value: object) -> Expr:
        """Expression of a value that may be a placeholder or contain some in lists, tuples and dicts."""
        if isinstance(value, Placeholder):
            return self._ref(value)
        return container_expr(value, self.expr)

    def _ref(self, placeholder: Placeholder) -> Ref:
        origin = placeholder._orc_origin
        if origin.trace is not self:
            raise escaping(PlaceholderMisuse, placeholder, "belongs to another tracing; call its stage in it")
        made = self._guards_of.get(origin.ref.node, ())
        if made != self._guards[: len(made)]:
            raise escaping(
                BranchEscape,
                placeholder,
                "exists only in its branch of 'when'; return it from the branch and use what when(...) returns",
            )
        return origin.ref


def call_fields(stage: Stage[Any, Any], bound: BoundCall, expr: Callable[[object], Expr]) -> dict[str, Any]:
    """Fields of the node of a bound call."""
    return {
        "kind": stage.kind,
        "stage": stage.spec,
        "args": {
            name: _variadic(name, value, expr) if name in ("*", "**") else expr(value)
            for name, value in bound.args.items()
        },
        "mapped": bound.mapped,
        "fallback": Const(stage.fallback) if stage.policy.has_fallback else None,
        "checks": Const(stage.checks) if stage.checks else None,
        "timeout_s": stage.policy.timeout_s,
    }


def _variadic(name: str, value: Any, expr: Callable[[object], Expr]) -> Expr:
    if name == "*":
        return ListExpr(tuple(expr(item) for item in value))
    return DictExpr({key: expr(item) for key, item in value.items()})


def container_expr(value: object, expr: Callable[[object], Expr]) -> Expr:
    """Expression of a value that is not itself a placeholder."""
    if isinstance(value, Secret):
        return SecretRef(value.reference)
    if isinstance(value, VersionInput) or not _holds_marks(value):
        return Const(value)
    if type(value) is list:
        return ListExpr(tuple(expr(item) for item in value))
    if type(value) is tuple:
        return ListExpr(tuple(expr(item) for item in value), is_tuple=True)
    if type(value) is dict:
        for key in value:
            if not isinstance(key, str) or isinstance(key, Secret):
                raise refusal(WrongType, f"a dict with results or secrets inside has text as its keys, not {key!r}")
        return DictExpr({key: expr(item) for key, item in value.items()})
    raise refusal(
        PlaceholderMisuse,
        f"results and secrets may stand in lists, tuples and dicts, not in a {type(value).__name__}; pass them to a "
        "stage that makes it",
    )


_PLAIN = frozenset({int, float, bool, str, bytes, type(None)})


def _holds_marks(value: object) -> bool:
    """True if a placeholder or a Secret is somewhere inside, also where it must not be."""
    if isinstance(value, Placeholder | Secret | VersionInput):
        return True
    if isinstance(value, list | tuple | set | frozenset):
        return not _PLAIN.issuperset(map(type, value)) and any(_holds_marks(item) for item in value)
    if isinstance(value, dict):
        return any(_holds_marks(item) for pair in value.items() for item in pair)
    if is_dataclass(value) and not isinstance(value, type):
        return any(_holds_marks(getattr(value, field.name, None)) for field in dataclass_fields(value))
    return False


def call_node(
    stage: Stage[Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], *, mapped: bool = False, node_id: str = ""
) -> Node:
    """Node of a call with real values, as a ``@dynamic`` body makes it: arguments are Consts and SecretRefs.

    Args:
        node_id: Id of the node; the stage's name if empty.

    Raises:
        UnknownArgument, MissingArgument, WrongType, MapError: as while tracing.
    """

    def expr(value: object) -> Expr:
        return container_expr(value, expr) if contains_secret(value) else Const(value)

    bound = bind_call(stage, args, kwargs, mapped)
    return Node(node_id or stage.name, source=user_source(), **call_fields(stage, bound, expr))


_ACTIVE: ContextVar[Trace | None] = ContextVar("orchestrator_trace", default=None)


def tracing() -> Trace | None:
    """The tracing in progress in this thread, or None."""
    return _ACTIVE.get()


def trace_graph(
    name: str,
    body: Callable[[], Any],
    params: Mapping[str, Any],
    check_output: Callable[[Any], None],
    source: Source | None,
) -> Traced:
    """Run a pipeline's body once and collect its graph.

    Args:
        params: Values of the pipeline's parameters, for the record.
        check_output: Refuses a returned value that does not fit.
    """
    trace = Trace()
    token = _ACTIVE.set(trace)
    try:
        output = body()
        check_output(output)
        returned = trace.expr(output)
        known = {key: trace.expr(value) for key, value in params.items()}
    finally:
        _ACTIVE.reset(token)
    return Traced(Graph(name, tuple(trace.nodes), returned, known, source), trace.stages)
