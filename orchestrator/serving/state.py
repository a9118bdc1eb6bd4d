"""State of a release: all that its controller knows, as one value that goes to JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from orchestrator.errors import ConfigError
from orchestrator.graph.display import Shown
from orchestrator.ports.traffic import Tally, Traffic
from orchestrator.serving.clusters import Design
from orchestrator.serving.experiment import Experiment
from orchestrator.serving.guard import GuardState, guards_of
from orchestrator.serving.record import Release, release_from_json
from orchestrator.serving.strategy import Strategy, strategy_from_json, strategy_to_json
from orchestrator.serving.trail import Trail
from orchestrator.serving.window import tally_from_json, tally_to_json

FORMAT = 1

Stand = Literal["starting", "baking", "ending", "finished"]


@dataclass(frozen=True, slots=True)
class ReleaseState(Shown):
    """A release under way.

    Attributes:
        base: Generation of the router that the release found; 0 if there was none.
        stand: ``starting``: no request has moved. ``baking``: a step is watched, or asked for. ``ending``: decided, and
            the router is to carry it out. ``finished``: nothing is left to do.
        step: The step that is watched or asked for, from 0.
        step_began_at: When the router was first seen to be there, in seconds since 1970; None before.
        step_samples: Requests that the candidate answered since.
        generation: The last generation that was asked for.
        looked_at: When it was looked last.
        era, seen: What the totals of both versions were then.
        floor, design: How many of the candidate's requests count as one: from earlier eras, and now.
        counts: What the candidate and the stable version did since the release began, without histograms.
        guards: State of each guard by its key.
        experiment: Of an A/B experiment.
        trail: How it went so far.
        forced: As in ``Release``.
        decision: Once there is one.
    """

    id: str
    app: str
    candidate: str
    stable: str
    strategy: Strategy
    began_at: float
    base: int
    stand: Stand = "starting"
    step: int = 0
    step_began_at: float | None = None
    step_samples: int = 0
    generation: int = 0
    looked_at: float = 0.0
    era: str = ""
    seen: Mapping[str, Tally] = field(default_factory=dict)
    floor: Design = field(default_factory=Design)
    design: Design = field(default_factory=Design)
    counts: Mapping[str, Tally] = field(default_factory=dict)
    guards: Mapping[str, GuardState] = field(default_factory=dict)
    experiment: Experiment = field(default_factory=Experiment)
    trail: Trail = field(default_factory=Trail)
    forced: str = ""
    decision: Release | None = None

    @property
    def by(self) -> str:
        """How the release signs changes of traffic."""
        return f"release {self.id}"

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        return {
            "format": FORMAT, **plain, "strategy": strategy_to_json(self.strategy),
            "seen": {name: tally_to_json(tally) for name, tally in self.seen.items()},
            "counts": {name: tally_to_json(tally) for name, tally in self.counts.items()},
            "floor": self.floor.to_json(), "design": self.design.to_json(),
            "guards": {key: dict(state) for key, state in self.guards.items()},
            "experiment": self.experiment.to_json(), "trail": self.trail.to_json(), "forced": self.forced,
            "decision": None if self.decision is None else self.decision.to_json(),
        }  # fmt: skip


_PLAIN = (
    "id", "app", "candidate", "stable", "began_at", "base", "stand", "step", "step_began_at", "step_samples",
    "generation", "looked_at", "era",
)  # fmt: skip


def state_from_json(document: Mapping[str, Any]) -> ReleaseState:
    """The state that ``ReleaseState.to_json`` wrote.

    Raises:
        ConfigError: it is none, or a newer release of this package wrote it.
    """
    if document.get("format") != FORMAT:
        raise ConfigError(f"this is no state of a release that can be read here (format {document.get('format')!r})")
    try:
        decision = document["decision"]
        return ReleaseState(
            **{name: document[name] for name in _PLAIN},
            strategy=strategy_from_json(document["strategy"]),
            seen={name: tally_from_json(tally) for name, tally in document["seen"].items()},
            counts={name: tally_from_json(tally) for name, tally in document["counts"].items()},
            floor=Design.from_json(document["floor"]), design=Design.from_json(document["design"]),
            guards=document["guards"], experiment=Experiment.from_json(document["experiment"]),
            trail=Trail.from_json(document["trail"]), forced=document.get("forced", ""),
            decision=None if decision is None else release_from_json(decision),
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"the state of a release is broken: {type(error).__name__}: {error}") from None


def begin(
    id: str,
    app: str,
    candidate: str,
    strategy: Strategy,
    traffic: Traffic | None,
    now: float,
    *,
    stable: str = "",
    forced: str = "",
) -> ReleaseState:
    """The first state of a release; store it before anything else.

    Args:
        traffic: What the router does now; None if there is none.
        now: Seconds since 1970.
        stable: The version that answers now, where there is no router to say so.
        forced: Why it goes out although what came before did not hold.

    Raises:
        ConfigError: there is no other version to go back to, another release is under way, requests are split already,
            or no guard answers for a condition of ``rollback_if``.
    """
    guards_of(strategy)
    if traffic is not None:
        if traffic.phase == "baking" and traffic.release != id:
            raise ConfigError(f"{app}: release {traffic.release} is under way; let it end, or roll it back first")
        weights = {version: weight for version, weight in traffic.weights.items() if weight > 0}
        stable = traffic.stable
        if traffic.release != id and weights.keys() != {stable}:
            split = ", ".join(f"{version} {weight:g} %" for version, weight in weights.items())
            raise ConfigError(f"{app}: requests are split already ({split}); give all to one version first")
    if not stable:
        raise ConfigError(
            f"{app}: no version answers yet, so there is none to go back to; serve a first one without a release"
        )
    if candidate == stable:
        raise ConfigError(f"{app}: {candidate} answers all requests already")
    base = 0 if traffic is None else traffic.generation
    return ReleaseState(id, app, candidate, stable, strategy, now, base, generation=base, looked_at=now, forced=forced)
