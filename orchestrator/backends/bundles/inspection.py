"""What a worker learns about outputs beside making them: results of the stage's checks, and profiles of tables.

Checks run on what the body returned, before that counts. Each gives an outcome, also one that raises. What they found
goes to the driver whether the step passes or not; after that a failed check that blocks fails the attempt.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestrator.backends.bundles.conformance import KEPT_ROWS, conforms
from orchestrator.backends.bundles.profile import Profiler
from orchestrator.backends.bundles.tables import as_table
from orchestrator.errors import ChecksFailed
from orchestrator.graph.node import Node
from orchestrator.graph.quality import CheckOutcome, CheckResult, Conforms, kind_of
from orchestrator.ports.values import Values, decode_cell

if TYPE_CHECKING:
    from orchestrator.backends.bundles.outbox import Outbox
    from orchestrator.backends.bundles.watchdog import Watch

MESSAGE_CHARS = 1_000
"""Of one check, in the journal."""


class Inspection:
    """What the checks of one attempt found; of a stream, in all batches so far.

    Attributes:
        outcomes: One for each check, in order.
        cells: Encoded failing rows, numbered by ``CheckOutcome.rows``.
    """

    def __init__(self, address: str, checks: Sequence[Any], values: Values, arguments: Mapping[str, Any]) -> None:
        self.outcomes: list[CheckOutcome] = []
        self.cells: list[bytes] = []
        self._address = address
        self._checks = checks
        self._values = values
        self._arguments = arguments

    def look(self, output: object) -> None:
        """Run all checks on an output, or on one more batch of it."""
        found = [self._outcome(check, output) for check in self._checks]
        self.outcomes = list(map(_together, self.outcomes, found)) if self.outcomes else found

    def raise_if_blocked(self) -> None:
        """Raise ChecksFailed if a check failed that blocks."""
        failed = [one for one in self.outcomes if one.state == "failed"]
        if failed:
            said = "; ".join(f"{one.name}: {one.message}" for one in failed)
            rows = any(one.rows is not None for one in failed)
            kept = f" (the failing rows are kept: orc quality RUN {self._address})" if rows else ""
            raise ChecksFailed(
                f"what {self._address} returned did not pass {len(failed)} of its "
                f"{len(self.outcomes)} checks: {said}{kept}",
                checks=[one.name for one in failed],
            )

    def _outcome(self, check: Any, output: object) -> CheckOutcome:
        try:
            found = conforms(check, output) if isinstance(check, Conforms) else check.check(output, self._arguments)
            if not isinstance(found, CheckResult):
                raise TypeError(f"it returned a {type(found).__name__}, not a CheckResult")
            kept = found.failed and found.rows is not None
            rows = self._keep(found.rows) if kept else None
            message = str(found.message)
            passed, checked, failed = bool(found.passed), int(found.checked), int(found.failed)
        except Exception as error:
            message = f"the check itself raised {type(error).__name__}: {error}"
            return CheckOutcome(check.name, check.severity, False, message=_short(message), kind=kind_of(check))
        return CheckOutcome(
            check.name,
            check.severity,
            passed,
            checked,
            failed,
            _short(message),
            str(found.column),
            rows,
            kind_of(check),
        )

    def _keep(self, rows: object) -> int:
        table = as_table(rows)
        self.cells.append(self._values.encode(rows if table is None else table.slice(0, KEPT_ROWS)))
        return len(self.cells) - 1


class Inspector:
    """The checks of one node.

    Args:
        report: Tells the driver what an inspection found, given the item.
    """

    def __init__(
        self,
        values: Values,
        node: Node,
        function: Callable[..., Any],
        report: Callable[[Inspection, int], None],
    ) -> None:
        self._values = values
        self._node = node
        self._function = function
        self._report = report
        self._checks: Sequence[Any] | None = None

    @contextmanager
    def inspecting(self, index: int, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[Inspection]:
        """An inspection of one attempt, reported at its end, whichever that is."""
        node = self._node
        if self._checks is None:
            assert node.checks is not None
            self._checks = self._values.load(decode_cell(node.checks.cell or b"\xc0")).value
        arguments = inspect.signature(self._function).bind(*args, **kwargs).arguments if args else kwargs
        address = f"{node.id}[{index}]" if node.is_map else node.id
        inspection = Inspection(address, self._checks, self._values, arguments)
        try:
            yield inspection
        finally:
            if inspection.outcomes:
                self._report(inspection, index)


class Observer:
    """Checks and profiles what the steps of one bundle return, and tells the driver.

    Args:
        watch: Keeps interruptions away while something is being told.
    """

    def __init__(self, bundle: str, values: Values, outbox: Outbox, watch: Watch) -> None:
        self._bundle = bundle
        self._values = values
        self._outbox = outbox
        self._watch = watch
        self._profiler = Profiler()

    def inspector(self, node: Node, function: Callable[..., Any], attempts: Mapping[int, int]) -> Inspector:
        """The checks of a node; ``attempts`` are numbers by item where they are not 1."""

        def report(inspection: Inspection, index: int) -> None:
            with self._watch.shield():
                self._outbox.checked(
                    self._bundle, node.id, index, attempts.get(index, 1), inspection.outcomes, inspection.cells
                )

        return Inspector(self._values, node, function, report)

    def profile(self, node: str, index: int, output: object, elapsed_us: int) -> None:
        """Describe the tables in an output, within what that may cost beside the body."""
        found = self._profiler.profile(output, elapsed_us)
        if found is not None:
            cell = self._values.encode(found)
            with self._watch.shield():
                self._outbox.profiled(self._bundle, node, index, cell)


def _together(before: CheckOutcome, now: CheckOutcome) -> CheckOutcome:
    """The outcome of a check over one more batch: the first failure is the one that is told."""
    told = before if not before.passed or now.passed else now
    return replace(
        told,
        passed=before.passed and now.passed,
        checked=before.checked + now.checked,
        failed=before.failed + now.failed,
        rows=now.rows if before.rows is None else before.rows,
    )


def _short(text: str) -> str:
    return text if len(text) <= MESSAGE_CHARS else f"{text[:MESSAGE_CHARS]} …"
