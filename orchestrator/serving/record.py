"""What became of a release, and why: the record that is kept, as JSON and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from orchestrator.errors import ConfigError
from orchestrator.graph.display import Shown
from orchestrator.serving.claims import Claim
from orchestrator.serving.experiment import Slice
from orchestrator.serving.strategy import Strategy, strategy_from_json, strategy_to_json
from orchestrator.serving.trail import Trail

Outcome = Literal["promoted", "rolled_back", "reported", "overruled"]
Cause = Literal[
    "baked",
    "guard",
    "person",
    "candidate",
    "no_data",
    "router",
    "effect",
    "no_effect",
    "invalid",
    "compared",
    "earlier",
    "first",
    "same",
]

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Release(Shown):
    """The record of a release.

    Attributes:
        app, candidate, stable: What was released, and what was there before.
        outcome: ``promoted``: the candidate answers all. ``rolled_back``: the stable version does. ``reported``: so it
            does, after a shadow or an experiment without a winner. ``overruled``: somebody split requests otherwise.
        cause: What brought the outcome about; see ``why``.
        why: In one sentence.
        claims: What the guards saw last.
        samples: Requests that the candidate answered, copies included.
        step: At which step it ended, from 0.
        began_at, ended_at: Seconds since 1970.
        by: Who decided: the release itself, or a person.
        trail: How weights and guards went over time.
        figures: Further numbers of a shadow or an experiment.
        slices: The effect of an experiment by parts of the requests.
        forced: Why it went out although what came before did not hold; empty if it did.
        url: Where the application answers.
    """

    id: str
    app: str
    candidate: str
    stable: str
    strategy: Strategy
    outcome: Outcome
    cause: Cause
    why: str
    claims: tuple[Claim, ...]
    samples: int
    step: int
    began_at: float
    ended_at: float
    by: str
    trail: Trail
    figures: Mapping[str, float]
    slices: tuple[Slice, ...] = ()
    forced: str = ""
    url: str = ""

    @property
    def passed(self) -> bool:
        """True if the candidate answers all requests now: what ``when`` asks a gate for."""
        return self.outcome == "promoted"

    @property
    def version(self) -> str:
        """The version that answers now, if nobody overruled the release."""
        return self.candidate if self.outcome == "promoted" else self.stable

    @property
    def retired(self) -> str:
        """The version that no request goes to any more; empty if somebody overruled the release."""
        if self.outcome == "overruled":
            return ""
        return self.stable if self.outcome == "promoted" else self.candidate

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        return {
            "format": FORMAT, **plain, "strategy": strategy_to_json(self.strategy), "figures": dict(self.figures),
            "claims": [claim.to_json() for claim in self.claims], "trail": self.trail.to_json(),
            "slices": [asdict(one) for one in self.slices], "forced": self.forced,
        }  # fmt: skip

    def text(self) -> str:
        """For people: what happened, then what each guard saw."""
        lasted_s = self.ended_at - self.began_at
        lines = [
            f"{self.app}: {self.candidate} {self.outcome.replace('_', ' ')}, {self.stable} was there before",
            f"  why      {self.why}",
            f"  when     {_moment(self.ended_at)}, {lasted_s:.1f} s after it began",
            f"  by       {self.by}",
            f"  seen     {self.samples} requests at the candidate, {self.strategy.kind} step {self.step + 1} "
            f"of {len(self.strategy.steps_taken)}",
        ]
        lines += [f"  {name:8} {value:.6g}" for name, value in self.figures.items()]
        lines += [f"  forced   {self.forced}"] if self.forced else []
        proved = [claim for claim in self.claims if claim.proved]
        lines += [f"  proved   {claim.text()}" for claim in proved]
        lines += [f"  watched  {claim.text()}" for claim in self.claims if not claim.proved]
        return "\n".join(lines) + "\n"


_PLAIN = (
    "id", "app", "candidate", "stable", "outcome", "cause", "why", "samples", "step", "began_at", "ended_at", "by",
    "url",
)  # fmt: skip


def release_from_json(document: Mapping[str, Any]) -> Release:
    """The record that ``Release.to_json`` wrote.

    Raises:
        ConfigError: it is none, or a newer release of this package wrote it.
    """
    if document.get("format") != FORMAT:
        raise ConfigError(f"this is no record of a release that can be read here (format {document.get('format')!r})")
    try:
        return Release(
            **{name: document[name] for name in _PLAIN},
            strategy=strategy_from_json(document["strategy"]),
            claims=tuple(Claim.from_json(claim) for claim in document["claims"]),
            trail=Trail.from_json(document["trail"]),
            figures=document["figures"],
            slices=tuple(Slice(**one) for one in document.get("slices", ())),
            forced=document.get("forced", ""),
        )
    except (KeyError, TypeError) as error:
        raise ConfigError(f"the record of a release is broken: {type(error).__name__}: {error}") from None


def _moment(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
