"""Releases as documents of the API; pages show the same documents."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from orchestrator.api import release_schemas as s
from orchestrator.api.describing import iso
from orchestrator.app.installation import Installation
from orchestrator.app.released import Found, WentBack, began, model_of, weights_of
from orchestrator.graph import fact as f
from orchestrator.serving import Release, Shadow
from orchestrator.serving.claims import Claim
from orchestrator.serving.guard import guards_of
from orchestrator.serving.strategy import strategy_to_json
from orchestrator.views.ab import ABView, ab_view_of


def release_of(here: Installation, found: Found) -> s.Release:
    """A release."""
    known = found.known
    record = known if isinstance(known, Release) else None
    moments = known.trail.moments
    mirrored = moments[-1].weight if record is None and moments and isinstance(known.strategy, Shadow) else 0.0
    return s.Release.model_validate({
        "id": known.id, "app": known.app, "run": found.run, "step": found.step, "state": state_of(found),
        "kind": known.strategy.kind, "candidate": known.candidate, "stable": known.stable,
        "model": model_of(here, found.run), "weights": weights_of(found), "mirrored_percent": mirrored,
        "began_at": iso(known.began_at), "ended_at": None if record is None else iso(record.ended_at),
        "why": "" if record is None else record.why, "by": "" if record is None else record.by, "forced": known.forced,
    })  # fmt: skip


def state_of(found: Found) -> str:
    """How it came out, or whether it goes on."""
    return found.known.outcome if isinstance(found.known, Release) else found.state


def apps_of(here: Installation, releases: Sequence[Found | WentBack]) -> list[s.App]:
    """Applications by name, each as what happened to it last has left it."""
    by_app: dict[str, list[Found | WentBack]] = {}
    for one in releases:
        by_app.setdefault(app_of(one), []).append(one)
    names = names_of(here, releases)
    return [_app(app, known, names) for app, known in sorted(by_app.items())]


def names_of(here: Installation, releases: Sequence[Found | WentBack]) -> dict[str, str]:
    """Versions of the registry by what routers call them, where a release on record says so."""
    found = ((one.known.candidate, model_of(here, one.run)) for one in releases if isinstance(one, Found))
    return {version: model for version, model in found if model}


def app_of(one: Found | WentBack) -> str:
    """The application that it is about."""
    return one.known.app if isinstance(one, Found) else one.app


def _app(app: str, known: Sequence[Found | WentBack], names: Mapping[str, str]) -> s.App:
    newest = max(known, key=_moved_at)
    release = next((one.known.id for one in (newest, *known) if isinstance(one, Found)), None)
    weights = weights_of(newest)
    return s.App.model_validate({
        "app": app, "weights": weights, "models": {one: names[one] for one in weights if one in names},
        "since": iso(began(newest) if _moved_at(newest) == math.inf else _moved_at(newest)),
        "last": "rollback" if isinstance(newest, WentBack) else "release",
        "state": state_of(newest) if isinstance(newest, Found) else "rolled_back",
        "release": release, "run": newest.run, "may_roll_back": may_roll_back(newest),
    })  # fmt: skip


def _moved_at(one: Found | WentBack) -> float:
    """When it moved requests last."""
    if isinstance(one, Found) and not isinstance(one.known, Release):
        return math.inf if one.driven else max(one.known.looked_at, one.known.began_at)
    return one.known.ended_at if isinstance(one, Found) and isinstance(one.known, Release) else began(one)


def may_roll_back(newest: Found | WentBack) -> bool:
    """Whether it makes sense to offer it; the router knows for sure, and says so if there is no way back."""
    if isinstance(newest, WentBack):
        return False
    known = newest.known
    return not isinstance(known, Release) or (known.outcome in ("promoted", "overruled") and known.cause != "first")


def detail_of(here: Installation, found: Found, newest: bool) -> s.ReleaseDetail:
    """One release.

    Args:
        newest: It is the last thing that happened to its application.
    """
    known = found.known
    record = known if isinstance(known, Release) else None
    view = ab_view_of(known)
    return s.ReleaseDetail(
        release=release_of(here, found),
        step=known.step,
        steps=[max(step.weight, step.mirrored) for step in known.strategy.steps_taken],
        samples=record.samples if record is not None else known.trail.moments[-1].samples if known.trail.moments else 0,
        strategy=_plain(strategy_to_json(known.strategy)),
        guards=_guards(found),
        trail=[
            s.Moment(at=iso(one.time) or "", weight=one.weight, samples=one.samples, guards=dict(one.claims))
            for one in known.trail.moments
        ],
        figures=dict(record.figures) if record is not None else {},
        tags=tags_of(here, found.run),
        url=record.url if record is not None else "",
        chart_url=f"{api_url(known.id)}/chart.svg",
        experiment=None if view is None else _experiment(known.id, view),
        actions=["rollback"] if newest and may_roll_back(found) else [],
    )


def api_url(release: str) -> str:
    """Where a release is."""
    return f"/api/v1/releases/{quote(release, safe='')}"


def tags_of(here: Installation, run: str) -> list[str]:
    """Tags that moved with the requests, in words."""
    moved = (recorded.fact for recorded in here.journal.facts(run) if isinstance(recorded.fact, f.TagsMoved))
    return [str(move) for fact in moved for move in fact.moves]


def _guards(found: Found) -> list[s.Guard]:
    known = found.known
    if isinstance(known, Release):
        return [_claim(one) for one in known.claims]
    hard = {key for key, guard in guards_of(known.strategy).items() if guard.hard}
    moments = known.trail.moments
    return [
        s.Guard(
            claim=said, progress=progress, proved=progress >= 1.0, at_once=said in hard, e_value_log=None,
            needed_log=None, seen="",
        )
        for said, progress in (moments[-1].claims if moments else {}).items()
    ]  # fmt: skip


def _claim(claim: Claim) -> s.Guard:
    at_once = claim.needed == math.inf
    words = [part for one in claim.evidence for part in (one.shown(), one.said) if part]
    return s.Guard(
        claim=claim.said, progress=claim.progress, proved=claim.proved, at_once=at_once,
        e_value_log=None if at_once else claim.log_e, needed_log=None if at_once else claim.needed,
        seen="; ".join(words),
    )  # fmt: skip


def _experiment(release: str, view: ABView) -> s.Experiment:
    figures = view.figures
    return s.Experiment.model_validate({
        "metric": view.strategy.metric, "better": view.strategy.better, "confidence": view.confidence,
        "horizon_s": view.strategy.horizon_s,
        "versions": [
            {"version": name, "role": role, "values": int(figures[f"{role}_values"]), "mean": figures[f"{role}_mean"]}
            for role, name in (("candidate", view.candidate), ("stable", view.stable))
        ],
        "effect": _effect(view.effect), "candidate_percent": figures["candidate_percent"],
        "wanted_percent": view.strategy.split, "split_broken": view.split_broken,
        "slices": [
            {
                "name": one.name, "candidate_values": int(one.candidate_values),
                "stable_values": int(one.stable_values), "candidate_mean": one.candidate_mean,
                "stable_mean": one.stable_mean,
                "effect": _effect(tuple(v for v in (one.difference, one.low, one.high) if v is not None)),
            }
            for one in view.slices
        ],
        "chart_url": f"{api_url(release)}/experiment.svg",
    })  # fmt: skip


def _effect(values: Sequence[float] | None) -> dict[str, float] | None:
    return dict(zip(("difference", "low", "high"), values, strict=True)) if values else None


def _plain(value: Any) -> Any:
    """Without numbers that JSON has not."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
