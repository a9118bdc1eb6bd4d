"""What runs where at the moment: the Ray of an installation if there is one, and the workers of runs under way.

Ray is asked on a thread of its own and with a time limit, so that a page never waits for a Ray that hangs: then it
says so, and shows what was seen last. What runs say comes from the journal, also when there is no cluster.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from orchestrator.app import standing
from orchestrator.app.waiting import Wait, waits_of
from orchestrator.backends.cluster_view import RayLook
from orchestrator.errors import ClusterUnreachable, ConfigError
from orchestrator.graph.node import Node
from orchestrator.readers.occupancy import Flight

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation
    from orchestrator.app.record import Records, RunRecord
    from orchestrator.ports.cluster import ClusterLook, ClusterView

MOST_RUNS = 20
"""Runs under way that are looked at."""

FRESH_S = 2.0
"""A view that is younger is not asked for again."""

ANSWER_S = 20.0
"""How long a cluster may take to answer; the first time this includes connecting."""

PATIENCE_S = 1.5
"""How long whoever asks waits for the answer; it comes with the next question."""

_OPEN = ("queued", "running", "waiting")

Source = Literal["none", "up", "address"]


@dataclass(frozen=True, slots=True)
class ClusterNow:
    """A cluster as far as it is known.

    Attributes:
        source: ``up`` for the one that ``orc up`` keeps, ``address`` for that of ``ORC_RAY_ADDRESS``.
        view: As it was seen last; None before it has answered.
        seen_at: When that was, in wall-clock seconds.
        problem: Why it could not be seen now; empty if it could.
    """

    source: Source
    address: str = ""
    view: ClusterView | None = None
    seen_at: float | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class WorkerNow:
    """A worker of a run and what it has."""

    name: str
    host: str
    pid: int
    flights: tuple[Flight, ...]


@dataclass(frozen=True, slots=True)
class RunNow:
    """A run under way: its workers, and what waits in it."""

    run: str
    pipeline: str
    state: str
    driver: str | None
    backend: str
    host: str
    slots: int
    workers: tuple[WorkerNow, ...]
    waits: tuple[Wait, ...]
    nodes: dict[str, Node] = field(default_factory=dict)


class ClusterWatch:
    """The cluster of an installation. Thread-safe; nothing here waits longer than ``PATIENCE_S``."""

    def __init__(self, installation: Installation) -> None:
        self._here = installation
        self._lock = threading.Lock()
        self._look: ClusterLook | None = None
        self._now = ClusterNow("none")
        self._asked_at = 0.0
        self._answered = threading.Event()
        self._asking = False

    def now(self) -> ClusterNow:
        """What is known; asks if that is not fresh, and waits a moment for the answer."""
        try:
            source, address, auth_mode = self._where()
        except ConfigError as error:
            return ClusterNow("address", self._here.settings.ray_address or "", problem=error.message)
        with self._lock:
            if (source, address) != (self._now.source, self._now.address):
                self._change(source, address, auth_mode)
            stale = time.monotonic() - self._asked_at > FRESH_S
            if self._look is not None and stale and not self._asking:
                self._asking = True
                self._answered.clear()
                arguments = (self._look, source, address)
                threading.Thread(target=self._ask, args=arguments, name="orc-cluster-look", daemon=True).start()
            waiting = self._asking
        if waiting:
            self._answered.wait(PATIENCE_S)
        return self._now

    def close(self) -> None:
        """End the process that looks."""
        with self._lock:
            if self._look is not None:
                self._look.close()

    def _where(self) -> tuple[Source, str, str]:
        settings = self._here.settings
        if settings.ray_address:
            return "address", settings.ray_address, ""
        ray = standing.find(settings)
        return ("none", "", "") if ray is None else ("up", ray.address, ray.auth_mode)

    def _change(self, source: Source, address: str, auth_mode: str) -> None:
        before, self._look = self._look, None
        if before is not None:  # it may be in the middle of a look that hangs
            threading.Thread(target=before.close, name="orc-cluster-close", daemon=True).start()
        self._now, self._asked_at = ClusterNow(source, address), 0.0
        if source != "none":
            self._look = RayLook(address, auth_mode, self._here.settings.logs_dir / "cluster.log")

    def _ask(self, look: ClusterLook, source: Source, address: str) -> None:
        view, problem = None, ""
        try:
            view = look.look(ANSWER_S)
        except ClusterUnreachable as error:
            problem = error.message
        finally:
            with self._lock:
                self._asking, self._asked_at = False, time.monotonic()
                if (source, address) == (self._now.source, self._now.address):
                    if view is not None:
                        self._now = ClusterNow(source, address, view, self._here.clock.now())
                    else:
                        self._now = ClusterNow(source, address, self._now.view, self._now.seen_at, problem)
            self._answered.set()


def runs_now(here: Installation, records: Records) -> tuple[list[RunNow], int]:
    """Runs under way, oldest first, and how many there are besides."""
    rows = [row for state in _OPEN for row in here.journal.runs(state=state, limit=MOST_RUNS + 1)]
    rows.sort(key=lambda row: row.created_at)
    found = []
    for row in rows[:MOST_RUNS]:
        with records.reading(row.id) as record:
            found.append(_run_now(record))
    return found, max(len(rows) - MOST_RUNS, 0)


def _run_now(record: RunRecord) -> RunNow:
    occupancy, driver = record.occupancy, record.occupancy.driver
    driven = record.driver is not None
    workers = tuple(
        WorkerNow(name, up.host if up else "", up.pid if up else 0, tuple(flights))
        for name, flights in occupancy.of_workers().items()
        if driven and ((up := occupancy.workers.get(name)) is not None or flights)
    )
    return RunNow(
        record.row.id, record.row.pipeline, record.row.state, record.driver, driver.backend if driver else "",
        driver.host if driver else "", driver.slots if driver else 0, workers, tuple(waits_of(record)),
        {name: state.node for name, state in record.fold.nodes.items()},
    )  # fmt: skip
