"""The graph of a run: immutable nodes, and the expressions that wire them.

A graph is plain data. It is drawn, checked, planned, compared and stored without
importing the code it describes; workers find that code through ``StageSpec.ref``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal as Kind
from typing import NamedTuple, TypeAlias

from orchestrator.graph.display import Shown
from orchestrator.graph.policy import DEFAULT_POLICY, Policy

NodeKind = Kind["stage", "dynamic", "approval", "signal", "branch", "choice", "pack"]
"""What a node does.

``stage`` and ``dynamic`` call the user's code. ``branch`` calls ``bool`` on its argument ``value`` (a ``when``
condition) and ``pack`` returns its argument ``value`` (a branch or pipeline that returns a container or a literal);
both run on a worker like any light step. ``choice`` does no work: it takes over the output of ``then`` or
``otherwise``, whichever side its branch took (both are plain ``Ref`` without a path; ``otherwise`` may be absent, which
gives None). ``approval`` and ``signal`` wait for the inbox and hold no worker.
"""


@dataclass(frozen=True, slots=True)
class Const:
    """A value known while tracing.

    ``cell`` is None until the graph is sealed for a run; then it holds the encoded value (see
    ``ports.values``) and ``value`` is dropped, so that the graph no longer refers to the author's objects.
    """

    value: object = None
    cell: bytes | None = None


@dataclass(frozen=True, slots=True)
class SecretRef:
    """A secret by reference (``env:NAME`` or ``file:PATH``), resolved in the worker."""

    reference: str


@dataclass(frozen=True, slots=True)
class Ref:
    """The output of a node, or a part of it: attribute names (str) and indexes (int) from outside in.

    The output of a mapped node, and of a streaming one, is the list of its items' outputs; a first int in
    ``path`` picks one item without waiting for the others. A ``("key", k)`` element is an index with a str key.
    """

    node: str
    path: tuple[str | int | tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ListExpr:
    """A list or tuple with placeholders inside."""

    items: tuple[Expr, ...]
    is_tuple: bool = False


@dataclass(frozen=True, slots=True)
class DictExpr:
    """A dict with placeholders inside; keys are str."""

    items: Mapping[str, Expr]


Expr: TypeAlias = Const | SecretRef | Ref | ListExpr | DictExpr


_NO_ARGS: Mapping[str, Expr] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Guard:
    """The node runs only if ``branch`` (a node of kind ``branch``) came out as ``expected``."""

    branch: str
    expected: bool


@dataclass(frozen=True, slots=True)
class Source:
    """Where the user wrote a call."""

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class StageSpec:
    """The code of a step, by reference.

    Attributes:
        name: The stage's own name.
        ref: ``module:qualname``; for code of ``__main__``, a notebook or a lambda the capsule resolves it.
        fingerprint: Digest of the code that decides the output (source, closures, project functions called).
        files: Parameters annotated ``File``: keyed by content, not by path.
        parameters: Parameter names in order; ``returns`` and ``types`` are printable type names.
        checks: What is checked about the output, in words.
        merge: ``ref`` of the function that makes one result of those of the parts of a table; empty for none.
    """

    name: str
    ref: str
    fingerprint: str
    policy: Policy = DEFAULT_POLICY
    files: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    types: Mapping[str, str] = field(default_factory=dict)
    returns: str = "Any"
    doc: str = ""
    checks: tuple[str, ...] = ()
    merge: str = ""


class Node(NamedTuple):
    """One call of a stage (or a control node) in the graph; a tuple, because graphs have thousands.

    Attributes:
        id: ``scope/name#2``: scope path, name, and ordinal from the second of that name on. Stable between runs.
        args: Arguments by parameter name. Variadic ones are under ``*`` (a ListExpr) and ``**`` (a DictExpr).
        mapped: Names of the arguments that are taken item by item; empty for a node with a single step. For variadic
            mapped positionals the names are ``*0``, ``*1``, ….
        fallback: Value that replaces a failure, when ``stage.policy.has_fallback``.
        prompt: Text of an approval, or name of a signal.
        checks: The objects that check the output, a tuple.
    """

    id: str
    kind: NodeKind
    stage: StageSpec | None = None
    args: Mapping[str, Expr] = _NO_ARGS
    mapped: tuple[str, ...] = ()
    guards: tuple[Guard, ...] = ()
    fallback: Const | None = None
    prompt: str = ""
    timeout_s: float | None = None
    source: Source | None = None
    checks: Const | None = None

    @property
    def scope(self) -> str:
        """Path of the enclosing pipeline calls and branches; empty at the top."""
        return self.id.rpartition("/")[0]

    @property
    def name(self) -> str:
        """Last part of the id."""
        return self.id.rpartition("/")[2]

    @property
    def policy(self) -> Policy:
        """Policy of the stage; the default one for control nodes."""
        return self.stage.policy if self.stage else DEFAULT_POLICY

    @property
    def is_map(self) -> bool:
        """True if the node has one step per item."""
        return bool(self.mapped)

    @property
    def many(self) -> bool:
        """True if the output is a list that grows item by item (a map, or a stream of batches)."""
        return bool(self.mapped) or self.policy.streaming


@dataclass(frozen=True, slots=True)
class Graph(Shown):
    """Nodes in topological order (inputs and guards first), and what the pipeline returns."""

    pipeline: str
    nodes: tuple[Node, ...]
    output: Expr
    params: Mapping[str, Expr] = field(default_factory=dict)
    source: Source | None = None

    def node(self, node_id: str) -> Node:
        """The node of that id; raises KeyError."""
        for node in self.nodes:
            if node.id == node_id:
                return node
        raise KeyError(node_id)


def refs(expr: Expr) -> Iterator[Ref]:
    """All references inside an expression, left to right."""
    if isinstance(expr, Ref):
        yield expr
    elif isinstance(expr, ListExpr):
        for item in expr.items:
            yield from refs(item)
    elif isinstance(expr, DictExpr):
        for item in expr.items.values():
            yield from refs(item)


def dependencies(node: Node) -> Iterator[Ref]:
    """All references a node needs: its arguments', then its guards'."""
    for expr in node.args.values():
        yield from refs(expr)
    for guard in node.guards:
        yield Ref(guard.branch)
