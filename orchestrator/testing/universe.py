"""One universe of a crash sweep: a home of its own in which one run is driven, killed, driven on, and judged.

All universes of a sweep begin as copies of the same created run, so ids, seeds and idempotency keys are the same in
all of them, and so must be what steps make of them. This module is what happens inside one process of a universe;
``nursery`` starts those processes and ``sweep`` decides what happens to them.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from orchestrator.app.installation import Installation
from orchestrator.app.runner import Runner
from orchestrator.config.settings import Settings
from orchestrator.engine import driver as engine_driver
from orchestrator.engine.state import DONE, STATUS_NAMES, RunFold
from orchestrator.errors import ConfigError
from orchestrator.graph import fact as f
from orchestrator.graph.fingerprint import reads_key
from orchestrator.graph.node import Graph, dependencies
from orchestrator.graph.pipeline import RunOptions
from orchestrator.graph.stage import Stage
from orchestrator.ports.values import digest_of
from orchestrator.testing.checker import Violation, check_leaks, check_progress, check_run
from orchestrator.testing.crash import CrashingInstallation, CrashPoint
from orchestrator.testing.inprocess import InProcess
from orchestrator.testing.ledger import AcknowledgementFile, read_acknowledgements, read_ledger
from orchestrator.testing.observer import BodyObserver
from orchestrator.testing.serving import FileServing
from orchestrator.testing.touches import Touches

if TYPE_CHECKING:
    from orchestrator.engine.driver import Observer
    from orchestrator.graph.pipeline import Pipeline

OUTSIDE = "ORC_SWEEP_OUTSIDE"
"""Variable that holds the folder of ``outside``."""

_POLL_S = 0.01


@dataclass(frozen=True)
class Subject:
    """What is swept; pickled, so ``load`` has to be importable.

    Attributes:
        load: Gives the pipeline and its parameters.
        answers: Of approvals and signals, by address, text or name; an approval that is not named is approved.
        on: Where steps run: in the driver's own process, where they are watched, or on local worker processes.
    """

    load: Callable[[], tuple[Pipeline[..., Any], Mapping[str, Any]]]
    answers: Mapping[str, Any] = field(default_factory=dict)
    on: Literal["inline", "local"] = "inline"


@dataclass(frozen=True)
class Loaded:
    """A subject in a process that is about to drive it."""

    pipeline: Pipeline[..., Any]
    params: Mapping[str, Any]
    answers: Mapping[str, Any]
    stages: Mapping[str, Stage[..., Any]]
    graph: Graph
    on: Literal["inline", "local"]

    @classmethod
    def of(cls, subject: Subject) -> Loaded:
        """Import and trace; raises what the pipeline's definition raises."""
        pipeline, params = subject.load()
        traced = pipeline.trace(**params)
        return cls(pipeline, params, subject.answers, traced.stages, traced.graph, subject.on)


class NodeFacts(NamedTuple):
    """What findings have to know of a node; ``needs`` names the nodes that its output depends on."""

    kind: str
    stage: str
    effects: bool
    reads_key: bool
    uses: list[str]
    needs: list[str]


@dataclass
class Verdict:
    """How a run stands at the end of a universe.

    Attributes:
        outcomes: By step, the digest of its output or what became of it.
        failures: Steps that failed, each with the name and message of its error.
        writes: What the last process wrote, by name, in order.
        workers: Process ids of the workers that the run ever had.
    """

    state: str
    outcomes: dict[str, str]
    failures: list[tuple[str, str, str]]
    violations: list[Violation]
    writes: list[str]
    nodes: dict[str, NodeFacts]
    workers: list[int] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Verdict:
        """Read what ``judge`` wrote."""
        told = json.loads(path.read_text())
        told["violations"] = [Violation(*entry) for entry in told["violations"]]
        told["failures"] = [tuple(entry) for entry in told["failures"]]
        told["nodes"] = {name: NodeFacts(*entry) for name, entry in told["nodes"].items()}
        return cls(**told)


@dataclass(frozen=True)
class Places:
    """Where a universe keeps things."""

    folder: Path

    @property
    def home(self) -> Path:
        """``ORC_HOME``."""
        return self.folder / "home"

    @property
    def outside(self) -> Path:
        """The world outside of the engine."""
        return self.folder / "outside"

    @property
    def work(self) -> Path:
        """The working directory of steps."""
        return self.folder / "work"

    @property
    def verdict(self) -> Path:
        """What ``judge`` found."""
        return self.folder / "verdict.json"

    @property
    def observed(self) -> Path:
        """Lines about every body."""
        return self.folder / "observed"

    def settings(self) -> Settings:
        """Settings of an installation of its own, whatever the environment says."""
        return Settings.from_environment({"ORC_HOME": str(self.home)})


def outside() -> Path:
    """The folder that stands for the outside world in a crash sweep: each universe has its own.

    Raises:
        ConfigError: no crash sweep is going on.
    """
    folder = os.environ.get(OUTSIDE)
    if not folder:
        raise ConfigError("outside() is only known in a crash sweep; run the pipeline with orchestrator.testing.sweep")
    return Path(folder)


def drive(loaded: Loaded, places: Places, point: CrashPoint | None, repeats: bool) -> CrashingInstallation:
    """Drive the run of a universe as far as it goes, or make it if there is none; dies at the crash point."""
    engine_driver.POLL_S = _POLL_S  # whoever answers is quick, and a sweep waits a thousand times
    engine_driver.GROUP_S = 0.0  # many small transactions: more places to die at
    places.outside.mkdir(parents=True, exist_ok=True)
    _move_to(places.work)
    os.environ |= {OUTSIDE: str(places.outside), "ORC_HOME": str(places.home)}
    installation = CrashingInstallation(places.settings(), point)
    answering = Answering(installation, loaded)
    told = AcknowledgementFile(places.folder / "acknowledged")

    def on_facts(facts: Iterable[f.Fact], at: float) -> None:
        told(facts, at)
        answering(facts)

    if loaded.on == "local":
        runner, options = Runner(installation, on_facts), RunOptions(on="local")
    else:
        runner, options = _watching(loaded, places, installation, on_facts, answering, repeats), RunOptions()
    rows = installation.journal.runs()
    if not rows:
        runner.start(loaded.pipeline, loaded.params, options).wait()
    elif rows[0].finished_at is None:
        answering.catch_up(rows[0].id)
        runner.resume(rows[0].id).wait()
    return installation


def _watching(
    loaded: Loaded,
    places: Places,
    installation: Installation,
    on_facts: Observer,
    answering: Answering,
    repeats: bool,
) -> Runner:
    """Runs steps in this process, and watches their bodies."""
    touches = Touches([str(places.folder)])
    observer = BodyObserver(
        places.folder / "ledger", places.observed, installation.values.signer, touches, repeats, answering.has_effects
    )
    ports = {"serving": FileServing(places.outside / "serving")}
    process = InProcess(installation=installation, on_facts=on_facts, ports=ports, around=observer)
    process.know(loaded.stages)
    return process.runner


def _move_to(work: Path) -> None:
    """Go to a working directory of the universe's own, in which what is in the user's can be read."""
    if not work.exists():
        work.mkdir()
        for path in Path.cwd().iterdir():
            (work / path.name).symlink_to(path)
    os.chdir(work)


class Answering:
    """The people and programs that a run asks: they answer through its inbox as soon as they are asked."""

    def __init__(self, installation: Installation, loaded: Loaded) -> None:
        self._installation = installation
        self._answers = loaded.answers
        self._kinds = {node.id: node.kind for node in loaded.graph.nodes}
        self._effects = {node.id for node in loaded.graph.nodes if node.policy.effects}

    def has_effects(self, node: str) -> bool:
        """Whether a node's steps are declared to act on the outside."""
        return node in self._effects

    def catch_up(self, run: str) -> None:
        """Answer what was asked before this process began."""
        self(recorded.fact for recorded in self._installation.journal.facts(run))

    def __call__(self, facts: Iterable[f.Fact]) -> None:
        """Answer what some facts ask."""
        for fact in facts:
            if isinstance(fact, f.NodeAdded) and _policy(fact).get("effects"):
                self._effects.add(str(fact.node["id"]))
            if isinstance(fact, f.ApprovalRequested):
                kind = self._kinds.get(fact.node, "approval")
                body = {"kind": kind, "node": fact.node, "value": self._answer(fact, kind), "by": "sweep"}
                run = self._installation.journal.runs()[0].id
                now = self._installation.clock.now()
                self._installation.journal.post(run, f"{kind}-{fact.node}", body, now)

    def _answer(self, asked: f.ApprovalRequested, kind: str) -> Any:
        for name in (asked.node, asked.text):
            if name in self._answers:
                return self._answers[name]
        return True if kind == "approval" else None


def _policy(added: f.NodeAdded) -> Mapping[str, Any]:
    stage = added.node.get("stage") or {}
    policy: Mapping[str, Any] = stage.get("policy") or {}
    return policy


def judge(loaded: Loaded, places: Places, writes: list[str], began: float) -> Verdict:
    """Check a universe whose run has been driven to its end, and write the verdict down.

    Args:
        began: When the last process began, in wall-clock seconds: there were no faults since.
    """
    here = Installation(places.settings())
    rows = here.journal.runs()
    run = rows[0].id
    ledger = [*read_ledger(places.folder / "ledger"), *read_ledger(places.outside / "ledger")]
    told = read_acknowledgements(places.folder / "acknowledged")
    violations = check_run(here.journal, run, ledger, acknowledged=told)
    facts = list(here.journal.facts(run))
    violations += check_progress(facts, rows[0].state, began, time.time(), lease_s=0.0)
    violations += check_leaks({}, _leftovers(here, run))
    fold = here.fold(run)
    verdict = Verdict(
        rows[0].state, dict(_outcomes(here, fold)),
        [(f"{node}[{i}]", s.failures[i].name, s.failures[i].message)
         for node, s in fold.nodes.items() for i in sorted(s.failures) if s.status[i] != DONE],
        violations, writes, {name: _node(loaded, fold, name) for name in fold.nodes},
        [r.fact.pid for r in facts if isinstance(r.fact, f.WorkerStarted) and loaded.on == "local"],
    )  # fmt: skip
    here.close()
    places.verdict.write_text(json.dumps(vars(verdict)))
    return verdict


def _leftovers(here: Installation, run: str) -> dict[str, list[str]]:
    """What an ended run must not leave: its lease, and unfinished files that nobody will remove."""
    home = here.settings.home
    unfinished = home / "artifacts" / "unfinished"
    for path in unfinished.glob("*"):
        os.utime(path, (0, 0))  # a day later, whoever opens the store removes what the dead have left
    if unfinished.exists():
        _ = Installation(here.settings).artifacts
    return {
        "lease": [run] if here.journal.owner(run) is not None else [],
        "temporary file": [path.name for path in unfinished.glob("*")],
    }


def _outcomes(here: Installation, fold: RunFold) -> Iterator[tuple[str, str]]:
    cells = here.cells(fold.run)
    for name, state in fold.nodes.items():
        for index, status in enumerate(state.status):
            if status != DONE or state.node.policy.streaming:
                yield f"{name}[{index}]", STATUS_NAMES[status]
        for span in state.outputs.spans:
            chunk = cells.chunk(span.chunk)
            for index in range(span.start, span.stop):
                key = f"batch {index} of {name}" if state.node.policy.streaming else f"{name}[{index}]"
                yield key, digest_of(chunk[span.at + index - span.start])[:24]


def _node(loaded: Loaded, fold: RunFold, name: str) -> NodeFacts:
    node = fold.nodes[name].node
    policy = node.policy
    parent = fold.nodes[name].parent
    needs = {ref.node for ref in dependencies(node)} | ({parent[0]} if parent else set())
    needs |= {child for child, state in fold.nodes.items() if state.parent and state.parent[0] == name}
    stage = loaded.stages.get(node.stage.ref) if node.stage else None
    return NodeFacts(
        node.kind, node.stage.name if node.stage else "", policy.effects,
        policy.reads_key or (stage is not None and reads_key(stage.function)), list(policy.uses), sorted(needs),
    )  # fmt: skip
