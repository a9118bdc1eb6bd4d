"""What came from what: files, data sets, code, steps, models and deployments, over any number of runs.

A ``Lineage`` is a fold over what is on record of each run (``RunLineage``). Versions of named data sets and models join
runs to each other: the run that published one, and those that read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from orchestrator.graph.node import Expr, Node, refs

VertexKind = Literal["file", "data", "code", "step", "model", "deployment"]
EdgeKind = Literal["data", "code", "decides"]

WIRING = frozenset({"branch", "choice", "pack"})
"""Kinds of nodes that hand on what they take."""

_VERSIONS = ("data:", "model:")


class Column(NamedTuple):
    """A column of a table."""

    name: str
    type: str


class Deployed(NamedTuple):
    """What a step brought to an application: the version as its router calls it, and what became of it."""

    app: str
    version: str
    outcome: str


@dataclass(frozen=True, slots=True)
class StepLineage:
    """One node of a run, wiring left out.

    Attributes:
        needs: Nodes whose outputs it takes; ``decided_by`` those that decided whether it runs.
        files, versions: Paths, and addresses of named versions, that it is given.
        state: As views call it.
        output: What it gave in a few words, with its ``digest``.
        reused: The run whose output was taken; empty if it ran.
        publishes: Addresses of the versions that its output is.
    """

    node: str
    stage: str = ""
    fingerprint: str = ""
    needs: tuple[str, ...] = ()
    decided_by: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    state: str = ""
    output: str = ""
    digest: str = ""
    reused: str = ""
    publishes: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    deployed: Deployed | None = None


@dataclass(frozen=True, slots=True)
class RunLineage:
    """What one run says of where things came from; ``files`` have the digests they had when it was made."""

    run: str
    pipeline: str
    git_commit: str
    files: Mapping[str, str]
    steps: Sequence[StepLineage]


@dataclass(frozen=True, slots=True)
class Vertex:
    """A thing that came from others, or that others came from.

    Attributes:
        key: ``file PATH@DIGEST``, ``code REF@FINGERPRINT``, ``step RUN/NODE``, or the address of a version.
        run, node: Of a step or a deployment; else empty.
    """

    key: str
    kind: VertexKind
    title: str
    notes: tuple[str, ...] = ()
    run: str = ""
    node: str = ""
    state: str = ""
    columns: tuple[Column, ...] = ()


class Edge(NamedTuple):
    """From what was there before to what came of it."""

    source: str
    target: str
    kind: EdgeKind


class ColumnPath(NamedTuple):
    """A column of a table, and the nearest tables before and behind it that have a column of that name."""

    column: Column
    sources: tuple[str, ...]
    targets: tuple[str, ...]


def step_key(run: str, node: str) -> str:
    """Key of a step."""
    return f"step {run}/{node}"


def file_key(path: str, digest: str) -> str:
    """Key of a file as it was."""
    return f"file {path}@{digest}"


@dataclass(slots=True)
class Lineage:
    """Vertices by key, in the order in which they became known, and the edges between them."""

    vertices: dict[str, Vertex] = field(default_factory=dict)
    edges: dict[Edge, None] = field(default_factory=dict)

    def add(self, run: RunLineage) -> None:
        """Take in what a run says."""
        for step in run.steps:
            self._add_step(run, step)

    def _add_step(self, run: RunLineage, step: StepLineage) -> None:
        key = step_key(run.run, step.node)
        kind: VertexKind = "step" if step.deployed is None else "deployment"
        title, notes = step.node, [step.output] if step.output else []
        if step.deployed is not None:
            title = f"{step.deployed.app} {step.deployed.version}".strip() or step.node
            notes = [step.deployed.outcome, step.node]
        if step.reused:
            notes.append(f"reused from {step.reused}")
        self.vertices[key] = Vertex(key, kind, title, tuple(filter(None, notes)), run.run, step.node, step.state,
                                    step.columns)  # fmt: skip
        for need in step.needs:
            self._edge(step_key(run.run, need), key, "data")
        for gate in step.decided_by:
            self._edge(step_key(run.run, gate), key, "decides")
        for path in step.files:
            digest = run.files.get(path, "")
            self._edge(self._known(file_key(path, digest), "file", path, digest[:12]), key, "data")
        for address in step.versions:
            self._edge(self._version(address), key, "data")
        if step.stage:
            code = f"code {step.stage}@{step.fingerprint}"
            self._edge(self._known(code, "code", step.stage, step.fingerprint[:12]), key, "code")
        for address in step.publishes:
            self._edge(key, self._version(address), "data")

    def _version(self, address: str) -> str:
        return self._known(address, "model" if address.startswith("model:") else "data", address)

    def _known(self, key: str, kind: VertexKind, title: str, *notes: str) -> str:
        self.vertices.setdefault(key, Vertex(key, kind, title, tuple(filter(None, notes))))
        return key

    def _edge(self, source: str, target: str, kind: EdgeKind) -> None:
        self.edges[Edge(source, target, kind)] = None

    # ---- looking

    def around(self, focus: Iterable[str], up: bool = True, down: bool = True, code: bool = True) -> Lineage:
        """What some vertices came from and what came of them; the code of every step that is left, unless unwanted.

        What came of a version is also what took it from the step that published it, in the same run.
        """
        wanted = [key for key in focus if key in self.vertices]
        left = dict.fromkeys(wanted)
        if up:
            left |= dict.fromkeys(self._reached(wanted, self._sources()))
        if down:
            makers = [edge.source for edge in self.edges if edge.target in wanted and edge.target.startswith(_VERSIONS)]
            left |= dict.fromkeys([*makers, *self._reached([*wanted, *makers], self._targets())])
        found = Lineage()
        coded = {edge.source for edge in self.edges if edge.kind == "code" and edge.target in left} if code else set()
        for key, vertex in self.vertices.items():
            if key in coded or (key in left and (code or vertex.kind != "code")):
                found.vertices[key] = vertex
        for edge in self.edges:
            if edge.source in found.vertices and edge.target in found.vertices:
                found.edges[edge] = None
        return found

    def columns(self, key: str) -> list[ColumnPath]:
        """Columns of a table with where each was before and where it went, told by its name."""
        sources, targets = self._sources(), self._targets()
        return [
            ColumnPath(
                column,
                tuple(self._nearest(key, column.name, sources)),
                tuple(self._nearest(key, column.name, targets)),
            )
            for column in self.vertices[key].columns
        ]

    def _nearest(self, key: str, column: str, ways: Mapping[str, Sequence[str]]) -> Iterator[str]:
        """The nearest tables in one direction that have a column; a table without it ends the search there."""
        pending, seen = list(ways.get(key, ())), {key}
        while pending:
            one = pending.pop(0)
            if one in seen:
                continue
            seen.add(one)
            vertex = self.vertices[one]
            if any(found.name == column for found in vertex.columns):
                yield one
            elif not vertex.columns:
                pending += ways.get(one, ())

    def _sources(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for edge in self.edges:
            if edge.source in self.vertices and edge.kind != "decides":
                found.setdefault(edge.target, []).append(edge.source)
        return found

    def _targets(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for edge in self.edges:
            if edge.target in self.vertices:
                found.setdefault(edge.source, []).append(edge.target)
        return found

    @staticmethod
    def _reached(focus: Sequence[str], ways: Mapping[str, Sequence[str]]) -> Iterator[str]:
        pending, seen = list(focus), set(focus)
        while pending:
            for one in ways.get(pending.pop(), ()):
                if one not in seen:
                    seen.add(one)
                    pending.append(one)
                    yield one


def needs_of(node: Node, nodes: Mapping[str, Node]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Steps whose outputs a node takes, and steps that decided whether it runs, wiring between them left out."""
    taken = dict.fromkeys(_behind((expr for expr in node.args.values()), nodes))
    guards = [nodes[guard.branch] for guard in node.guards if guard.branch in nodes]
    gates = dict.fromkeys(_behind((expr for gate in guards for expr in gate.args.values()), nodes))
    return tuple(taken), tuple(gate for gate in gates if gate not in taken)


def _behind(exprs: Iterable[Expr], nodes: Mapping[str, Node]) -> Iterator[str]:
    pending, seen = [ref.node for expr in exprs for ref in refs(expr)], set[str]()
    while pending:
        name = pending.pop(0)
        if name in seen or name not in nodes:
            continue
        seen.add(name)
        node = nodes[name]
        if node.kind in WIRING:
            taken = [expr for arg, expr in node.args.items() if not (node.kind == "choice" and arg == "branch")]
            pending += [ref.node for expr in taken for ref in refs(expr)]
        else:
            yield name
