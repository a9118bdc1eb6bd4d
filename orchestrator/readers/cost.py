"""What the steps of a run used and had reserved, and what that costs by a table of prices: a fold over facts.

Times are those of the bodies, of failed attempts those from start to failure. What is reserved is paid for whether it
is used or not; who uses more CPU or memory than was reserved pays for what was used. The part that was reserved and
not used is idle.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from orchestrator.graph import fact as f
from orchestrator.graph.durations import total_us
from orchestrator.graph.policy import Resources
from orchestrator.ports.prices import Prices

_HOUR_S = 3600.0
_GIB = 2.0**30


@dataclass(slots=True)
class NodeUse:
    """What the steps of one node used.

    Attributes:
        wall_s: Time of all bodies; ``failed_s`` of it in attempts that failed.
        memory_s: Bytes times seconds, of the most memory that the worker held while a step ran.
        measured_s: The part of ``wall_s`` whose CPU time was measured.
    """

    steps: int = 0
    wall_s: float = 0.0
    failed_s: float = 0.0
    measured_s: float = 0.0
    cpu_s: float = 0.0
    memory_s: float = 0.0
    peak_bytes: int = 0
    begun: dict[str, float] = field(default_factory=dict)

    def complete(self, fact: f.StepsCompleted) -> None:
        """Steps have their outputs."""
        if fact.cached or not fact.elapsed_us:
            return
        wall_s = total_us(fact.elapsed_us) / 1e6
        self.steps += fact.stop - fact.start
        self.wall_s += wall_s
        if fact.cpu_us or fact.peak_bytes:
            self.measured_s += wall_s
            self.cpu_s += fact.cpu_us / 1e6
            self.memory_s += fact.peak_bytes * wall_s
            self.peak_bytes = max(self.peak_bytes, fact.peak_bytes)

    def fail(self, bundle: str, at: float) -> None:
        """An attempt has failed; it took from the start of its bundle at most."""
        begun = self.begun.get(bundle)
        if begun is not None:
            self.failed_s += max(at - begun, 0.0)
            self.wall_s += max(at - begun, 0.0)
            self.begun[bundle] = at


@dataclass(slots=True)
class Consumed:
    """Resources times seconds, without prices: what counts as paid for, and how much of it was used.

    Attributes:
        memory_s: Bytes times seconds; ``used_memory_s`` of them were held.
        gpus_s: GPU seconds that were reserved, by ``accelerator_type``.
    """

    steps: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    used_cpu_s: float = 0.0
    reserved_cpu_s: float = 0.0
    memory_s: float = 0.0
    used_memory_s: float = 0.0
    gpus_s: dict[str, float] = field(default_factory=dict)
    peak_bytes: int = 0

    @property
    def gpu_s(self) -> float:
        """GPU seconds of any kind."""
        return sum(self.gpus_s.values())

    def add(self, other: Consumed) -> None:
        """Take in what others consumed."""
        self.steps += other.steps
        self.wall_s += other.wall_s
        self.cpu_s += other.cpu_s
        self.used_cpu_s += other.used_cpu_s
        self.reserved_cpu_s += other.reserved_cpu_s
        self.memory_s += other.memory_s
        self.used_memory_s += other.used_memory_s
        self.peak_bytes = max(self.peak_bytes, other.peak_bytes)
        for kind, gpu_s in other.gpus_s.items():
            self.gpus_s[kind] = self.gpus_s.get(kind, 0.0) + gpu_s


@dataclass(frozen=True, slots=True)
class Cost:
    """What was paid for, and how much of it was idle; amounts in the currency of the prices."""

    cpu: float = 0.0
    memory: float = 0.0
    gpu: float = 0.0
    idle: float = 0.0

    @property
    def amount(self) -> float:
        """All of it."""
        return self.cpu + self.memory + self.gpu

    @property
    def idle_share(self) -> float:
        """The idle part, 0 to 1."""
        return self.idle / self.amount if self.amount else 0.0


@dataclass(slots=True)
class Use:
    """What the nodes of one run used."""

    nodes: dict[str, NodeUse] = field(default_factory=dict)

    def add(self, fact: f.Fact, at: float) -> None:
        """Take a fact in."""
        if isinstance(fact, f.CodeChanged):
            was = {before: now for now, before in fact.kept.items()}
            self.nodes = {was.get(node, node): use for node, use in self.nodes.items()}
            return
        for one in f.apart(fact):
            self.add_one(one, at)

    def add_one(self, fact: f.Fact, at: float) -> None:
        """Take a fact about one node in."""
        if isinstance(fact, f.StepsCompleted):
            self._of(fact.node).complete(fact)
        elif isinstance(fact, f.StepsStarted):
            use = self._of(fact.node)
            use.begun[fact.bundle] = at
            while len(use.begun) > 64:
                del use.begun[next(iter(use.begun))]
        elif isinstance(fact, f.AttemptFailed | f.StepFailed):
            self._of(fact.node).fail(fact.bundle, at)

    def _of(self, node: str) -> NodeUse:
        found = self.nodes.get(node)
        if found is None:
            found = self.nodes[node] = NodeUse()
        return found


def consumed(use: NodeUse, resources: Resources) -> Consumed:
    """What the steps of a node consumed."""
    wall_s = use.wall_s
    # Of attempts that failed, and of steps that ran where nobody measured, no more is known than what was reserved.
    unmeasured_s = max(wall_s - use.measured_s, 0.0)
    reserved_cpu_s, reserved_memory_s = resources.num_cpus * wall_s, float(resources.memory) * wall_s
    used_cpu_s = use.cpu_s + resources.num_cpus * unmeasured_s
    used_memory_s = use.memory_s + float(resources.memory) * unmeasured_s
    gpus_s = {resources.accelerator_type or "": resources.num_gpus * wall_s} if resources.num_gpus else {}
    return Consumed(
        use.steps, wall_s, max(reserved_cpu_s, used_cpu_s), used_cpu_s, reserved_cpu_s,
        max(reserved_memory_s, used_memory_s), used_memory_s, gpus_s, use.peak_bytes,
    )  # fmt: skip


def total(parts: Iterable[Consumed]) -> Consumed:
    """All of them together."""
    found = Consumed()
    for part in parts:
        found.add(part)
    return found


def cost_of(what: Consumed, prices: Prices) -> Cost:
    """What it costs."""
    cpu, memory = prices.cpu / _HOUR_S, prices.memory / _GIB / _HOUR_S
    gpu = sum(gpu_s / _HOUR_S * prices.of_gpu(kind) for kind, gpu_s in what.gpus_s.items())
    idle = (what.cpu_s - what.used_cpu_s) * cpu + (what.memory_s - what.used_memory_s) * memory
    return Cost(what.cpu_s * cpu, what.memory_s * memory, gpu, max(idle, 0.0))
