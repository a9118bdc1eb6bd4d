"""One step of a run as its users see it: output, attempts, logs, metrics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.app.artifact import Artifact
from orchestrator.app.quality import CheckReport, QualityRecord
from orchestrator.app.step_log import read_log, written
from orchestrator.engine.state import DONE, STATUS_NAMES, RunFold
from orchestrator.errors import NotFound
from orchestrator.graph import fact as f
from orchestrator.graph.display import Shown
from orchestrator.ports.values import Cell

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation
    from orchestrator.views.step import StepView


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a step; ``failure`` is None if it completed or is under way."""

    number: int
    started_at: float
    worker: str
    failure: f.Failure | None


class Step(Shown):
    """One step, or all steps of a map if no item was named."""

    def __init__(self, installation: Installation, fold: RunFold, node: str, index: int | None) -> None:
        self._installation = installation
        self._fold = fold
        self._state = fold.nodes[node]
        self._index = index
        if index is not None and not 0 <= index < max(self._state.length, self._state.batches):
            raise NotFound(f"run {fold.run}: {node} has {self._state.length} items, there is no item {index}")

    def __repr__(self) -> str:
        return f"Step({self._fold.run!r}, {self.address!r}, state={self.state!r})"

    @property
    def address(self) -> str:
        """``scope/name#2`` or ``scope/name#2[7]``."""
        return self._state.node.id if self._index is None else f"{self._state.node.id}[{self._index}]"

    @property
    def state(self) -> str:
        """``open done failed skipped dropped retry waiting``; for a whole map ``done`` if all its items are."""
        if self._index is None and self._state.node.is_map:
            return "done" if self._state.has_output else "failed" if self._state.failures else "open"
        return STATUS_NAMES[self._state.status[self._index or 0]]

    @property
    def failure(self) -> f.Failure | None:
        """Why the step's last failed attempt failed."""
        return self._state.failures.get(self._index or 0)

    def cells(self) -> list[Cell]:
        """Cells of the outputs: one for a single step or item, all in order for a map or stream."""
        cells = self._installation.cells(self._fold.run)
        if self._index is not None or not self._state.node.many:
            span = self._state.outputs.find(self._index or 0)
            if span is None:
                raise NotFound(f"run {self._fold.run}: {self.address} has no output; it is {self.state}")
            return [cells.at(span)]
        spans = self._state.outputs.spans
        return [cell for s in spans for cell in cells.chunk(s.chunk)[s.at : s.at + s.stop - s.start]]

    @property
    def output(self) -> Any:
        """The output, loaded in this process: a list for a whole map or stream.

        Raises:
            NotFound: the step has no output.
            ArtifactMissing, ArtifactCorrupt, SignatureInvalid: the stored bytes are gone or not what was written.
        """
        loaded = [self._installation.values.load(cell).value for cell in self.cells()]
        return loaded if self._index is None and self._state.node.many else loaded[0]

    @property
    def artifacts(self) -> list[Artifact]:
        """The outputs as they are stored, not loaded: one for a single step or item, all in order for a map or stream.

        Raises:
            NotFound: the step has no output.
        """
        many = self._index is None and self._state.node.many
        name = self._state.node.id
        return [
            Artifact(self._installation, cell, f"{name}[{place}]" if many else self.address)
            for place, cell in enumerate(self.cells())
        ]

    @property
    def artifact(self) -> Artifact:
        """The output as it is stored, not loaded, of a single step or item.

        Raises:
            NotFound: the step has no output, or it has one for each item: name one, or see ``artifacts``.
        """
        found = self.artifacts
        if len(found) != 1:
            raise NotFound(
                f"run {self._fold.run}: {self.address} has {len(found)} outputs; name one, or see .artifacts"
            )
        return found[0]

    def view(self) -> StepView:
        """All that is on record of the step, for drawing."""
        from orchestrator.app.report import Report

        return Report(self._installation, self._fold.run).step(self._state.node.id, self._index)

    @property
    def attempts(self) -> list[Attempt]:
        """Attempts in order; for a whole map those of all items. Reused outputs have none."""
        found: list[Attempt] = []
        for recorded in self._facts():
            fact = recorded.fact
            if isinstance(fact, f.StepsStarted):
                found.append(Attempt(len(found) + 1, recorded.at, fact.worker, None))
            elif isinstance(fact, f.AttemptFailed | f.StepFailed) and found:
                last = found[-1]
                found[-1] = Attempt(last.number, last.started_at, last.worker, fact.failure)
        return found

    @property
    def metrics(self) -> list[dict[str, float]]:
        """What the step reported with ``step().report(...)``, in order."""
        return [dict(r.fact.metrics) for r in self._facts() if isinstance(r.fact, f.MetricsReported)]

    @property
    def checks(self) -> list[CheckReport]:
        """What the stage's checks found in the output of the last attempt; for a whole map, item by item."""
        return self._quality().checks(self._installation, self._fold.run, self._state.node.id, self._index)

    @property
    def profiles(self) -> list[dict[str, Any]]:
        """How the tables of the output look, by part (an empty name for the output itself); one entry a step."""
        cells, load = self._installation.cells(self._fold.run), self._installation.values.load
        found = sorted(self._quality().profiles.get(self._state.node.id, {}).items())
        return [load(cells.chunk(fact.chunk)[fact.at]).value for index, fact in found if self._index in (None, index)]

    def _quality(self) -> QualityRecord:
        record = QualityRecord()
        for recorded in self._facts():
            record.add(recorded.fact)
        return record

    @property
    def logs(self) -> str:
        """What the step wrote to its standard streams, all attempts in order."""
        facts = (recorded.fact for recorded in self._facts())
        told = (fact for fact in facts if isinstance(fact, f.LogsWritten))
        parts = (part for fact in told for _, part in written(fact, self._index))
        return read_log(self._installation.settings.logs_dir, parts)

    @property
    def elapsed_s(self) -> float | None:
        """Wall time of the body (of all bodies, for a map) in seconds; None if nothing ran."""
        total, seen = 0, False
        for recorded in self._facts():
            fact = recorded.fact
            if isinstance(fact, f.StepsCompleted) and fact.elapsed_us:
                for index in range(fact.start, fact.stop):
                    if self._index in (None, index):
                        place = 4 * (index - fact.start)
                        total += int.from_bytes(fact.elapsed_us[place : place + 4], "little")
                        seen = True
        return total / 1e6 if seen else None

    @property
    def done(self) -> bool:
        """True if the step has its output."""
        return self._state.has_output if self._index is None else self._state.status[self._index] == DONE

    def _facts(self) -> Iterator[f.Recorded]:
        node, index = self._state.node.id, self._index
        for recorded in self._installation.journal.facts(self._fold.run):
            for fact in f.apart(recorded.fact):
                if getattr(fact, "node", None) == node and (index is None or _concerns(fact, index)):
                    yield f.Recorded(recorded.seq, recorded.at, fact)


def _concerns(fact: Any, index: int) -> bool:
    """True if a fact about a node is about this item (or about the whole node)."""
    if hasattr(fact, "start"):
        return bool(fact.start <= index < fact.stop)
    return bool(getattr(fact, "index", index) == index)
