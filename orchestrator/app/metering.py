"""The reader behind ``/metrics``: counts over all runs, kept with its place, and how many runs there are right now."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from orchestrator.app.installation import Installation
from orchestrator.app.reading import Keeper, Reader
from orchestrator.config.prices import read_prices
from orchestrator.errors import OrchestratorError
from orchestrator.graph.fact import FINISHED, Recorded
from orchestrator.graph.node import Graph
from orchestrator.ports.journal import RunRow
from orchestrator.readers.metrics import RunMeter, Totals, known_stages

_SAVED_AFTER_S = 5.0


class MetricsReader(Reader[RunMeter]):
    """Counts what the facts say."""

    name = "metrics"
    from_the_start = True

    def __init__(self, here: Installation) -> None:
        self._here = here
        self._prices = read_prices(here.settings.home)
        self._stages: dict[str, set[str]] = {}
        self.counted = Totals()

    def begin(self, row: RunRow) -> RunMeter:
        """See ``Reader``."""
        stages = self._stages.setdefault(row.pipeline, set())
        return RunMeter(row.pipeline, self._graph(row.id), self._prices, stages)

    def _graph(self, run: str) -> Graph | None:
        try:
            return self._here.graph(self._here.created(run))
        except OrchestratorError:  # collected, or of another installation: counts are told without it
            return None

    def take(self, row: RunRow, state: RunMeter, facts: Sequence[Recorded], known: bool) -> None:
        """See ``Reader``."""
        state.take(facts, Totals() if known else self.counted)

    def totals(self) -> Any:
        """See ``Reader``."""
        return self.counted

    def restore(self, totals: Any) -> None:
        """See ``Reader``."""
        self.counted = msgspec.convert(totals, Totals)
        self._stages = {pipeline: set(stages) for pipeline, stages in known_stages(self.counted).items()}


class Metering:
    """Figures that are up to date whenever they are asked for. Thread-safe.

    What is new is read when somebody asks, so a server that nobody scrapes reads nothing; a scrape costs what was
    committed since the last one.
    """

    def __init__(self, here: Installation) -> None:
        self._here = here
        self._lock = threading.Lock()
        self._keeper: Keeper[RunMeter] | None = None

    def figures(self) -> tuple[Totals, Counter[tuple[str, str]]]:
        """All that was counted, and the number of runs that have not ended by pipeline and state."""
        with self._lock:
            if self._keeper is None:
                self._keeper = Keeper(self._here, MetricsReader(self._here), save_every_s=_SAVED_AFTER_S)
            self._keeper.round()
            reader = self._keeper.reader
            assert isinstance(reader, MetricsReader)
            counted = msgspec.convert(msgspec.to_builtins(reader.counted), Totals)
        return counted, self._unfinished()

    def _unfinished(self) -> Counter[tuple[str, str]]:
        found: Counter[tuple[str, str]] = Counter()
        for run in list(self._keeper.place.open if self._keeper else ()):
            try:
                row = self._here.journal.run(run)
            except OrchestratorError:
                continue
            if row.state not in FINISHED:
                driven = row.state != "running" or self._here.journal.owner(row.id) is not None
                found[row.pipeline, row.state if driven else "running, driver: none"] += 1
        return found
