"""A home with a clock and what ``orc up`` does there for triggers; whoever it is can be killed at any write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.app.asking import Asked, Asking
from orchestrator.app.declared import Triggered, Watched, trigger_id
from orchestrator.app.installation import Installation
from orchestrator.app.reading import Keeper
from orchestrator.app.triggering import TriggersReader, moment
from orchestrator.config.settings import Settings
from orchestrator.graph import fact as f
from orchestrator.ports.journal import Append, Ownership, RunRow
from orchestrator.ports.triggers import Trigger
from orchestrator.testing.clock import FakeClock
from orchestrator.triggers import cron
from orchestrator.triggers.queue import Firing

BEGIN = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC
EACH_MINUTE = cron("* * * * *", misfire="all")


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Killing:
    """Ends the process at a write; 0 for never."""

    at: int = 0
    count: int = 0

    def point(self) -> None:
        self.count += 1
        if self.count == self.at:
            raise Killed


def watched(name: str, *triggers: Trigger, concurrency: int | None = None, problem: str = "") -> Triggered:
    found = tuple(Watched(trigger_id(name, one), one) for one in triggers)
    return Triggered(name, Path(f"{name}.yaml"), found, concurrency, (), problem)


class DyingKeeper(Keeper[None]):
    """Notes what it knows, unless it is killed right before or after that."""

    killing = Killing()

    def save(self) -> None:
        self.killing.point()
        super().save()
        self.killing.point()


@dataclass
class Place:
    """A home with a clock, a project, and what ``orc up`` does there; runs end when they are told to."""

    home: Path
    pipelines: list[Triggered] = field(default_factory=list)
    killing: Killing = field(default_factory=Killing)
    most_at_once: Counter[str] = field(default_factory=Counter)
    holds: dict[str, Ownership] = field(default_factory=dict)
    begun: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.here = Installation(Settings.from_environment({"ORC_HOME": str(self.home)}))
        self.clock = self.here.clock = FakeClock(BEGIN)  # type: ignore[assignment]
        self.project = self.home.parent / "project"
        self.asking = Asking(self.here, self.project)
        self.fails: Callable[[Firing], Exception | None] = lambda firing: None
        self.up = self.start()

    def start(self) -> Keeper[None]:
        """As a new process does."""
        reader = TriggersReader(self.here, self.project, lambda: self.pipelines, self.begin, lambda work: work())
        noted = reader._asking.noted

        def note(asked: Asked) -> None:
            self.killing.point()
            noted(asked)
            self.killing.point()

        reader._asking.noted = note  # type: ignore[method-assign]
        keeper = DyingKeeper.__new__(DyingKeeper)
        keeper.killing = self.killing
        keeper.__init__(self.here, reader)  # type: ignore[misc]
        return keeper

    def begin(self, firing: Firing, pipeline: Triggered) -> str:
        self.killing.point()
        error = self.fails(firing)
        if error is not None:
            raise error
        count = len(self.here.journal.runs(limit=1000))
        row = RunRow(f"run-{count:03}", pipeline.name, "running", 1, 0, BEGIN + count, trigger_key=firing.key)
        created = f.RunCreated(pipeline.name, "0" * 64, "0" * 64, {})
        hold = self.here.journal.begin(row, [created], {}, "test:1")
        run = hold if isinstance(hold, str) else row.id
        self.begun.append(run)
        if not isinstance(hold, str):
            self.holds[run] = hold
        self.most_at_once[pipeline.name] = max(self.most_at_once[pipeline.name], len(self.running(pipeline.name)))
        self.killing.point()
        return run

    def rounds(self, count: int, step_s: float = 0.0) -> None:
        for _ in range(count):
            self.clock.advance(step_s)
            self.up.round()

    def runs(self, pipeline: str | None = None) -> list[RunRow]:
        return self.here.journal.runs(pipeline, limit=1000)[::-1]

    def running(self, pipeline: str) -> list[RunRow]:
        return self.here.journal.runs(pipeline, "running", limit=1000)

    def end(self, state: f.RunState = "succeeded") -> None:
        """End all runs."""
        for run, hold in self.holds.items():
            seq = self.here.journal.run(run).seq
            self.here.journal.append(Append(run, hold.epoch, seq, BEGIN, [f.RunFinished(state)], state=state))
            hold.release()
        self.holds.clear()

    def keys(self) -> list[str]:
        """What is told of the keys, without the triggers."""
        return [(row.trigger_key or "").partition("/")[2] for row in self.runs()]

    @property
    def firings(self) -> list[Firing]:
        firings: list[Firing] = self.up.reader.totals().firings
        return firings

    def ask(self, pipeline: Triggered, key: str, by: str = "webhook") -> None:
        trigger = pipeline.triggers[0].id
        self.asking.ask(Asked(f"{trigger}/{key}", trigger, pipeline.name, self.clock.now(), key, by, {}))


def at(seconds: float) -> str:
    """A moment so long after the beginning, as in keys."""
    return moment(BEGIN + seconds)
