"""What a run's checks found and how its tables look, read from its facts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.errors import NotFound
from orchestrator.graph import fact as f
from orchestrator.graph.quality import CheckOutcome
from orchestrator.ports.values import Cell

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What one check found in what one step made.

    Attributes:
        item: The step's item; 0 if it has none.
        attempt: Which attempt made it, from 1.
        outcome: Name, severity, counts and message.
    """

    item: int
    attempt: int
    outcome: CheckOutcome
    _read: Callable[[], Any]

    @property
    def rows(self) -> Any:
        """The first failing rows, loaded in this process.

        Raises:
            NotFound: none were kept.
        """
        return self._read()


@dataclass(frozen=True, slots=True)
class CheckTotal:
    """What one check found in all items of a node.

    Attributes:
        state: ``passed``, ``warned`` or ``failed``: the worst of the items.
        items: How many items did not pass.
        message: Of the first that did not, or of the only one.
    """

    name: str
    severity: str
    state: str
    checked: int
    failed: int
    items: int
    message: str
    column: str


@dataclass(slots=True)
class QualityRecord:
    """The last report of each step, and the profiles of its tables."""

    reports: dict[str, dict[int, f.ChecksReported]] = field(default_factory=dict)
    profiles: dict[str, dict[int, f.TableProfiled]] = field(default_factory=dict)

    def add(self, fact: f.Fact) -> None:
        """Take a fact in; most say nothing about quality."""
        if isinstance(fact, f.ChecksReported):
            self.reports.setdefault(fact.node, {})[fact.index] = fact
        elif isinstance(fact, f.TableProfiled):
            self.profiles.setdefault(fact.node, {})[fact.index] = fact

    def totals(self, node: str) -> list[CheckTotal]:
        """What each check of a node found, in order."""
        found: dict[str, list[CheckOutcome]] = {}
        for _, report in sorted(self.reports.get(node, {}).items()):
            for outcome in report.results:
                found.setdefault(outcome.name, []).append(outcome)
        return [_total(outcomes) for outcomes in found.values()]

    def checks(self, here: Installation, run: str, node: str, item: int | None = None) -> list[CheckReport]:
        """What each check found in each step of a node, or in one of its items."""
        reports = self.reports.get(node, {})
        return [
            CheckReport(index, report.attempt, outcome, _reader(here, run, report, outcome))
            for index, report in sorted(reports.items())
            if item in (None, index)
            for outcome in report.results
        ]

    def rows_cell(self, here: Installation, run: str, node: str, check: str, item: int | None = None) -> Cell:
        """Cell of the failing rows of a check.

        Raises:
            NotFound: the node has no such check, or no rows of it were kept.
        """
        reports = [report for index, report in sorted(self.reports.get(node, {}).items()) if item in (None, index)]
        known = {outcome.name for report in reports for outcome in report.results}
        if check not in known:
            raise NotFound(f"run {run}: {node} has no check {check!r}; it has {', '.join(sorted(known)) or 'none'}")
        for report in reports:
            for outcome in report.results:
                if outcome.name == check and outcome.rows is not None:
                    return here.cells(run).chunk(report.chunk)[outcome.rows]
        raise NotFound(f"run {run}: no failing rows of check {check!r} of {node} were kept")


def quality_of(facts: Iterable[f.Recorded]) -> QualityRecord:
    """The record of these facts."""
    record = QualityRecord()
    for recorded in facts:
        record.add(recorded.fact)
    return record


def _reader(here: Installation, run: str, report: f.ChecksReported, outcome: CheckOutcome) -> Callable[[], Any]:
    def read() -> Any:
        if outcome.rows is None:
            raise NotFound(f"run {run}: no failing rows of check {outcome.name!r} of {report.node} were kept")
        return here.values.load(here.cells(run).chunk(report.chunk)[outcome.rows]).value

    return read


def _total(outcomes: list[CheckOutcome]) -> CheckTotal:
    missed = [outcome for outcome in outcomes if not outcome.passed]
    states = {outcome.state for outcome in outcomes}
    told = missed[0] if missed else outcomes[0]
    return CheckTotal(
        name=told.name,
        severity=told.severity,
        state=next(state for state in ("failed", "warned", "passed") if state in states),
        checked=sum(outcome.checked for outcome in outcomes),
        failed=sum(outcome.failed for outcome in outcomes),
        items=len(missed),
        message=told.message,
        column=told.column,
    )
