"""A candidate scores growing shares of a table beside a baseline, judged by the guards of releases. Pure.

Rows are what requests are elsewhere: a row counts for the model that it was given to. Nothing of a batch is timed row
by row, so there are no guards over latency, and no time to bake: a step ends with its samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from orchestrator.errors import ConfigError
from orchestrator.ports.serving import Endpoint, Served
from orchestrator.ports.traffic import ClientTally, OutcomeTally, Tally
from orchestrator.serving.claims import Claim, claims_of
from orchestrator.serving.clusters import design_of, worth_clients
from orchestrator.serving.conditions import QUANTILES
from orchestrator.serving.guard import GuardState, guards_of
from orchestrator.serving.record import Cause, Outcome, Release
from orchestrator.serving.strategy import Canary
from orchestrator.serving.trail import Moment, Trail
from orchestrator.serving.window import Window


@dataclass(frozen=True, slots=True)
class StagedScoring:
    """A scoring under way.

    Attributes:
        step, step_rows: The step it is at, from 0, and how many rows the candidate has scored in it.
        candidate, stable: What both did so far, with clients.
        why: Why the candidate was sent back; empty while it was not.
        missing: What is lacking before the step may end; empty if nothing is.
    """

    strategy: Canary
    step: int = 0
    step_rows: int = 0
    candidate: Tally = field(default_factory=Tally)
    stable: Tally = field(default_factory=Tally)
    guards: Mapping[str, GuardState] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    trail: Trail = field(default_factory=Trail)
    why: str = ""
    missing: str = "no row was scored"

    @property
    def share(self) -> float:
        """Part of the rows that the candidate scores next, from 0 to 1."""
        return 0.0 if self.why else self.strategy.steps[self.step] / 100.0

    def after(self, candidate: Tally, stable: Tally, now: float, elapsed_s: float) -> StagedScoring:
        """With what both did to a batch.

        Args:
            now: Seconds since 1970, when the batch was done; it took ``elapsed_s``.
        """
        mine, other = merged(self.candidate, candidate), merged(self.stable, stable)
        health = Served(Endpoint("", "", ""), "healthy")  # it runs in the process that asks
        window = Window(
            candidate, stable, self.share, elapsed_s, health, design=design_of(mine), clients=worth_clients(other)
        )
        guards = guards_of(self.strategy)
        states, found = {}, {}
        for key, guard in guards.items():
            states[key], found[key] = guard.look(self.guards.get(key, {}), window)
        claims = tuple(claims_of(self.strategy, guards, found))
        rows, least = self.step_rows + candidate.requests, self.strategy.min_samples
        poor = next((one for one in found.values() if not one.enough), None)
        missing = f"only {rows} of {least} rows at step {self.step + 1}" if rows < least else ""
        missing = missing or ("" if poor is None else f"{poor.guard}: {poor.said or 'no data'}")
        progress = {claim.said: round(claim.progress, 4) for claim in claims}
        moment = Moment(now, 100.0 * self.share, mine.requests, progress)
        why = ". ".join(claim.text() for claim in claims if claim.proved)
        seen = replace(
            self, candidate=mine, stable=other, guards=states, claims=claims, step_rows=rows, missing=missing, why=why,
            trail=self.trail.with_moment(moment),
        )  # fmt: skip
        if why or missing or self.step + 1 == len(self.strategy.steps):
            return seen
        return replace(seen, step=self.step + 1, step_rows=0, missing="no row was scored at the last step")

    def record(self, id: str, app: str, candidate: str, stable: str, began_at: float, now: float) -> Release:
        """What became of it, now that all rows are scored: no data promotes nothing."""
        last = len(self.strategy.steps) - 1
        outcome: Outcome = "promoted"
        cause: Cause = "baked"
        why = f"all {last + 1} steps had rows enough, and no guard objected"
        if self.why:
            outcome, cause, why = "rolled_back", "guard", self.why
        elif self.missing or self.step < last:
            outcome, cause, why = "rolled_back", "no_data", f"{self.missing} when the table ended"
        return Release(
            id=id, app=app, candidate=candidate, stable=stable, strategy=self.strategy, outcome=outcome, cause=cause,
            why=why, claims=self.claims, samples=self.candidate.requests, step=self.step, began_at=began_at,
            ended_at=now, by=f"scoring {id}", trail=self.trail, figures={},
        )  # fmt: skip


def staged_scoring(strategy: Canary) -> StagedScoring:
    """The first state; latencies are neither compared nor limited.

    Raises:
        ConfigError: ``rollback_if`` has a limit in milliseconds or of slow answers, or asks about copies.
    """
    for condition in strategy.conditions:
        if condition.name in QUANTILES or condition.name in ("slow_rate", "different_rate"):
            raise ConfigError(f"rollback_if: {condition} is about single requests; a table is scored in batches")
    return StagedScoring(replace(strategy, compare=tuple(name for name in strategy.compare if name != "slow")))


def merged(one: Tally, other: Tally) -> Tally:
    """Totals of both, with clients and outcomes."""
    clients = dict(one.clients)
    for key, more in other.clients.items():
        known = clients.get(key, ClientTally(0, 0, 0))
        clients[key] = ClientTally(*map(sum, zip(known, more, strict=True)))
    outcomes = dict(one.outcomes)
    for name, entry in other.outcomes.items():
        had = outcomes.get(name)
        outcomes[name] = entry if had is None else OutcomeTally(
            had.count + entry.count, had.total + entry.total, had.squares + entry.squares,
            min(had.low, entry.low), max(had.high, entry.high),
        )  # fmt: skip
    return Tally(
        requests=one.requests + other.requests, errors=one.errors + other.errors, broken=one.broken + other.broken,
        clients=clients, outcomes=outcomes,
    )  # fmt: skip
