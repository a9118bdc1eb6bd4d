"""What differs between runs, and where it began: parameters, data, code, environment, steps, metrics and curves.

``compare`` takes what is on record of each run as a ``RunSide``; the first run is the one that the others are
measured against. What a run's facts say besides its graph and its outputs is gathered by a ``RunTrace``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from orchestrator.graph import fact as f
from orchestrator.graph.node import Const, DictExpr, Expr, Graph, ListExpr, Node, SecretRef, dependencies
from orchestrator.ports.values import decode_cell, describe, digest_bytes, shorten

_MOST_CURVES = 200
_LITTLE = memoryview(b"\x01\0\0\0").cast("I")[0] == 1


@dataclass(slots=True)
class RunTrace:
    """What the facts of one run say of its surroundings, its measurements and its time.

    Attributes:
        curves: What was reported, in order, by step and metric: ``train auc``, ``train[3] auc``.
        busy_s: Wall time of the bodies of a node's steps, together.
        many: Nodes whose steps are items.
    """

    many: frozenset[str] = frozenset()
    drivers: list[f.DriverStarted] = field(default_factory=list)
    hosts: dict[str, None] = field(default_factory=dict)
    curves: dict[str, list[float]] = field(default_factory=dict)
    busy_s: dict[str, float] = field(default_factory=dict)

    def add(self, fact: f.Fact) -> None:
        """Take a fact in."""
        if isinstance(fact, f.DriverStarted):
            self.drivers.append(fact)
            self.hosts[fact.host] = None
        elif isinstance(fact, f.WorkerStarted):
            self.hosts[fact.host] = None
        elif isinstance(fact, f.MetricsReported):
            step = f"{fact.node}[{fact.index}]" if fact.node in self.many else fact.node
            for name, value in fact.metrics.items():
                key = f"{step} {name}"
                if key in self.curves or len(self.curves) < _MOST_CURVES:
                    self.curves.setdefault(key, []).append(value)
        else:
            for one in f.apart(fact):
                if isinstance(one, f.StepsCompleted) and one.elapsed_us:
                    self.busy_s[one.node] = self.busy_s.get(one.node, 0.0) + _sum_us(one.elapsed_us) / 1e6


def _sum_us(data: bytes) -> int:
    """Sum of little-endian uint32."""
    if _LITTLE:
        return sum(memoryview(data).cast("I"))
    return sum(int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4))


class Packed(NamedTuple):
    """Outputs that are too many to look at one by one: equal if they are stored as the same, else unknown."""

    steps: int
    digest: str


@dataclass(frozen=True, slots=True)
class RunSide:
    """One run, as far as it is compared.

    Attributes:
        graph: With the calls that ``@dynamic`` bodies have made.
        outputs: Of each node the digest of what each of its steps gave, or what became of the step.
        previews: What single outputs look like, by node.
        environment: What it ran with and on, in words, by name.
    """

    run: str
    pipeline: str
    state: str
    created: f.RunCreated
    graph: Graph
    outputs: Mapping[str, Sequence[str] | Packed]
    trace: RunTrace
    previews: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    took_s: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One thing and what it is in each run; None where a run has no such thing."""

    name: str
    values: tuple[str | None, ...]

    @property
    def equal(self) -> bool:
        """The same in all runs."""
        return len(set(self.values)) == 1


@dataclass(frozen=True, slots=True)
class Series:
    """A metric as it was reported in each run, in order; empty where it was not."""

    name: str
    values: tuple[tuple[float, ...], ...]

    @property
    def last(self) -> Row:
        """The values that were reported last."""
        return Row(self.name, tuple(f"{one[-1]:.6g}" if one else None for one in self.values))


@dataclass(frozen=True, slots=True)
class StepRow:
    """One node and what came of it in each run.

    Attributes:
        outcomes: Digest of all its outputs, or what became of it (``failed``); None where a run has no such node.
        differing: How many of its ``steps`` differ in some run; None if they could not all be looked at.
        causes: Why it differs, as far as the record knows; empty if it does not.
        own: It differs although no input from another step does.
        busy_s: Wall time of its bodies in each run; None where nothing was measured.
    """

    address: str
    outcomes: tuple[str | None, ...]
    steps: int
    differing: int | None
    causes: tuple[str, ...]
    own: bool
    previews: tuple[str, ...]
    busy_s: tuple[float | None, ...]

    @property
    def equal(self) -> bool:
        """It gave the same in all runs."""
        return self.differing == 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs between runs; rows in which nothing differs are there as well."""

    runs: tuple[str, ...]
    summary: tuple[Row, ...]
    params: tuple[Row, ...]
    data: tuple[Row, ...]
    code: tuple[Row, ...]
    environment: tuple[Row, ...]
    steps: tuple[StepRow, ...]
    series: tuple[Series, ...]

    @property
    def metrics(self) -> tuple[Row, ...]:
        """What was reported last."""
        return tuple(one.last for one in self.series)

    @property
    def first(self) -> StepRow | None:
        """The first step, in the order of the graph, that differs by itself; None if all steps gave the same."""
        differing = [step for step in self.steps if not step.equal]
        return next((step for step in differing if step.own), differing[0] if differing else None)

    @property
    def identical(self) -> bool:
        """Every step gave the same in all runs."""
        return all(step.equal for step in self.steps)


def compare(sides: Sequence[RunSide]) -> Comparison:
    """What differs between runs, of which there are at least two."""
    return Comparison(
        runs=tuple(side.run for side in sides),
        summary=tuple(_summary(sides)),
        params=tuple(_with_defaults(row, sides) for row in _rows([side.created.params for side in sides])),
        data=_rows([_data(side.created) for side in sides]),
        code=_rows([_code(side.graph) for side in sides]),
        environment=_rows([side.environment for side in sides]),
        steps=tuple(_Steps(sides).rows()),
        series=tuple(_series(sides)),
    )


def _with_defaults(row: Row, sides: Sequence[RunSide]) -> Row:
    """A parameter with its default in a run that was not given it."""
    given = zip(row.values, sides, strict=True)
    return Row(row.name, tuple(_default(side.graph, row.name) if value is None else value for value, side in given))


def _default(graph: Graph, name: str) -> str | None:
    expr = graph.params.get(name)
    return describe(decode_cell(expr.cell)).preview if isinstance(expr, Const) and expr.cell is not None else None


def _summary(sides: Sequence[RunSide]) -> Iterator[Row]:
    yield Row("pipeline", tuple(side.pipeline for side in sides))
    yield Row("state", tuple(side.state for side in sides))
    yield Row("took", tuple(None if side.took_s is None else f"{side.took_s:.3f} s" for side in sides))


def _rows(found: Sequence[Mapping[str, str]]) -> tuple[Row, ...]:
    """A row for each name that occurs."""
    return tuple(Row(name, tuple(one.get(name) for one in found)) for name in _merged([list(one) for one in found]))


def _merged(orders: Sequence[Sequence[str]]) -> list[str]:
    """All names once, each behind what stands before it where it occurs first."""
    merged: list[str] = []
    for order in orders:
        place = 0
        known = {name: at for at, name in enumerate(merged)}
        fresh: list[tuple[int, str]] = []
        for name in order:
            if name in known:
                place = max(place, known[name] + 1)
            else:
                fresh.append((place, name))
        for place, name in reversed(fresh):
            merged.insert(place, name)
    return merged


def _data(created: f.RunCreated) -> dict[str, str]:
    """Files, named versions and cursors that a run was given."""
    cursors = {f"cursor {name}": one.value for name, one in created.cursors.items()}
    return {**created.files, **created.versions, **cursors}


def _code(graph: Graph) -> dict[str, str]:
    """Fingerprint of each stage."""
    stages = (node.stage for node in graph.nodes if node.stage is not None)
    return {stage.ref: stage.fingerprint for stage in stages}


def _series(sides: Sequence[RunSide]) -> Iterator[Series]:
    for name in _merged([list(side.trace.curves) for side in sides]):
        yield Series(name, tuple(tuple(side.trace.curves.get(name, ())) for side in sides))


class _Steps:
    """Goes through the nodes of all runs in the order of their graphs."""

    def __init__(self, sides: Sequence[RunSide]) -> None:
        self._sides = sides
        self._nodes = [{node.id: node for node in side.graph.nodes} for side in sides]
        self._differing: set[str] = set()

    def rows(self) -> Iterator[StepRow]:
        for address in _merged([list(nodes) for nodes in self._nodes]):
            found = [nodes.get(address) for nodes in self._nodes]
            if any(node is not None and node.kind in ("choice", "pack") for node in found):
                self._pass_on(address, found)
                continue
            yield self._row(address, found)

    def _pass_on(self, address: str, found: Sequence[Node | None]) -> None:
        """Wiring has the differences of what it takes."""
        if any(ref.node in self._differing for node in found if node is not None for ref in dependencies(node)):
            self._differing.add(address)

    def _row(self, address: str, found: Sequence[Node | None]) -> StepRow:
        seen = [side.outputs.get(address, ()) for side in self._sides]
        differing = _count_differing(seen) if None not in found else max(map(_steps, seen)) or 1
        causes, own = ((), False) if differing == 0 else self._causes(found, differing is None)
        if differing != 0:
            self._differing.add(address)
        outcomes = (None if node is None else _outcome(one) for one, node in zip(seen, found, strict=True))
        return StepRow(
            address, tuple(outcomes), max(map(_steps, seen)), differing, causes, own,
            tuple(side.previews.get(address, "") for side in self._sides),
            tuple(side.trace.busy_s.get(address) for side in self._sides),
        )  # fmt: skip

    def _causes(self, found: Sequence[Node | None], packed: bool) -> tuple[tuple[str, ...], bool]:
        base = found[0]
        missing = [side.run for side, node in zip(self._sides, found, strict=True) if node is None]
        if base is None or missing:
            return (f"not in {', '.join(missing)}",), True
        causes: dict[str, None] = {}
        for side, node in zip(self._sides[1:], found[1:], strict=True):
            assert node is not None
            causes.update(dict.fromkeys(_own_causes(self._sides[0], base, side, node)))
        needed = {ref.node: None for node in found if node is not None for ref in dependencies(node)}
        inputs = [name for name in needed if name in self._differing]
        told = [*causes, *([f"its input {', '.join(inputs)} differs"] if inputs else [])]
        if not told and packed:
            told = ["it has too many steps to compare them one by one, and they are not stored as the same"]
        elif not told:
            told = ["same code and inputs: it is not deterministic, or something outside of the run has changed"]
        return tuple(told), not inputs


def _own_causes(was: RunSide, before: Node, now: RunSide, after: Node) -> Iterator[str]:
    """Why a node may differ from that of another run, inputs from other steps left out."""
    if before.stage is not None and after.stage is not None:
        if before.stage.ref != after.stage.ref:
            yield f"it calls {after.stage.ref} instead of {before.stage.ref}"
        elif before.stage.fingerprint != after.stage.fingerprint:
            yield f"the code of {after.stage.ref} differs"
    for name in _merged([list(before.args), list(after.args)]):
        one, other = before.args.get(name), after.args.get(name)
        if not _same(one, other):
            yield f"{name} is {_told(other)} instead of {_told(one)}"
    for path in _files(after):
        old, new = was.created.files.get(path), now.created.files.get(path)
        if old is not None and new is not None and old != new:
            yield f"file {path} differs"
    if was.created.cursors != now.created.cursors and not after.args:
        yield "cursors stood elsewhere"
    if before.policy.resources != after.policy.resources:
        yield "it asks for other resources"


def _same(one: Expr | None, other: Expr | None) -> bool:
    return one == other or (isinstance(one, Const) and isinstance(other, Const) and one.cell == other.cell is not None)


def _told(expr: Expr | None) -> str:
    if expr is None:
        return "nothing"
    if isinstance(expr, Const):
        return shorten(repr(expr.value)) if expr.cell is None else describe(decode_cell(expr.cell)).preview
    if isinstance(expr, SecretRef):
        return f"secret {expr.reference}"
    if isinstance(expr, ListExpr | DictExpr):
        return "a list" if isinstance(expr, ListExpr) else "a dict"
    return expr.node + "".join(f".{one}" if isinstance(one, str) else f"[{one!r}]" for one in expr.path)


def _files(node: Node) -> Iterator[str]:
    """Paths of files that a node is given as constants."""
    for name in node.stage.files if node.stage is not None else ():
        expr = node.args.get(name)
        if isinstance(expr, Const) and expr.cell is not None:
            cell = decode_cell(expr.cell)
            if isinstance(cell, str):
                yield cell


def _steps(seen: Sequence[str] | Packed) -> int:
    return seen.steps if isinstance(seen, Packed) else len(seen)


def _count_differing(found: Sequence[Sequence[str] | Packed]) -> int | None:
    """How many steps differ between runs; None if that cannot be told."""
    known = [one for one in found if not isinstance(one, Packed)]
    if len(known) < len(found):
        return 0 if len(set(map(_outcome, found))) == 1 else None
    if all(one == known[0] for one in known[1:]):
        return 0
    return sum(len({one[at] if at < len(one) else "" for one in known}) > 1 for at in range(max(map(len, known))))


def _outcome(seen: Sequence[str] | Packed) -> str:
    """One word for all steps of a node."""
    if isinstance(seen, Packed):
        return seen.digest
    return seen[0] if len(seen) == 1 else digest_bytes("\n".join(seen).encode())
