"""A release as a picture: how many requests went to the candidate over time, and how near each guard came to acting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.serving import Release, ReleaseState, Shadow
from orchestrator.serving.claims import Claim
from orchestrator.serving.guard import guards_of
from orchestrator.serving.trail import Moment
from orchestrator.views.lettering import wrapped
from orchestrator.views.panel import ALARM, CALM, FAINT, GOOD, GROUND, Panel, label, picture

_WIDTH, _PAD, _SIDE, _RIGHT = 760.0, 24.0, 40.0, 16.0
_WEIGHTS, _GUARD, _GAP = 120.0, 34.0, 26.0
_COLUMNS = 122
_COLOURS = {"promoted": GOOD, "rolled_back": ALARM, "overruled": ALARM}


@dataclass(frozen=True, slots=True)
class ReleaseView:
    """A release, as far as it is drawn.

    Attributes:
        outcome: As in ``Release``, or ``under way``.
        hard: Guards that only ever act at once.
        mirrored: The candidate gets copies.
    """

    title: str
    outcome: str
    why: str
    candidate: str
    moments: Sequence[Moment]
    claims: Sequence[Claim]
    hard: frozenset[str]
    mirrored: bool


def view_of(release: Release | ReleaseState) -> ReleaseView:
    """Of a record, or of a release under way."""
    name, moments = f"{release.app}: {release.candidate}", release.trail.moments
    hard = frozenset(key for key, guard in guards_of(release.strategy).items() if guard.hard)
    mirrored = isinstance(release.strategy, Shadow)
    if isinstance(release, Release):
        title, outcome = f"{name} {release.outcome.replace('_', ' ')}", release.outcome
        return ReleaseView(title, outcome, release.why, release.candidate, moments, release.claims, hard, mirrored)
    title = f"{name} under way, step {release.step + 1} of {len(release.strategy.steps_taken)}"
    return ReleaseView(title, "under way", "", release.candidate, moments, (), hard, mirrored)


def release_svg(view: ReleaseView) -> str:
    """Draw a release."""
    head = wrapped(view.why, _COLUMNS) if view.why else []
    body = [label(_PAD, 30, view.title, size=15, bold=True, colour=_COLOURS.get(view.outcome, "#1c2430"))]
    body += [label(_PAD, 50 + 15 * at, line, colour=FAINT) for at, line in enumerate(head)]
    top = 58.0 + 15 * len(head)
    if not view.moments:
        body.append(label(_PAD, top + 12, "No request has moved."))
        return picture(view.title, _WIDTH, top + 32, body)
    begin, end = view.moments[0].time, view.moments[-1].time
    end = end if end > begin else begin + 1.0
    what = "of which it gets a copy" if view.mirrored else f"that {view.candidate} answers"
    body.append(label(_PAD, top + 12, f"Percent of the requests {what}", bold=True))
    weights = _panel(top + 24, _WEIGHTS, begin, end, 100.0)
    body += [weights.frame(), *weights.values((0, 50, 100)), *_weights(view, weights)]
    top += 24 + _WEIGHTS + 16
    charted = _charted(view)
    if charted:
        body.append(label(_PAD, top + 14, "Guards: evidence on its way to the line at which each one acts", bold=True))
        top += 26
    last = weights
    for said in charted:
        last = _panel(top + 16, _GUARD, begin, end, 1.0)
        body += _guard(view, said, last)
        top += 16 + _GUARD + _GAP - 10
    body += last.times()
    quiet = _quiet(view, charted)
    bottom = last.top + last.height + 34
    lines = wrapped(f"Watched too, and quiet: {'; '.join(quiet)}.", _COLUMNS) if quiet else []
    body += [label(_PAD, bottom + 8 + 15 * at, line, colour=FAINT) for at, line in enumerate(lines)]
    return picture(view.title, _WIDTH, bottom + 15 * len(lines) + 8, body)


def _panel(top: float, height: float, begin: float, end: float, high: float) -> Panel:
    left = _PAD + _SIDE
    return Panel(left, top, _WIDTH - left - _PAD - _RIGHT, height, begin, end, 0.0, high)


def _weights(view: ReleaseView, panel: Panel) -> Iterator[str]:
    moments = view.moments
    steps: list[tuple[float, float]] = []
    for at, moment in enumerate(moments):
        if at:
            steps.append((moment.time, moments[at - 1].weight))
        steps.append((moment.time, moment.weight))
    yield panel.band([(time, 0.0, weight) for time, weight in steps], CALM, 0.14)
    yield panel.line(steps, CALM)
    if view.outcome in ("promoted", "rolled_back", "reported"):
        last, goes_to = moments[-1], 100.0 if view.outcome == "promoted" else 0.0
        colour = _COLOURS.get(view.outcome, FAINT)
        x, y = panel.x(last.time), panel.y(goes_to)
        yield panel.line([(last.time, last.weight), (last.time, goes_to)], colour, 2.5)
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}" stroke="{GROUND}" stroke-width="1.5"/>'


def _charted(view: ReleaseView) -> list[str]:
    """Claims that have a line: those with an e-value, and those that acted at once."""
    said = {said: None for moment in view.moments for said in moment.claims}
    acted = {claim for moment in view.moments for claim, part in moment.claims.items() if part >= 1.0}
    return [one for one in said if one not in view.hard or one in acted]


def _quiet(view: ReleaseView, charted: Sequence[str]) -> list[str]:
    return [said for said in {said: None for moment in view.moments for said in moment.claims} if said not in charted]


def _guard(view: ReleaseView, said: str, panel: Panel) -> Iterator[str]:
    points = [(moment.time, moment.claims.get(said, 0.0)) for moment in view.moments]
    acted = points[-1][1] >= 1.0
    colour = ALARM if acted else CALM
    yield label(panel.left, panel.top - 5, said, bold=acted, colour=ALARM if acted else "#1c2430")
    numbers = _numbers(view, said)
    if numbers:
        yield label(panel.left + panel.width, panel.top - 5, numbers, anchor="end", colour=FAINT)
    yield panel.frame()
    yield panel.level(1.0, ALARM)
    yield panel.band([(time, 0.0, value) for time, value in points], colour, 0.14)
    yield panel.line(points, colour)
    if acted:
        x, y = panel.x(points[-1][0]), panel.y(1.0)
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{ALARM}" stroke="{GROUND}" stroke-width="1.5"/>'


def _numbers(view: ReleaseView, said: str) -> str:
    """What was measured last: candidate and stable version, or the limit."""
    for claim in view.claims:
        if claim.said == said and len(claim.evidence) == 1:
            return claim.evidence[0].shown()
    return ""
