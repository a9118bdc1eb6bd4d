"""The controller of a release, pure: from its state and what is seen now come the next state and instructions.

Whoever runs it stores the state before carrying instructions out, and asks again after; it may be killed at any time,
and go on from any state that was ever stored. What the router does is the truth about where a release is: a router that
is ahead of the state is followed, one that is behind is told again, and a change by somebody else ends the release.
What was decided is not decided again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from orchestrator.ports.serving import Served
from orchestrator.ports.traffic import Phase, Tallies, Tally, Traffic
from orchestrator.serving.claims import Claim, claims_of
from orchestrator.serving.clusters import design_of, worth_clients
from orchestrator.serving.experiment import Slice
from orchestrator.serving.guard import Evidence, guards_of
from orchestrator.serving.record import Cause, Outcome, Release
from orchestrator.serving.state import ReleaseState
from orchestrator.serving.strategy import AB, Shadow
from orchestrator.serving.trail import Moment
from orchestrator.serving.window import Window, added, difference

SETTLE_S = 3.0
"""So long after a split stands, what is counted may still come from before it."""

_FINAL: Mapping[Outcome, Phase] = {"promoted": "promoted", "rolled_back": "rolled_back", "reported": "idle"}
_OUTCOMES: Mapping[Phase, Outcome] = {phase: outcome for outcome, phase in _FINAL.items()}


class Observation(NamedTuple):
    """What is seen now.

    Attributes:
        traffic: What the router does; None if there is none.
        tallies: How versions answered; None if the router does not say.
        health: The candidate as ``Serving.status`` has it; None if it is not served.
    """

    traffic: Traffic | None
    tallies: Tallies | None
    health: Served | None


class SetTraffic(NamedTuple):
    """Call ``Router.route`` with this; if the router has moved, do nothing and look again."""

    traffic: Traffic


class Finish(NamedTuple):
    """Nothing is left to do: keep the record; ``release.retired`` may be taken down."""

    release: Release


Instruction = SetTraffic | Finish


class Transition(NamedTuple):
    """The state to store, and what to do then, in order."""

    state: ReleaseState
    instructions: Sequence[Instruction]


class _Look(NamedTuple):
    """The state with everything counted, and what the guards say to it."""

    state: ReleaseState
    claims: tuple[Claim, ...]
    missing: str


def advance(state: ReleaseState, seen: Observation, now: float) -> Transition:
    """One turn of the controller.

    Args:
        state: The last one that was stored, or any earlier one.
        now: Seconds since 1970.
    """
    if state.decision is not None and state.stand == "finished":
        return Transition(state, [Finish(state.decision)])
    standing = _standing(state, seen.traffic)
    if standing == "final":
        return _carried_out(state, seen.traffic, now)
    if standing == "overruled":
        return _overruled(state, seen.traffic, now)
    if state.decision is not None:
        return _told(state, seen.traffic, _last(state, seen.traffic, state.decision.outcome))
    if standing == "lost":
        why = "the router is gone, or has forgotten the release"
        return _decide(state, seen.traffic, now, "rolled_back", "router", why)
    if standing == "untouched":
        return _start(state, seen, now)
    assert seen.traffic is not None
    return _watch(_followed(state, seen.traffic, now), seen, seen.traffic, now)


# ---- where the release is


def _standing(
    state: ReleaseState, traffic: Traffic | None
) -> Literal["untouched", "ours", "final", "overruled", "lost"]:
    if traffic is None:
        return "lost" if _asked(state) else "untouched"
    if traffic.release == state.id and traffic.by == state.by:
        return "ours" if traffic.phase == "baking" else "final"
    if traffic.generation > state.base:
        return "overruled"
    return "lost" if _asked(state) else "untouched"


def _asked(state: ReleaseState) -> bool:
    """True if the router was ever seen to do what the release asked for."""
    return state.step_began_at is not None or state.step > 0


def _followed(state: ReleaseState, traffic: Traffic, now: float) -> ReleaseState:
    """The state at the step at which the router is, unless a later one was asked for and is to come."""
    at = _step_of(state, traffic)
    if at == state.step and state.step_began_at is None:
        return replace(state, stand="baking", step_began_at=now, step_samples=0)
    if at != state.step and traffic.generation >= state.generation:
        return replace(state, stand="baking", step=at, step_began_at=now, step_samples=0, generation=traffic.generation)
    return replace(state, stand="baking")


def _step_of(state: ReleaseState, traffic: Traffic) -> int:
    weight, mirrored = traffic.weights.get(state.candidate, 0.0), traffic.mirrored.get(state.candidate, 0.0)
    steps = state.strategy.steps_taken
    return min(range(len(steps)), key=lambda at: abs(steps[at].weight - weight) + abs(steps[at].mirrored - mirrored))


# ---- what happens there


def _start(state: ReleaseState, seen: Observation, now: float) -> Transition:
    """The candidate has to be healthy before it gets a request."""
    state = _counted(state, seen.tallies)
    health = seen.health
    if health is not None and health.state == "healthy":
        return _told(replace(state, stand="baking", looked_at=now), seen.traffic, _at_step(state, seen.traffic))
    waited_s = now - state.began_at
    down = health is None or health.state in ("unhealthy", "stopping")
    if down or waited_s > state.strategy.patience_s:
        told = "is not served" if health is None else f"is {health.state}"
        message = f": {health.message}" if health is not None and health.message else ""
        why = f"{state.candidate} {told}{message}; no request was moved"
        return _finish(state, _record(state, now, "rolled_back", "candidate", why))
    return Transition(replace(state, looked_at=now), [])


def _watch(state: ReleaseState, seen: Observation, traffic: Traffic, now: float) -> Transition:
    look = _look(state, seen, traffic, now)
    state = look.state
    proved = [claim.text() for claim in look.claims if claim.proved]
    if proved:
        return _decide(state, traffic, now, "rolled_back", "guard", ". ".join(proved), look.claims)
    if state.step_began_at is None:
        return _told(state, traffic, _at_step(state, traffic))
    baked_s = now - state.step_began_at
    if isinstance(state.strategy, AB):
        return _experiment(state, state.strategy, traffic, now, baked_s, look)
    if baked_s < state.strategy.bake_s:
        return Transition(state, [])
    if look.missing:
        if baked_s <= state.strategy.bake_s + state.strategy.patience_s:
            return Transition(state, [])
        why = f"{look.missing} after {baked_s:.0f} s; missing data promotes nothing"
        return _decide(state, traffic, now, "rolled_back", "no_data", why, look.claims)
    return _onward(state, traffic, now, look)


def _onward(state: ReleaseState, traffic: Traffic, now: float, look: _Look) -> Transition:
    steps = state.strategy.steps_taken
    if isinstance(state.strategy, Shadow):
        mine = state.counts["candidate"]
        why = f"{mine.different} of {mine.compared} copies were answered otherwise; no guard objected"
        return _decide(state, traffic, now, "reported", "compared", why, look.claims)
    if state.step + 1 == len(steps):
        why = f"all {len(steps)} steps baked with data enough, and no guard objected"
        return _decide(state, traffic, now, "promoted", "baked", why, look.claims)
    state = replace(state, step=state.step + 1, step_began_at=None, step_samples=0)
    return _told(state, traffic, _at_step(state, traffic))


def _experiment(
    state: ReleaseState, strategy: AB, traffic: Traffic, now: float, baked_s: float, look: _Look
) -> Transition:
    over = baked_s >= strategy.horizon_s
    if baked_s < strategy.bake_s:
        return Transition(state, [])
    found = None if look.missing else state.experiment.finding(strategy, over)
    if found is None:
        if not over:
            return Transition(state, [])
        why = f"{look.missing or f'too few values of {strategy.metric}'} at the horizon; missing data promotes nothing"
        return _decide(state, traffic, now, "rolled_back", "no_data", why, look.claims)
    if found.winner == "invalid":
        return _decide(state, traffic, now, "rolled_back", "invalid", found.why, look.claims)
    if found.winner == "none":
        return _decide(state, traffic, now, "reported", "no_effect", found.why, look.claims)
    outcome: Outcome = "promoted" if found.winner == "candidate" else "rolled_back"
    return _decide(state, traffic, now, outcome if strategy.promote else "reported", "effect", found.why, look.claims)


# ---- what is seen


def _look(state: ReleaseState, seen: Observation, traffic: Traffic, now: float) -> _Look:
    """Count what happened since the look before, and ask the guards."""
    before = state
    state = _counted(state, seen.tallies)
    mine, other = (_since(before, state, seen.tallies, name) for name in (state.candidate, state.stable))
    versions = {} if seen.tallies is None else seen.tallies.versions
    window = Window(
        mine, other, (traffic.weights.get(state.candidate, 0.0) or traffic.mirrored.get(state.candidate, 0.0)) / 100.0,
        max(0.0, now - before.looked_at), seen.health, traffic.slow_ms, state.design,
        worth_clients(versions.get(state.stable, Tally())),
    )  # fmt: skip
    guards = guards_of(state.strategy)
    states, found = {}, {}
    for key, guard in guards.items():
        states[key], found[key] = guard.look(state.guards.get(key, {}), window)
    claims = tuple(claims_of(state.strategy, guards, found))
    experiment = state.experiment
    if isinstance(state.strategy, AB):
        stands = state.step_began_at is not None and before.looked_at >= state.step_began_at + SETTLE_S
        experiment = experiment.after(state.strategy.metric, window, stands)
    none = Tally()
    counts = {
        "candidate": added(state.counts.get("candidate", none), mine),
        "stable": added(state.counts.get("stable", none), other),
    }
    state = replace(
        state, guards=states, experiment=experiment, counts=counts, looked_at=now,
        step_samples=state.step_samples + mine.requests,
    )  # fmt: skip
    moment = _moment(state, claims, 100.0 * window.share, now)
    return _Look(replace(state, trail=state.trail.with_moment(moment)), claims, _missing(state, found))


def _moment(state: ReleaseState, claims: Sequence[Claim], weight: float, now: float) -> Moment:
    progress = {claim.said: round(claim.progress, 4) for claim in claims}
    shown: tuple[float, ...] = ()
    split: tuple[float, ...] = ()
    if isinstance(state.strategy, AB):
        effect = state.experiment.effect(state.strategy)
        shown = () if effect is None else (effect.difference, effect.low, effect.high)
        split = state.experiment.split(state.strategy)
    return Moment(now, weight, state.counts["candidate"].requests, progress, shown, split)


def _missing(state: ReleaseState, found: Mapping[str, Evidence]) -> str:
    """What is lacking before the release may go on; empty if nothing is."""
    least = state.strategy.min_samples
    if state.step_samples < least:
        return f"only {state.step_samples} of {least} requests at step {state.step + 1}"
    if isinstance(state.strategy, Shadow) and (compared := state.counts["candidate"].compared) < least:
        return f"only {compared} of {least} copies were compared"
    poor = next((evidence for evidence in found.values() if not evidence.enough), None)
    return "" if poor is None else f"{poor.guard}: {poor.said or 'no data'}"


def _counted(state: ReleaseState, tallies: Tallies | None) -> ReleaseState:
    """The state with the totals of now."""
    if tallies is None:
        return state
    versions = (state.candidate, state.stable)
    totals = {name: replace(tallies.versions.get(name, Tally()), clients={}) for name in versions}
    floor = state.floor if tallies.era == state.era else state.design
    design = design_of(tallies.versions.get(state.candidate, Tally())).at_least(floor)
    return replace(state, era=tallies.era, seen=totals, floor=floor, design=design)


def _since(before: ReleaseState, now: ReleaseState, tallies: Tallies | None, version: str) -> Tally:
    """What a version did between two states: nothing is known before the first look, and a new era began at nothing."""
    if tallies is None or not before.era:
        return Tally()
    earlier = before.seen.get(version, Tally()) if before.era == now.era else Tally()
    return difference(now.seen[version], earlier) or Tally()


# ---- what is decided


def _decide(
    state: ReleaseState, traffic: Traffic | None, now: float, outcome: Outcome, cause: Cause, why: str,
    claims: Sequence[Claim] = (),
) -> Transition:  # fmt: skip
    record = _record(state, now, outcome, cause, why, claims)
    state = replace(state, stand="ending", decision=record)
    return _told(state, traffic, _last(state, traffic, outcome))


def _carried_out(state: ReleaseState, traffic: Traffic | None, now: float) -> Transition:
    """The router has done what was decided, by this state or by a later one that was lost."""
    assert traffic is not None
    outcome = _OUTCOMES[traffic.phase]
    if state.decision is not None and state.decision.outcome == outcome:
        return _finish(state, state.decision)
    why = "it had been decided, and the router carries it out; what was seen then is not in the state that was kept"
    return _finish(state, _record(state, now, outcome, "earlier", why))


def _overruled(state: ReleaseState, traffic: Traffic | None, now: float) -> Transition:
    assert traffic is not None
    by = traffic.by or "somebody"
    weights = {version: weight for version, weight in traffic.weights.items() if weight > 0}
    outcomes: Mapping[str, Outcome] = {state.candidate: "promoted", state.stable: "rolled_back"}
    outcome = outcomes.get(next(iter(weights)), "overruled") if len(weights) == 1 else "overruled"
    split = ", ".join(f"{version} {weight:g} %" for version, weight in weights.items())
    why = f"{by} changed the traffic (generation {traffic.generation}): {split}"
    return _finish(state, _record(state, now, outcome, "person", why, by=by))


def _record(
    state: ReleaseState, now: float, outcome: Outcome, cause: Cause, why: str, claims: Sequence[Claim] = (),
    by: str = "",
) -> Release:  # fmt: skip
    mine = state.counts.get("candidate", Tally())
    figures: dict[str, float] = {}
    slices: tuple[Slice, ...] = ()
    if isinstance(state.strategy, AB):
        figures, slices = state.experiment.figures(state.strategy), state.experiment.slices(state.strategy)
    elif isinstance(state.strategy, Shadow):
        figures = {"compared": mine.compared, "different": mine.different}
    return Release(
        id=state.id, app=state.app, candidate=state.candidate, stable=state.stable, strategy=state.strategy,
        outcome=outcome, cause=cause, why=why, claims=tuple(claims), samples=mine.requests, step=state.step,
        began_at=state.began_at, ended_at=now, by=by or state.by, trail=state.trail, figures=figures, slices=slices,
        forced=state.forced,
    )  # fmt: skip


def _finish(state: ReleaseState, record: Release) -> Transition:
    return Transition(replace(state, stand="finished", decision=record), [Finish(record)])


# ---- what the router is told


def _told(state: ReleaseState, traffic: Traffic | None, wanted: Traffic) -> Transition:
    return Transition(replace(state, generation=wanted.generation), [SetTraffic(wanted)])


def _at_step(state: ReleaseState, traffic: Traffic | None) -> Traffic:
    step = state.strategy.steps_taken[state.step]
    weights = {state.stable: 100.0 - step.weight, state.candidate: float(step.weight)}
    kept = {version: weight for version, weight in weights.items() if weight > 0}
    mirrored = {state.candidate: float(step.mirrored)} if step.mirrored else {}
    return _traffic(state, traffic, kept, mirrored, state.stable, "baking")


def _last(state: ReleaseState, traffic: Traffic | None, outcome: Outcome) -> Traffic:
    winner = state.candidate if outcome == "promoted" else state.stable
    return _traffic(state, traffic, {winner: 100.0}, {}, winner, _FINAL[outcome])


def _traffic(
    state: ReleaseState, now: Traffic | None, weights: Mapping[str, float], mirrored: Mapping[str, float], stable: str,
    phase: Phase,
) -> Traffic:  # fmt: skip
    """The next generation; what the release has no opinion on stays."""
    slow_ms = state.strategy.slow_limit_ms
    if now is None:
        first = Traffic(max(state.generation, state.base + 1), weights, stable)
        wanted = replace(first, slow_ms=first.slow_ms if slow_ms is None else slow_ms)
    else:
        slow = now.slow_ms if slow_ms is None else slow_ms
        wanted = replace(now, generation=now.generation + 1, weights=weights, stable=stable, slow_ms=slow)
    slices = state.strategy.slices if isinstance(state.strategy, AB) and phase == "baking" else ()
    if isinstance(state.strategy, Shadow):
        shadow = state.strategy
        wanted = replace(wanted, mirror_timeout_s=shadow.timeout_s, mirror_limit=shadow.concurrency)
    return replace(wanted, mirrored=mirrored, slices=slices, release=state.id, phase=phase, by=state.by)
