"""The crash sweep: die at every write of a run, at three moments of it, and again while recovering; then check all.

A run without faults is the reference. Each crash point gets a universe of its own, a copy of the same created run.
There one process dies at the point, a second one dies somewhere in its recovery, and a third brings the run to its end.
What must hold is checked against the reference. The writes that create a run are swept too, from an empty home; such
a run has a seed of its own, so only its end is compared, not its outputs.
"""

from __future__ import annotations

import itertools
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from orchestrator.errors import ConfigError, RunError
from orchestrator.graph.pipeline import Pipeline
from orchestrator.testing.checker import (
    NOTHING_LEAKED,
    PROGRESS,
    SAME_RESULT,
    Violation,
    check_results,
)
from orchestrator.testing.crash import MOMENTS, CrashPoint
from orchestrator.testing.nursery import Done, Order
from orchestrator.testing.observer import Observed, read_observed
from orchestrator.testing.universe import Places, Subject, Verdict

PROCESSES = 2
_RECOVERY_WRITES = 6
"""Second deaths come at one of the first so many writes of a recovery, in turn."""

_LEAVE_S = 60.0
"""Workers whose driver is gone have so long to notice; on a busy machine that takes many seconds."""

_WHEN = {"before": "before", "commit": "at the commit of", "after": "after"}

_START = "import sys; from pathlib import Path; from orchestrator.testing.nursery import main; main(Path(sys.argv[1]))"


@dataclass(frozen=True)
class Universe:
    """What became of the run in one universe; ``deaths`` that did not happen are left out."""

    name: str
    deaths: tuple[CrashPoint, ...]
    verdict: Verdict
    observed: tuple[Observed, ...]
    created_anew: bool = False


@dataclass
class Swept:
    """What a sweep did and found.

    Attributes:
        writes: Names of the reference run's writes after its creation, in order; ``creation`` those that make it.
        points: Crash points tried; ``kills`` processes that died at one, ``resumes`` processes that took over.
        violations: Promises broken, each with the universe it happened in.
    """

    reference: Universe
    other_process: Universe
    creation: tuple[str, ...]
    writes: tuple[str, ...]
    points: int = 0
    kills: int = 0
    resumes: int = 0
    elapsed_s: float = 0.0
    universes: list[Universe] = field(default_factory=list)
    violations: list[tuple[str, Violation]] = field(default_factory=list)

    def broken(self) -> list[str]:
        """Violations as lines of text; empty if every promise was kept."""
        return [f"{where}: {violation.promise}: {violation.evidence}" for where, violation in self.violations]


def sweep(
    pipeline: Pipeline[..., Any],
    params: Mapping[str, Any] | None = None,
    *,
    answers: Mapping[str, Any] | None = None,
    points: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Swept:
    """Sweep a pipeline of an importable module.

    Args:
        params: Of the pipeline.
        answers: Of approvals and signals, by address, text or name; an approval that is not named is approved.
        points: So many crash points, evenly spread; all of them when None.
        progress: Told how many points are done, of how many.

    Raises:
        ConfigError: the pipeline cannot be imported by its name.
        RunError: the run does not end without faults, so there is nothing to compare with.
    """
    return sweep_subject(Subject(importable(pipeline, params), dict(answers or {})), points=points, progress=progress)


def sweep_subject(
    subject: Subject,
    *,
    points: int | None = None,
    repeats: bool = False,
    progress: Callable[[int, int], None] | None = None,
    limit_s: float = 120.0,
    processes: int = PROCESSES,
    enough: Callable[[Swept], bool] = lambda swept: False,
) -> Swept:
    """As ``sweep``, for whatever the subject loads.

    Args:
        repeats: In the reference run, steps without effects are called a second time and compared.
        limit_s: Longest time for one process of a universe.
        processes: How many universes go on at once; their processes differ in the order of sets.
        enough: Asked after each crash point whether the sweep may end.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(_scratch()))
        (folder / "subject").write_bytes(pickle.dumps(subject))
        nurseries = [stack.enter_context(_Nursery(folder, seed)) for seed in range(max(2, processes))]
        swept = _Sweep(folder, nurseries, limit_s, repeats, enough).run(points, progress or (lambda done, of: None))
    swept.elapsed_s = time.monotonic() - began
    return swept


class _Sweep:
    """One sweep under way."""

    def __init__(
        self,
        folder: Path,
        nurseries: Sequence[_Nursery],
        limit_s: float,
        repeats: bool,
        enough: Callable[[Swept], bool],
    ) -> None:
        self._folder = folder
        self._nurseries = nurseries
        self._limit_s = limit_s
        self._repeats = repeats
        self._enough = enough
        self._base = folder / "base"

    def run(self, points: int | None, progress: Callable[[int, int], None]) -> Swept:
        swept = self._begin()
        plan = _plan(swept.creation, swept.writes, points)
        free: SimpleQueue[_Nursery] = SimpleQueue()
        for nursery in self._nurseries:
            free.put(nursery)

        def one(planned: _Planned) -> None:
            nursery = free.get()
            try:
                if not self._enough(swept):
                    self._carry_out(nursery, planned, swept)
            finally:
                free.put(nursery)

        with ThreadPoolExecutor(len(self._nurseries)) as pool:
            for done, _ in enumerate(pool.map(one, plan), 1):
                progress(done, len(plan))
        if points is None and not self._enough(swept):
            self._beyond(swept, len(swept.writes))
        return swept

    def _begin(self) -> Swept:
        """Make the run, and bring it to its end without faults: as the reference, and once in another process."""
        first = self._nurseries[0]
        scout = self._fresh("scout")
        verdict = self._judged(scout, first.carry_out(Order(str(scout), limit_s=self._limit_s)))
        creation = tuple(verdict.writes[: verdict.writes.index("begin") + 1])
        first.carry_out(Order(str(self._fresh("base")), ((len(creation), "after"),), False, False, self._limit_s))
        reference = self._alone(first, "without faults", self._repeats)
        other = self._alone(self._nurseries[1], "without faults, in another process", False)
        swept = Swept(reference, other, creation, tuple(reference.verdict.writes))
        for universe in (reference, other):
            self._compare(swept, universe)
        return swept

    def _alone(self, nursery: _Nursery, name: str, repeats: bool) -> Universe:
        folder = self._copy(name.replace(" ", "-").replace(",", ""))
        verdict = self._judged(folder, nursery.carry_out(Order(str(folder), (), True, repeats, self._limit_s)))
        return Universe(name, (), verdict, tuple(read_observed(Places(folder).observed)))

    def _judged(self, folder: Path, done: Done) -> Verdict:
        if done.hung:
            raise RunError(f"the run did not end within {self._limit_s:g} s without any fault; raise the limit")
        if done.error:
            raise RunError(f"the run cannot be driven without any fault: {done.error}")
        return Verdict.read(Places(folder).verdict)

    def _carry_out(self, nursery: _Nursery, planned: _Planned, swept: Swept) -> bool:
        """One universe; True if its first process died."""
        name = f"{_WHEN[planned.first.moment]} write {planned.first.number} ({planned.name})"
        slug = f"{planned.name}-{planned.first.number}-{planned.first.moment}"
        folder = self._fresh(f"new-{slug}") if planned.creates else self._copy(slug)
        deaths = (planned.first, planned.second)
        done = nursery.carry_out(Order(str(folder), deaths, True, False, self._limit_s))
        happened = tuple(point for point, died in zip(deaths, done.died, strict=False) if died)
        swept.points += 1
        swept.kills += len(happened)
        swept.resumes += done.processes - 1
        self._take(swept, name, happened, folder, done, planned.creates)
        shutil.rmtree(folder, ignore_errors=True)
        return bool(done.died and done.died[0])

    def _take(
        self, swept: Swept, name: str, deaths: tuple[CrashPoint, ...], folder: Path, done: Done, created_anew: bool
    ) -> None:
        where = f"killed {name}"
        if done.hung or done.error or not Places(folder).verdict.exists():
            why = f"nothing ended within {self._limit_s:g} s" if done.hung else done.error.strip()[-500:]
            swept.violations.append((where, Violation(PROGRESS, f"resuming did not bring the run to its end: {why}")))
            return
        verdict = Verdict.read(Places(folder).verdict)
        universe = Universe(where, deaths, verdict, tuple(read_observed(Places(folder).observed)), created_anew)
        if done.left:
            swept.violations.append((where, Violation(NOTHING_LEAKED, "a process of the driver's group is left")))
        for pid in _still_alive(verdict.workers):
            swept.violations.append((where, Violation(NOTHING_LEAKED, f"worker process {pid} is left")))
        swept.universes.append(universe)
        self._compare(swept, universe)

    def _compare(self, swept: Swept, universe: Universe) -> None:
        reference, verdict = swept.reference.verdict, universe.verdict
        found = list(verdict.violations)
        if verdict.state != reference.state:
            found.append(Violation(SAME_RESULT, f"the run is {verdict.state}, without faults {reference.state}"))
        if not universe.created_anew:
            found += check_results(reference.outcomes, verdict.outcomes)
        swept.violations += [(universe.name, violation) for violation in found]

    def _beyond(self, swept: Swept, number: int) -> None:
        """How many writes there are depends on how facts fall into groups: go on as long as there is one more."""
        second = CrashPoint(1, "after")
        while self._carry_out(
            self._nurseries[0], _Planned(CrashPoint(number + 1, "before"), second, "one more", False), swept
        ):
            number += 1

    def _copy(self, name: str) -> Path:
        return Path(shutil.copytree(self._base, self._folder / name, symlinks=True))  # the project is only linked

    def _fresh(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir()
        return folder


def _still_alive(pids: Sequence[int]) -> list[int]:
    """Those of some processes that do not end by themselves; an ended one whose parent does not look is no process."""
    deadline = time.monotonic() + _LEAVE_S
    while (alive := [pid for pid in pids if _is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return alive


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc/self").exists()


@dataclass(frozen=True)
class _Planned:
    """Two deaths, the first at a write of this name; ``creates`` from an empty home."""

    first: CrashPoint
    second: CrashPoint
    name: str
    creates: bool


def _plan(creation: Sequence[str], writes: Sequence[str], points: int | None) -> list[_Planned]:
    rotation = itertools.cycle(itertools.product(range(1, _RECOVERY_WRITES + 1), MOMENTS))
    plan = [
        _Planned(CrashPoint(number, moment), CrashPoint(*second), name, creates)
        for creates, names in ((True, creation), (False, writes))
        for number, name in enumerate(names, 1)
        for moment, second in zip(MOMENTS, rotation, strict=False)
    ]
    if points is None or points >= len(plan):
        return plan
    return [plan[len(plan) * place // points] for place in range(points)]


class _Nursery:
    """The process that forks those of universes; see ``nursery``."""

    def __init__(self, folder: Path, seed: int) -> None:
        paths = os.pathsep.join(path for path in sys.path if path)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ORC_") or "PARAM" in name}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, str(folder)],
            env={**kept, "PYTHONPATH": paths, "PYTHONHASHSEED": str(seed)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def carry_out(self, order: Order) -> Done:
        """Have an order carried out."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(order)) + "\n")
        self._process.stdin.flush()
        told = json.loads(self._line())
        return Done(**{**told, "died": tuple(told["died"])})

    def __enter__(self) -> _Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line == "ready\n":
            line = self._process.stdout.readline()
        if not line:
            raise RunError("the process that was to drive the run has ended; what it wrote is above")
        return line


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for homes; in memory where that is possible, since what a killed process wrote is there either way."""
    memory = Path("/dev/shm")
    there = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="orc-sweep-", dir=there))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def importable(
    pipeline: Pipeline[..., Any], params: Mapping[str, Any] | None = None
) -> Callable[[], tuple[Pipeline[..., Any], Mapping[str, Any]]]:
    """What loads a pipeline in another process by its name (``Subject.load``); raises ConfigError if it has none."""
    module, name = pipeline.function.__module__, pipeline.function.__qualname__
    if module == "__main__" or "<" in name:
        raise ConfigError(f"pipeline {pipeline.name!r} cannot be imported by other processes; put it into a module")
    return partial(_imported, module, name, dict(params or {}))


def _imported(module: str, name: str, params: Mapping[str, Any]) -> tuple[Pipeline[..., Any], Mapping[str, Any]]:
    import importlib

    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found, params
