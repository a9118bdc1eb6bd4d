"""Figures over all runs for dashboards: counters and histograms by pipeline, stage and state; a fold over facts.

No label is the id of a run or a step, so their number follows from the code, not from how often it runs. A map of a
million items costs a few thousand additions. What has been counted stays counted when runs are removed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.graph import fact as f
from orchestrator.graph.durations import times_us
from orchestrator.graph.json import graph_from_json, node_from_json
from orchestrator.graph.node import Graph, Node, dependencies
from orchestrator.graph.policy import Resources
from orchestrator.ports.prices import Prices
from orchestrator.readers.cost import Consumed, Use, consumed, cost_of

SEPARATOR = "\t"
MOST_STAGES = 500
"""Stages of one pipeline with figures of their own; names made from data would be without end."""

OTHER = "(other)"

STEP_BUCKETS_S = (0.0001, 0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0)
RUN_BUCKETS_S = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
_WORK = frozenset({"stage", "dynamic"})


@dataclass(frozen=True, slots=True)
class Metric:
    """A family of figures; ``buckets`` of a histogram."""

    name: str
    help: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] = ()


_RUN, _STAGE = ("pipeline",), ("pipeline", "stage")
METRICS = (
    Metric("orc_runs_created", "Runs that were made", _RUN),
    Metric("orc_runs_ended", "Runs that have ended", ("pipeline", "state")),
    Metric("orc_run_duration_seconds", "From creation to end", ("pipeline", "state"), RUN_BUCKETS_S),
    Metric("orc_run_queue_seconds", "From creation to the first driver", _RUN, RUN_BUCKETS_S),
    Metric("orc_drivers_started", "Drivers that took a run; one more than its runs for each resumption", _RUN),
    Metric("orc_steps", "Steps that have an outcome", ("pipeline", "stage", "state")),
    Metric("orc_step_duration_seconds", "Time of the body", _STAGE, STEP_BUCKETS_S),
    Metric("orc_step_queue_seconds", "From inputs there to the start of a node's first step", _STAGE, STEP_BUCKETS_S),
    Metric("orc_step_retries", "Attempts that failed and are repeated", _STAGE),
    Metric("orc_cache_hits", "Steps whose output was reused", _STAGE),
    Metric("orc_cache_misses", "Cached steps that had to run", _STAGE),
    Metric("orc_checks", "Checks of outputs", ("pipeline", "state")),
    Metric("orc_workers_started", "Worker processes that came up", _RUN),
    Metric("orc_worker_deaths", "Worker processes and nodes that died", _RUN),
    Metric("orc_cpu_seconds", "CPU time that bodies used, as measured", _STAGE),
    Metric("orc_reserved_cpu_seconds", "CPU time that was reserved for bodies", _STAGE),
    Metric("orc_gpu_seconds", "GPU time that was reserved for bodies", _STAGE),
    Metric("orc_cost", "What steps cost by the table of prices", ("pipeline", "stage", "currency")),
    Metric("orc_journal_facts", "Facts in the journal", _RUN),
    Metric("orc_journal_commits", "Transactions that brought them there", _RUN),
)
_BY_NAME = {metric.name: metric for metric in METRICS}


@dataclass
class Totals:
    """What has been counted: counters, and of histograms the count in each bucket with the sum as last element."""

    counters: dict[str, dict[str, float]] = field(default_factory=dict)
    histograms: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def count(self, metric: str, *labels: str, by: float = 1.0) -> None:
        """Add to a counter."""
        series = self.counters.setdefault(metric, {})
        key = SEPARATOR.join(labels)
        series[key] = series.get(key, 0.0) + by

    def observe(self, metric: str, labels: Sequence[str], values: Iterable[float]) -> None:
        """Add to a histogram."""
        edges = _BY_NAME[metric].buckets
        series = self.histograms.setdefault(metric, {})
        key = SEPARATOR.join(labels)
        row = series.get(key)
        if row is None:
            row = series[key] = [0.0] * (len(edges) + 2)
        ordered, before = sorted(values), 0
        for place, edge in enumerate(edges):
            upto = bisect_right(ordered, edge)
            row[place] += upto - before
            before = upto
        row[-2] += len(ordered) - before
        row[-1] += sum(ordered)


class _Node:
    """What is known of a node while its run goes on."""

    __slots__ = ("consumed", "is_work", "needs", "ready_at", "resources", "stage", "started", "until")

    def __init__(self, node: Node, stage: str, ready_at: float | None = None) -> None:
        self.stage = stage
        self.is_work = node.kind in _WORK
        self.needs = tuple({ref.node for ref in dependencies(node)} | {guard.branch for guard in node.guards})
        self.resources: Resources = node.policy.resources
        self.ready_at = ready_at
        self.started = False
        self.until: float | None = None
        self.consumed = Consumed()


def stage_label(node: str) -> str:
    """Name of a node without its scope and number."""
    return node.rpartition("/")[2].partition("#")[0]


class RunMeter:
    """Counts what happens in one run.

    Args:
        graph: Of the run when it was made; None if it cannot be read, then waits and costs are not told.
        stages: Stages of the pipeline that have figures of their own, shared by its runs.
    """

    def __init__(self, pipeline: str, graph: Graph | None, prices: Prices, stages: set[str]) -> None:
        self._pipeline = pipeline
        self._prices = prices
        self._stages = stages
        self._nodes: dict[str, _Node] = {}
        self._use = Use()
        self._created_at = 0.0
        self._driven_at: float | None = None
        self._at = -1.0
        self._know(graph.nodes if graph is not None else ())

    def _know(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            self._nodes[node.id] = _Node(node, self._label(node.id))

    def _label(self, node: str) -> str:
        name = stage_label(node)
        if name not in self._stages and len(self._stages) >= MOST_STAGES:
            return OTHER
        self._stages.add(name)
        return name

    def take(self, facts: Sequence[f.Recorded], into: Totals) -> None:
        """Count some more facts."""
        into.count("orc_journal_facts", self._pipeline, by=len(facts))
        touched: set[str] = set()
        for recorded in facts:
            if recorded.at != self._at:  # facts of one commit have one time
                self._at = recorded.at
                into.count("orc_journal_commits", self._pipeline)
            self._run_fact(recorded.fact, recorded.at, into)
            self._use.add(recorded.fact, recorded.at)
            for fact in f.apart(recorded.fact):
                node = getattr(fact, "node", None)
                if isinstance(node, str):
                    self._node_fact(node, fact, recorded.at, into)
                    touched.add(node)
        self._settle(touched, into)

    def _run_fact(self, fact: f.Fact, at: float, into: Totals) -> None:
        name = self._pipeline
        if isinstance(fact, f.RunCreated):
            self._created_at = at
            into.count("orc_runs_created", name)
        elif isinstance(fact, f.DriverStarted):
            into.count("orc_drivers_started", name)
            if self._driven_at is None:
                self._driven_at = at
                into.observe("orc_run_queue_seconds", (name,), [max(at - self._created_at, 0.0)])
        elif isinstance(fact, f.RunFinished):
            into.count("orc_runs_ended", name, fact.state)
            into.observe("orc_run_duration_seconds", (name, fact.state), [max(at - self._created_at, 0.0)])
        elif isinstance(fact, f.WorkerStarted):
            into.count("orc_workers_started", name)
        elif isinstance(fact, f.WorkerLost):
            into.count("orc_worker_deaths", name)
        elif isinstance(fact, f.CodeChanged):
            self._nodes.clear()
            self._know(graph_from_json(fact.document).nodes)
        elif isinstance(fact, f.NodeAdded):
            node = node_from_json(fact.node)
            self._nodes[node.id] = _Node(node, self._label(node.id), at)

    def _node_fact(self, node: str, fact: f.Fact, at: float, into: Totals) -> None:
        known = self._nodes.get(node)
        stage = known.stage if known is not None else self._label(node)
        labels = (self._pipeline, stage)
        if isinstance(fact, f.StepsStarted):
            if known is not None and known.is_work and not known.started:
                known.started = True
                ready_at = self._ready_at(known, at)
                if ready_at is not None:
                    into.observe("orc_step_queue_seconds", labels, [max(at - ready_at, 0.0)])
        elif isinstance(fact, f.AttemptFailed):
            into.count("orc_step_retries", *labels)
        elif isinstance(fact, f.CacheMissed):
            into.count("orc_cache_misses", *labels, by=fact.stop - fact.start)
        elif isinstance(fact, f.ChecksReported):
            for result in fact.results:
                into.count("orc_checks", self._pipeline, result.state)
        elif isinstance(fact, f.StepsCompleted | f.StepFailed | f.StepsSkipped):
            if known is not None:
                known.until = at
            if known is None or known.is_work:
                _count_outcome(fact, labels, into)

    def _ready_at(self, node: _Node, at: float) -> float | None:
        """When all that a node needs was there, as far as that was before ``at``."""
        if node.ready_at is not None:
            return node.ready_at
        ends = [other.until for name in node.needs if (other := self._nodes.get(name)) is not None]
        found = [end for end in ends if end is not None and end <= at]
        return max(found, default=self._driven_at)

    def _settle(self, touched: Iterable[str], into: Totals) -> None:
        for name in touched:
            node, use = self._nodes.get(name), self._use.nodes.get(name)
            if node is None or use is None or not node.is_work:
                continue
            before, now = node.consumed, consumed(use, node.resources)
            node.consumed = now
            labels = (self._pipeline, node.stage)
            amount = cost_of(now, self._prices).amount - cost_of(before, self._prices).amount
            if now.wall_s > before.wall_s:
                into.count("orc_cpu_seconds", *labels, by=now.used_cpu_s - before.used_cpu_s)
                into.count("orc_reserved_cpu_seconds", *labels, by=now.reserved_cpu_s - before.reserved_cpu_s)
                into.count("orc_cost", *labels, self._prices.currency, by=amount)
            if now.gpu_s > before.gpu_s:
                into.count("orc_gpu_seconds", *labels, by=now.gpu_s - before.gpu_s)


def _count_outcome(
    fact: f.StepsCompleted | f.StepFailed | f.StepsSkipped, labels: tuple[str, str], into: Totals
) -> None:
    if isinstance(fact, f.StepFailed):
        if fact.action in ("fail", "drop"):  # what else becomes of it is told by the completion that follows
            into.count("orc_steps", *labels, "failed" if fact.action == "fail" else "dropped")
        return
    count = fact.stop - fact.start
    if isinstance(fact, f.StepsSkipped):
        into.count("orc_steps", *labels, "skipped", by=count)
        return
    state = "cached" if fact.cached else "degraded" if fact.degraded else "succeeded"
    into.count("orc_steps", *labels, state, by=count)
    if fact.cached:
        into.count("orc_cache_hits", *labels, by=count)
    elif fact.elapsed_us:
        into.observe("orc_step_duration_seconds", labels, [us / 1e6 for us in times_us(fact.elapsed_us)])


def known_stages(totals: Totals) -> Mapping[str, set[str]]:
    """Stages of each pipeline that have figures of their own."""
    found: dict[str, set[str]] = {}
    for name, series in totals.counters.items():
        if _BY_NAME.get(name) is not None and "stage" in _BY_NAME[name].labels:
            for key in series:
                pipeline, stage, *_ = key.split(SEPARATOR)
                found.setdefault(pipeline, set()).add(stage)
    return found
