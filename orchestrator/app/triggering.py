"""Triggers at work: what ``orc up`` does so that pipelines run by themselves.

What has happened is noted with the place up to which it was looked for, in one file; only then are runs begun, each
with a key that makes it the only one. A process that dies in between finds the note, or looks again from the old place
and comes to the same keys. Runs are begun by processes of their own, as for the start button; see ``app.launching``.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.app.asking import Asked, Asking, Pause
from orchestrator.app.declared import Declared, Triggered, Watched, project_key
from orchestrator.app.installation import Installation
from orchestrator.app.launching import START_S, Begun, Order, Start, launch
from orchestrator.app.reading import Reader, Readers
from orchestrator.errors import NotFound, OrchestratorError
from orchestrator.graph.fact import FINISHED, Recorded
from orchestrator.graph.version import VersionAddress
from orchestrator.ports.journal import RunRow
from orchestrator.ports.triggers import Occurrence, VersionSeen
from orchestrator.triggers.queue import Firing, failed, forgotten, startable
from orchestrator.triggers.tags import AT_TAG, TAG, WHAT_TAG

DECLARED_S = 5.0
"""Time between two looks at the project's files."""

GONE_AFTER_S = 3600.0
"""A pipeline or trigger that is not there for so long was removed; a shorter absence forgets nothing."""

MOST = 100
"""Firings of a trigger that may wait; it does not look for more before some have begun."""

LAUNCHES = 4
"""Processes at a time that have not yet answered; others pass those that take longer than ``START_S`` for it."""

LONGEST_START_S = 600.0
"""A process that has begun no run by then is ended; until then it may, and its firing counts as one that goes on."""

Begin = Callable[[Firing, Triggered], str]
"""Begins the run of a firing, or finds the one that its key has; returns its id."""

Beside = Callable[[Callable[[], None]], None]
"""Has something done while this thread goes on."""

_log = logging.getLogger(__name__)


@dataclass
class TriggerTotals:
    """What is known of the triggers of a project.

    Attributes:
        places: Up to where each has looked; those of triggers that were removed are forgotten.
        firings: In the order in which they came.
        rested: The last beginning or end of a pause that a place takes into account, by trigger.
        problems: Why a trigger could not look.
    """

    places: dict[str, Any] = field(default_factory=dict)
    firings: list[Firing] = field(default_factory=list)
    rested: dict[str, float] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def reader_name(project: Path) -> str:
    """Name of the reader of a project's triggers."""
    return f"triggers-{project_key(project)}"


class RegistryWorld:
    """``ports.triggers.World`` on the installation's registry."""

    def __init__(self, here: Installation) -> None:
        self._here = here

    def newer(self, name: str, than: int) -> Sequence[VersionSeen]:
        """See ``World``."""
        found = [one for one in self._here.registry.versions(name) if one.number > than]
        return [VersionSeen(one.number, one.at) for one in reversed(found)]

    def named(self, name: str, tag: str) -> VersionSeen | None:
        """See ``World``."""
        try:
            found = self._here.registry.find(VersionAddress(name, tag))
        except NotFound:
            return None
        return VersionSeen(found.number, found.at)


class TriggersReader(Reader[None]):
    """Fires the triggers of a project.

    Args:
        declared: What the pipelines of the project declare; asked by default.
        begin: Begins runs; processes of their own by default.
        beside: Threads by default.
    """

    reads_facts = False

    def __init__(
        self,
        here: Installation,
        project: Path,
        declared: Callable[[], Sequence[Triggered]] | None = None,
        begin: Begin | None = None,
        beside: Beside | None = None,
    ) -> None:
        self.name = reader_name(project)
        self._here = here
        self._project = project
        self._begin = begin or self._launch
        self._beside = beside or _in_a_thread
        self._declared = declared or Declared(here, project).read
        self._declared_at = -DECLARED_S
        self._reading, self._unread = False, ""
        self._pipelines: dict[str, Triggered] | None = None
        self._asking = Asking(here, project)
        self._taken: list[Asked] = []
        self._world = RegistryWorld(here)
        self._lock = threading.Lock()
        self._starting: dict[str, float] = {}
        self._absent: dict[str, float] = {}
        self._answers: dict[str, tuple[str, str]] = {}
        self._totals = TriggerTotals()

    # ---- what happened

    def tick(self, now: float) -> None:
        """Find out what has happened since the last time, and put it into the queue."""
        self._read()
        with self._lock:
            pipelines = self._pipelines
        if pipelines is None:
            return  # nothing is known yet
        pauses, totals = self._asking.paused(), self._totals
        watched = {one.id: (one, pipeline) for pipeline in pipelines.values() for one in pipeline.triggers}
        waiting = Counter(one.trigger for one in totals.firings if one.state == "waiting")
        for name, (one, pipeline) in watched.items():
            if waiting[name] < MOST:  # what happens meanwhile is found later, from the place where it is
                self._look(one, pipeline, pauses.get(name), now)
        removed = self._removed(pipelines, watched)
        totals.places = {name: place for name, place in totals.places.items() if name not in removed}
        totals.problems = {name: text for name, text in totals.problems.items() if name in watched}
        totals.rested = {name: at for name, at in totals.rested.items() if name in pauses}
        self._taken = self._asking.waiting()
        self._queue([Firing(asked.key, asked.trigger, asked.pipeline, asked.at, now, asked.what, asked.by,
                            asked.values) for asked in self._taken])  # fmt: skip
        self._hear(now)
        self._follow(removed)
        totals.firings = forgotten(totals.firings)

    def _read(self) -> None:
        """Ask what is declared, beside this thread: code may take long to say it, and clocks go on."""
        now = self._here.clock.monotonic()
        if self._reading or now - self._declared_at < DECLARED_S:
            return
        self._reading, self._declared_at = True, now

        def work() -> None:
            try:
                found = {one.name: one for one in self._declared()}
                with self._lock:
                    self._pipelines = found
                self._unread = ""
            except OrchestratorError as error:
                if str(error) != self._unread:  # said once
                    _log.warning("triggers of %s cannot be read now: %s", self._project, error)
                self._unread = str(error)
            finally:
                self._reading = False

        self._beside(work)

    def _look(self, one: Watched, pipeline: Triggered, pause: Pause | None, now: float) -> None:
        totals, trigger = self._totals, one.trigger
        try:
            if one.id not in totals.places:
                totals.places[one.id] = trigger.begin(now, self._world)
            there = pause is None or self._rest(one, pipeline, pause, now)
            found = trigger.look(totals.places[one.id], now, self._world) if there else None
            totals.problems.pop(one.id, None)
        except OrchestratorError as error:
            totals.problems[one.id] = str(error)
            return
        if found is None:
            return
        totals.places[one.id] = found.place
        if pause is None or not pause.rests:
            self._queue([firing_of(one, pipeline, occurrence, now) for occurrence in found.occurrences])

    def _rest(self, one: Watched, pipeline: Triggered, pause: Pause, now: float) -> bool:
        """Bring a place to where each pause began, which counts, and to where it ended, which does not; each once.

        Returns:
            Whether it is there. What counts is taken look by look, as far as there is room for it.
        """
        totals = self._totals
        for at, counts in pause.turns():
            if at <= totals.rested.get(one.id, 0.0):
                continue
            while (found := one.trigger.look(totals.places[one.id], at, self._world)).place != totals.places[one.id]:
                totals.places[one.id] = found.place
                if counts:
                    self._queue([firing_of(one, pipeline, occurrence, now) for occurrence in found.occurrences])
                    return False
            totals.rested[one.id] = at
        return True

    def _queue(self, firings: Sequence[Firing]) -> None:
        known = {one.key for one in self._totals.firings} if firings else set()
        self._totals.firings += [one for one in firings if one.key not in known]

    def _hear(self, now: float) -> None:
        """Note what became of the runs that were to begin."""
        with self._lock:
            answers, self._answers = self._answers, {}
        for firing in [one for one in self._totals.firings if one.key in answers]:
            run, problem = answers[firing.key]
            if run:
                firing.state, firing.run, firing.problem = "begun", run, ""
            else:
                failed(firing, problem, now)
                _log.warning("trigger %s: no run for %s: %s", firing.trigger, firing.what, problem)
        self._starting = {key: since for key, since in self._starting.items() if key not in answers}

    def _removed(self, pipelines: Mapping[str, Triggered], watched: Collection[str]) -> set[str]:
        """Triggers and pipelines of which something is known, and that have not been there for long.

        As long as a file cannot be read, its triggers may be any: then none counts as away.
        """
        now, totals = self._here.clock.monotonic(), self._totals
        absent = {one.pipeline for one in totals.firings} - pipelines.keys()
        if all(not one.problem for one in pipelines.values()):
            absent |= totals.places.keys() - set(watched)
        self._absent = {name: self._absent.get(name, now) for name in absent}
        return {name for name, since in self._absent.items() if now - since > GONE_AFTER_S}

    def _follow(self, removed: Collection[str]) -> None:
        """Note which runs have ended, and which have begun although nobody heard of it."""
        for firing in self._totals.firings:
            if firing.state == "waiting" and firing.tries and firing.key not in self._starting:
                firing.run = self._run_of(firing)
                firing.state = "begun" if firing.run else firing.state
            if firing.state == "waiting" and firing.pipeline in removed:
                firing.state, firing.problem = "given up", "the project has no such pipeline any more"
            if firing.state != "begun":
                continue
            try:
                row = self._here.journal.run(firing.run)
            except NotFound:  # removed since
                firing.state = "over"
                continue
            if row.state in FINISHED:
                firing.state, firing.ended = "over", row.state

    def _run_of(self, firing: Firing) -> str:
        """The run that its key has; empty if there is none, or whoever made it died and nobody drives it."""
        journal = self._here.journal
        run = journal.run_of_key(firing.key)
        if run is None or (journal.run(run).state in ("queued", "running") and journal.owner(run) is None):
            return ""
        return run

    # ---- what follows from it

    def act(self, now: float) -> None:
        """Begin what may begin; all of it is noted."""
        for asked in self._taken:
            self._asking.noted(asked)
        self._taken = []
        paused = {name for name, pause in self._asking.paused().items() if pause.rests}
        pipelines = self._pipelines or {}
        limits = {one.name: one.concurrency for one in pipelines.values()}
        begin = self._here.clock.monotonic()
        free = LAUNCHES - sum(begin - since < START_S for since in self._starting.values())
        for firing in startable(self._totals.firings, limits, now, self._starting, paused)[: max(free, 0)]:
            self._starting[firing.key] = begin
            self._start(firing, pipelines[firing.pipeline])

    def _start(self, firing: Firing, pipeline: Triggered) -> None:
        """Begin a run beside this thread, which goes on looking."""

        def work() -> None:
            run, problem = "", ""
            try:
                run = self._run_of(firing) or self._begin(firing, pipeline)
            except OrchestratorError as error:
                problem = str(error)
            except Exception as error:
                _log.exception("trigger %s: no run could be begun", firing.trigger)
                problem = f"{type(error).__name__}: {error}"
            with self._lock:
                self._answers[firing.key] = run, problem

        self._beside(work)

    def _launch(self, firing: Firing, pipeline: Triggered) -> str:
        tags = {TAG: firing.trigger, AT_TAG: moment(firing.at), WHAT_TAG: firing.what}
        start = Start(what=str(pipeline.file), params=firing.values, tags=tags, on=None, key=firing.key)
        return launch(self._here, Order(start=start), Begun, self._project, LONGEST_START_S, ended=True).run

    # ---- facts and totals

    def begin(self, row: RunRow) -> None:
        """See ``Reader``."""

    def take(self, row: RunRow, state: None, facts: Sequence[Recorded], known: bool) -> None:
        """Not asked: it reads no facts."""

    def totals(self) -> Any:
        """See ``Reader``."""
        return self._totals

    def restore(self, totals: Any) -> None:
        """See ``Reader``."""
        self._totals = TriggerTotals() if totals is None else msgspec.convert(totals, TriggerTotals)


def _in_a_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="begins a run", daemon=True).start()


def firing_of(one: Watched, pipeline: Triggered, occurrence: Occurrence, now: float) -> Firing:
    """The firing of an occurrence; its key follows from both."""
    key = f"{one.id}/{occurrence.key}"
    values = dict(occurrence.values)
    return Firing(key, one.id, pipeline.name, occurrence.at, now, occurrence.what, values=values)


def moment(at: float) -> str:
    """A moment in UTC, as tags have it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@contextmanager
def triggering(here: Installation, project: str, enabled: bool = True) -> Iterator[None]:
    """Fire the triggers of a project as long as the context lasts; of none if there is no project."""
    readers = Readers(here, [TriggersReader(here, Path(project))] if enabled and project else [])
    try:
        yield
    finally:
        readers.close()
