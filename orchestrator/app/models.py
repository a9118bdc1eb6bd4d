"""Models in the registry: where each version stands, what it was made of, and what stands in the way of a promotion."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from orchestrator.app.installation import Installation, shared
from orchestrator.app.versions import Version, Versions
from orchestrator.backends.capsule import MANIFEST
from orchestrator.errors import ArtifactCorrupt, ArtifactMissing, ConfigError, NotFound
from orchestrator.graph import fact as f
from orchestrator.graph.node import Node, Ref, refs
from orchestrator.graph.version import check_tag, parse_version
from orchestrator.ports.promotion import (
    MODEL_STAGES,
    GateCheck,
    ModelStage,
    Promotion,
    Standing,
    Wanted,
    check_order,
    check_release,
    stage_for_release,
    stage_of,
)
from orchestrator.ports.values import Cell, Entry, describe, digest_of

if TYPE_CHECKING:
    from orchestrator.engine.cells import Cells
    from orchestrator.engine.state import RunFold
    from orchestrator.ports.registry import PublishedVersion

_PREFIX = "model:"
_CARD_TYPE = ":ModelCard"
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Source:
    """Data that a model was made of: what a step without inputs gave.

    Attributes:
        step: Its address in the run.
        rows: Length of its output; None if it has none, or is many outputs.
    """

    step: str
    type: str
    digest: str
    rows: int | None


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a version was made of, from the record of its run.

    Attributes:
        capsule: Digest of the run's code; ``commit`` is what was checked out in git where it was started.
        python: Version of Python that packed the code.
        hosts: Machines that its drivers ran on.
        files, versions: Files and named versions that the run was given, with digest or number.
        sources: What the steps gave that the model goes back to.
    """

    run: str
    pipeline: str
    step: str
    state: str
    commit: str
    capsule: str
    python: str
    hosts: tuple[str, ...]
    seed: int
    params: Mapping[str, str]
    files: Mapping[str, str]
    versions: Mapping[str, str]
    sources: tuple[Source, ...] = field(default=())


class ModelVersion(Version):
    """A version of a model, with what its run says about it; that is read on first use."""

    def __init__(self, installation: Installation, row: PublishedVersion) -> None:
        super().__init__(installation, row)

    @property
    def stage(self) -> ModelStage:
        """Where it stands: ``dev``, ``staging`` or ``production``."""
        return stage_of(self.row.tags)

    @cached_property
    def fold(self) -> RunFold | None:
        """State of the run that made it; None if that was removed."""
        try:
            return self._installation.fold(self.row.run)
        except (NotFound, ArtifactMissing):
            return None

    @cached_property
    def metrics(self) -> dict[str, float]:
        """What was reported last by the step that made it, or by the nearest one before it."""
        fold = self.fold
        if fold is None:
            return {}
        reported: dict[str, dict[str, float]] = {}
        for recorded in self._installation.journal.facts(self.row.run):
            if isinstance(recorded.fact, f.MetricsReported):
                reported.setdefault(recorded.fact.node, {}).update(recorded.fact.metrics)
        return next((reported[node] for node in _ancestors(fold, self.row.node) if node in reported), {})

    @cached_property
    def lineage(self) -> Lineage | None:
        """What it was made of; None if the record of its run was removed."""
        fold, here = self.fold, self._installation
        if fold is None or fold.created is None:
            return None
        made, drivers = fold.created, []
        for recorded in here.journal.facts(self.row.run):
            if isinstance(recorded.fact, f.DriverStarted):
                drivers.append(recorded.fact.host)
        return Lineage(
            fold.run, made.pipeline, self.row.node, here.journal.run(fold.run).state, made.git_commit, made.capsule,
            python_of(here, made.capsule), tuple(dict.fromkeys(drivers)), made.seed, dict(made.params),
            dict(made.files), dict(made.versions), tuple(_sources(here, fold, self.row.node)),
        )  # fmt: skip

    @cached_property
    def gates(self) -> list[GateCheck]:
        """What its run says for or against it: how it ended, and every gate in it."""
        fold = self.fold
        if fold is None:
            return [GateCheck("run", False, f"the record of its run {self.row.run} was removed")]
        state = fold.finished.state if fold.finished else "not ended"
        run = GateCheck("run", state == "succeeded", f"{fold.run} {state}")
        gates = list(_gates(self._installation, fold))
        return [run, *(gates or [GateCheck("gate", False, f"run {fold.run} has no gate, a when(….passed, …)")])]

    def card_cell(self) -> Cell:
        """Cell of the model card that its run made of this very content last; None if it made none."""
        fold = self.fold
        if fold is None:
            return None
        cells = self._installation.cells(fold.run)
        for state in reversed(list(fold.nodes.values())):
            span = None if state.node.many else state.outputs.find(0)
            cell = None if span is None else cells.at(span)
            if isinstance(cell, Entry) and cell.type.endswith(_CARD_TYPE) and self._is_given(fold, cells, state.node):
                return cell
        return None

    def _is_given(self, fold: RunFold, cells: Cells, node: Node) -> bool:
        """Whether an argument of a step had the content of this version."""
        for ref in (ref for expr in node.args.values() for ref in refs(expr)):
            span = None if fold.nodes[ref.node].node.many else fold.nodes[ref.node].outputs.find(0)
            cell = None if span is None else cells.part(span, ref.path)
            if cell is not None and digest_of(cell) == self.row.digest:
                return True
        return False


class Models:
    """Models of one installation: ``models["flights@production"]``.

    Args:
        installation: Whose registry; opened from the environment on first use when None.
    """

    def __init__(self, installation: Installation | None = None) -> None:
        self._given = installation

    @property
    def _installation(self) -> Installation:
        return self._given or shared().get()

    def __getitem__(self, address: str) -> ModelVersion:
        """``flights@v3``, ``model:flights@production``, or the newest ``flights``.

        Raises:
            NotFound: there is no such version.
            ConfigError: the text names no model.
        """
        here = self._installation
        return ModelVersion(here, here.registry.find(parse_version(model_address(address))))

    def list(self, name: str | None = None) -> list[ModelVersion]:
        """Versions by name, newest first; of one name if that is given."""
        here = self._installation
        wanted = None if name is None else parse_version(model_address(name)).name
        rows = here.registry.versions(wanted)
        return [ModelVersion(here, row) for row in rows if row.name.startswith(_PREFIX)]

    def standing(self, name: str) -> Standing:
        """Where the versions of a name stand."""
        return self._installation.registry.standing(parse_version(model_address(name)).name)

    def promotions(self, name: str) -> Sequence[Promotion]:
        """Promotions of the versions of a name, newest first."""
        return self._installation.registry.promotions(parse_version(model_address(name)).name)

    def wanted(
        self, address: str, to: str, by: str, why: str = "", force: bool = False, alias: str = ""
    ) -> tuple[ModelVersion, Wanted]:
        """A promotion that can be asked for, without checks as yet, and the version it is about.

        Raises:
            NotFound: there is no such version.
            ConfigError: there is no such stage, the alias cannot be one, or ``force`` comes without a reason.
            PromotionRefused: no check could make it right.
        """
        if to not in MODEL_STAGES:
            raise ConfigError(f"there is no stage {to!r}; a model goes to staging, to production, or back to dev")
        if force and not why.strip():
            raise ConfigError(
                "to go past checks that did not pass takes a reason, which is recorded: --force --why TEXT"
            )
        found = self[address]
        if alias:
            Versions.check_free(found.row.name, check_tag(alias))
        at = self._installation.clock.now()
        wanted = Wanted(found.row.name, found.row.number, to, by, at, why, force=force, alias=alias)
        check_order(self.standing(found.row.name), wanted)
        return found, wanted

    def releasable(self, address: str, stage: str | None = None, force: bool = False) -> ModelVersion:
        """The version that an address names, if it stands where a release takes it from.

        Args:
            stage: Where it has to stand at least; if not given, in production once any version of the name was
                promoted.
            force: Wherever it stands.

        Raises:
            NotFound: there is no such version.
            ConfigError: there is no such stage.
            PromotionRefused: it stands below that.
        """
        if stage is not None and stage not in MODEL_STAGES:
            raise ConfigError(f"there is no stage {stage!r}; a release takes a model from production, staging or dev")
        found = self[address]
        standing = self.standing(found.row.name)
        if not force:
            check_release(standing, found.address, found.row.number, stage or stage_for_release(standing))
        return found

    def promote(self, wanted: Wanted) -> Promotion:
        """Move a version and record that, in one transaction.

        Raises:
            PromotionRefused: it may not go there; nothing was changed.
        """
        return self._installation.registry.promote(wanted)


def model_address(text: str) -> str:
    """``flights@v3`` as ``model:flights@v3``; raises ConfigError for a data set."""
    if text.startswith("data:"):
        raise ConfigError(f"{text} is a data set, not a model; see orc versions")
    return text if text.startswith(_PREFIX) else _PREFIX + text


def _ancestors(fold: RunFold, node: str) -> Iterator[str]:
    """A node and those that its value goes back to, nearest first; guards decide whether, not what."""
    pending, seen = [node] if node in fold.nodes else [], {node}  # other code may have no such node any more
    while pending:
        name = pending.pop(0)
        yield name
        state = fold.nodes[name]
        needed = [ref.node for expr in state.node.args.values() for ref in refs(expr)]
        for found in (*needed, *((state.parent[0],) if state.parent else ())):
            if found not in seen:
                seen.add(found)
                pending.append(found)


def _sources(here: Installation, fold: RunFold, node: str) -> Iterator[Source]:
    cells = here.cells(fold.run)
    for name in _ancestors(fold, node):
        state = fold.nodes[name]
        span = state.outputs.find(0)
        if span is None or any(True for expr in state.node.args.values() for _ in refs(expr)) or name == node:
            continue
        cell = cells.at(span)
        seen = describe(cell)
        many = state.node.many and state.length != 1
        yield Source(name, seen.type, "" if many else digest_of(cell), None if many else seen.length)


def python_of(here: Installation, capsule: str) -> str:
    """Version of Python that packed the code of a run; empty if that is gone."""
    try:
        with zipfile.ZipFile(io.BytesIO(bytes(here.artifacts.get(capsule)))) as archive:
            return str(json.loads(archive.read(MANIFEST)).get("python", ""))
    except (ArtifactMissing, ArtifactCorrupt, zipfile.BadZipFile, KeyError, ValueError):
        return ""  # code that is gone has no version any more; the digest still names it


def _gates(here: Installation, fold: RunFold) -> Iterator[GateCheck]:
    """Each ``when`` on a field called ``passed`` that was reached."""
    for state in fold.nodes.values():
        value = state.node.args.get("value") if state.node.kind == "branch" else None
        if not isinstance(value, Ref) or not value.path or value.path[-1] != "passed" or state.skipped:
            continue
        if state.truth is None:
            yield GateCheck(value.node, False, "has not been decided")
        else:
            yield GateCheck(value.node, state.truth, _said(here, fold, value, state.truth))


def _said(here: Installation, fold: RunFold, value: Ref, passed: bool) -> str:
    """What a gate says, as far as its record is a value with findings or reasons; nothing is loaded."""
    state, path, cells = fold.nodes[value.node], list(value.path[:-1]), here.cells(fold.run)
    item = path.pop(0) if state.node.many and path else 0
    span = state.outputs.find(item) if isinstance(item, int) else None
    record = None if span is None else cells.part(span, path)
    findings = [] if record is None else _items(cells, record, "findings")
    if passed or record is None:
        checked = [check for finding in findings if isinstance(check := cells.child(finding, "check"), str)]
        return f"{len(checked)} findings" if len(checked) > _NAMED else ", ".join(checked)
    whys = [*_items(cells, record, "reasons"), *(cells.child(finding, "why") for finding in findings)]
    return "; ".join(dict.fromkeys(why for why in whys if isinstance(why, str) and why))


def _items(cells: Cells, record: Cell, name: str) -> list[Cell]:
    found = cells.child(record, name)
    return [] if found is None else cells.items(found) or []


models = Models()
