"""What a worker knows of the nodes that it runs: their code, and how their arguments are wired.

A node is made from its stored form when its first step runs. Most single steps need less than that: where every
argument is the whole output of another node, the stage and those names are all (``Plain``).
"""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from orchestrator.backends.bundles.arguments import takes_names_only, whole_inputs
from orchestrator.backends.bundles.surroundings import may_draw
from orchestrator.errors import StepError
from orchestrator.graph.json import StoredNodes
from orchestrator.graph.node import Node, StageSpec
from orchestrator.graph.policy import Policy
from orchestrator.types import Digest

if TYPE_CHECKING:
    from orchestrator.backends.division import Divided

DEFINITIONS = 2_000
"""Compiled nodes a worker keeps; a ``@dynamic`` loop makes a new one with each call."""


class Code(Protocol):
    """The code of a run. ``root`` is where its files are on this machine; empty if they are where they were."""

    root: str

    def function(self, reference: str) -> Callable[..., Any]:
        """The author's function of a stage, by ``StageSpec.ref``."""
        ...


class Loaded(NamedTuple):
    """The code of a stage.

    Attributes:
        root: Where it was unpacked; see ``Code``.
        draws: It may draw random numbers from a global generator. Code that cannot reach that reaches nothing but its
            arguments: with plain scalars it can neither print, nor ask for ``step()``, nor change its surroundings.
        by_name: It takes every argument that has a name by that name.
    """

    function: Callable[..., Any]
    root: str
    draws: bool
    by_name: bool

    def signature_for(self, arguments: Iterable[str]) -> inspect.Signature | None:
        """The function's signature if these arguments of a node cannot all be passed by name."""
        if self.by_name and not any(name.startswith("*") for name in arguments):
            return None
        return inspect.signature(self.function)


class Definition(NamedTuple):
    """A node that can be run.

    Attributes:
        signature: Of the function, if keyword arguments alone do not do.
        whole_inputs: Nodes by argument, if every argument is the whole output of a node.
    """

    node: Node
    code: Loaded
    signature: inspect.Signature | None
    whole_inputs: Mapping[str, str] | None


Plain = tuple[Loaded, Policy, Mapping[str, str]]
"""A node with one step of a stage, each of whose arguments is the whole output of the node named in the mapping."""


class Definitions:
    """Nodes of all runs that a worker was told of.

    Args:
        code: Unpacks a capsule.
        read: Bytes of an artifact.
        data: What large tables are divided with, if there is anything.
    """

    def __init__(
        self, code: Callable[[Digest], Code], read: Callable[[Digest], bytes | memoryview], data: Any = None
    ) -> None:
        self._code = code
        self._read = read
        self._data = data
        self._codes: dict[Digest, Code] = {}
        self._loaded: dict[tuple[Digest, str], Loaded] = {}
        self._loading = threading.Lock()
        self._nodes: dict[str, dict[str, tuple[Digest, StoredNodes]]] = {}
        self._graphs: dict[str, tuple[Digest, Digest]] = {}
        self._made: OrderedDict[tuple[str, str], Definition] = OrderedDict()

    def learn(self, run: str, capsule: Digest, nodes: bytes | memoryview) -> None:
        """Nodes of a run, in JSON form."""
        stored = StoredNodes(msgspec.json.decode(nodes))
        self._nodes.setdefault(run, {}).update(dict.fromkeys(stored.ids, (capsule, stored)))

    def learn_graph(self, run: str, capsule: Digest, graph: Digest) -> None:
        """Where the nodes of a run are stored; they are read when one is asked for."""
        self._graphs[run] = capsule, graph

    def prepare(self, run: str) -> None:
        """Read the graph of a run now. If that does not work, the step that needs it will try again and say so."""
        if run in self._graphs:
            with contextlib.suppress(Exception):
                self._read_graph(run)

    def _read_graph(self, run: str) -> None:
        capsule, graph = self._graphs[run]
        self.learn(run, capsule, self._read(graph))
        self._graphs.pop(run, None)

    def forget(self, run: str) -> None:
        """Nothing of a run is left to do."""
        self._graphs.pop(run, None)
        self._nodes.pop(run, None)
        for key in [key for key in self._made if key[0] == run]:
            del self._made[key]

    def plain(self, run: str, node: str) -> Plain | None:
        """A node of which the stage and its inputs are all; None if there is more to it, or its code is not loaded."""
        capsule, stored = self._nodes.get(run, _NOTHING).get(node, _UNKNOWN)
        wiring = None if stored is None else stored.wiring(node)
        if wiring is None:
            return None
        stage, inputs = wiring
        code, policy = self._loaded.get((capsule, stage.ref)), stage.policy
        if code is None or not code.by_name or policy.streaming or policy.scope or "*" in inputs or "**" in inputs:
            return None
        return code, policy, inputs

    def of(self, run: str, node: str) -> Definition:
        """A node that can be run; loads its code.

        Raises:
            StepError: nobody has told of it.
            Exception: whatever its code raises when it is imported.
        """
        known = self._made.get((run, node))
        if known is not None:
            return known
        nodes = self._nodes.get(run, {})
        if node not in nodes and run in self._graphs:
            self._read_graph(run)
            nodes = self._nodes[run]
        try:
            capsule, stored = nodes[node]
        except KeyError:
            raise StepError(f"the worker was not told what {node!r} of run {run} is; a fault of the engine") from None
        definition = self._made[run, node] = self._compiled(stored.node(node), capsule)
        while len(self._made) > DEFINITIONS:
            self._made.popitem(last=False)
        return definition

    def of_call(self, run: str, body: str, node: Node) -> Definition:
        """A node that a ``@dynamic`` body calls; its code comes from where the body's own does."""
        return self._compiled(node, self._nodes[run][body][0])

    def _compiled(self, node: Node, capsule: Digest) -> Definition:
        if node.stage is None:
            return Definition(node, _BRANCH if node.kind == "branch" else _PACK, None, whole_inputs(node))
        loaded = self._loaded.get((capsule, node.stage.ref)) or self._load(capsule, node.stage.ref)
        if node.policy.scope:
            loaded = loaded._replace(function=self._divided(loaded, node.stage, capsule))
        whole = whole_inputs(node) if loaded.by_name else None
        if whole is not None:
            return Definition(node, loaded, None, whole)
        return Definition(node, loaded, loaded.signature_for(node.args), None)

    def _divided(self, loaded: Loaded, stage: StageSpec, capsule: Digest) -> Divided:
        from orchestrator.backends.division import Divided  # with pyarrow, which most workers do without

        merge = self._load(capsule, stage.merge).function if stage.merge else None
        return Divided(loaded.function, stage.policy, stage.ref, merge, self._data)

    def _load(self, capsule: Digest, reference: str) -> Loaded:
        with self._loading:
            code = self._codes.get(capsule)
            if code is None:
                code = self._codes[capsule] = self._code(capsule)
        function = code.function(reference)
        loaded = self._loaded[capsule, reference] = Loaded(
            function, code.root, may_draw(function), takes_names_only(function)
        )
        return loaded


def _truth(value: Any) -> bool:
    return bool(value)


def _same(value: Any) -> Any:
    return value


_NOTHING: Mapping[str, Any] = {}
_UNKNOWN = "", None
_BRANCH, _PACK = Loaded(_truth, "", False, True), Loaded(_same, "", False, True)
