"""An A/B experiment as a picture: the effect within its confidence sequence over time, the split, the power so far."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.serving import AB, Release, ReleaseState
from orchestrator.serving.trail import Moment
from orchestrator.views.axes import shown_number
from orchestrator.views.lettering import wrapped
from orchestrator.views.panel import ALARM, CALM, FAINT, GOOD, GROUND, INK, LINE, Panel, label, picture

_WIDTH, _PAD, _SIDE, _RIGHT, _PLOT = 760.0, 24.0, 56.0, 16.0, 220.0
_COLUMNS = 122


@dataclass(frozen=True, slots=True)
class ABView:
    """An experiment, as far as it is drawn.

    Attributes:
        figures: As ``Experiment.figures`` has them.
        verdict: Why it ended; empty while it goes on.
    """

    title: str
    candidate: str
    stable: str
    strategy: AB
    moments: Sequence[Moment]
    figures: Mapping[str, float]
    verdict: str = ""


def ab_view_of(release: Release | ReleaseState) -> ABView | None:
    """Of a record or of a release under way; None if it is no experiment."""
    strategy = release.strategy
    if not isinstance(strategy, AB):
        return None
    name = f"{release.app}: {strategy.metric} with {release.candidate} against {release.stable}"
    if isinstance(release, Release):
        figures, verdict = release.figures, release.why
    else:
        figures, verdict = release.experiment.figures(strategy), ""
    return ABView(name, release.candidate, release.stable, strategy, release.trail.moments, figures, verdict)


def ab_svg(view: ABView) -> str:
    """Draw an experiment."""
    told = view.verdict or "It goes on."
    head = wrapped(told, _COLUMNS)
    body = [label(_PAD, 30, view.title, size=15, bold=True)]
    body += [label(_PAD, 50 + 15 * at, line, colour=FAINT) for at, line in enumerate(head)]
    top = 58.0 + 15 * len(head)
    better = "more is better" if view.strategy.better == "higher" else "less is better"
    sure = 100 * (1 - view.strategy.wrong_winners)
    text = f"Effect on {view.strategy.metric} ({better}), with the {sure:g} % confidence sequence"
    body.append(label(_PAD, top + 12, text, bold=True))
    moments = [moment for moment in view.moments if moment.effect]
    if moments:
        body += _effect(view, moments, top + 26)
        top += 26 + _PLOT + 30
    else:
        least = view.strategy.min_outcomes
        body.append(label(_PAD, top + 34, f"Nothing can be said before each version has {least} values.", colour=FAINT))
        top += 46
    body += _ratio(view, top + 14)
    body += _power(view, top + 14)
    return picture(view.title, _WIDTH, top + 104, body)


def _effect(view: ABView, moments: Sequence[Moment], top: float) -> Iterator[str]:
    begin, end = view.moments[0].time, max(view.moments[-1].time, view.moments[0].time + 1.0)
    low, high = _range(moments)
    left = _PAD + _SIDE
    panel = Panel(left, top, _WIDTH - left - _PAD - _RIGHT, _PLOT, begin, end, low, high)
    yield panel.frame()
    yield panel.level(0.0, INK, "5 4")
    last = moments[-1].effect
    decided = last[1] > 0 or last[2] < 0
    good = (last[0] > 0) == (view.strategy.better == "higher")
    colour = (GOOD if good else ALARM) if decided else CALM
    yield panel.band([(moment.time, moment.effect[1], moment.effect[2]) for moment in moments], colour)
    for end_of in (1, 2):
        yield panel.line([(moment.time, moment.effect[end_of]) for moment in moments], colour, 1.0)
    yield panel.line([(moment.time, moment.effect[0]) for moment in moments], colour, 2.2)
    x, y = panel.x(moments[-1].time), panel.y(last[0])
    yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}" stroke="{GROUND}" stroke-width="1.5"/>'
    yield from panel.values(_ticks(low, high))
    yield from panel.times()


def _range(moments: Sequence[Moment]) -> tuple[float, float]:
    """Values that are shown: the later half of the sequence whole, and no more of its wide beginning than that."""
    later = moments[len(moments) // 4 :]
    low = min(0.0, *(moment.effect[1] for moment in later))
    high = max(0.0, *(moment.effect[2] for moment in later))
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def _ticks(low: float, high: float) -> list[float]:
    """Zero, and a round number of either side that fits."""
    step = next(
        step for power in range(-12, 13) for base in (1, 2, 5) if (high - low) / (step := base * 10.0**power) <= 6
    )
    return [round(number * step, 12) for number in range(-7, 8) if low <= number * step <= high]


def _ratio(view: ABView, top: float) -> Iterator[str]:
    """The split as a bar, with a mark where it should be."""
    width = 300.0
    got, wanted = view.figures.get("candidate_percent", 0.0), view.strategy.split
    wrong = view.figures.get("ratio_log_e", 0.0) > 6.9
    yield label(_PAD, top, "Split of the requests", bold=True)
    yield f'<rect x="{_PAD:g}" y="{top + 10:g}" width="{width:g}" height="14" rx="3" fill="{LINE}"/>'
    colour = ALARM if wrong else CALM
    yield f'<rect x="{_PAD:g}" y="{top + 10:g}" width="{width * got / 100:.1f}" height="14" rx="3" fill="{colour}"/>'
    x = _PAD + width * wanted / 100
    yield f'<line x1="{x:.1f}" y1="{top + 6:g}" x2="{x:.1f}" y2="{top + 28:g}" stroke="{INK}" stroke-width="2"/>'
    verdict = "that is no chance: the split is broken" if wrong else "as it should be"
    yield label(
        _PAD, top + 44, f"{view.candidate} got {got:.3g} %, {wanted:g} % were asked for; {verdict}", colour=FAINT
    )
    values = (view.figures.get(f"{side}_values", 0.0) for side in ("candidate", "stable"))
    means = (view.figures.get(f"{side}_mean", 0.0) for side in ("candidate", "stable"))
    told = [
        f"{name} {shown_number(mean)} ({count:,.0f} values)"
        for name, mean, count in zip((view.candidate, view.stable), means, values, strict=True)
    ]
    yield label(_PAD, top + 60, f"mean {view.strategy.metric}: {', '.join(told)}", colour=FAINT)


def _power(view: ABView, top: float) -> Iterator[str]:
    left = 420.0
    yield label(left, top, "Power so far", bold=True)
    detectable = view.figures.get("detectable_effect")
    if detectable is None:
        yield label(left, top + 22, "too few values", colour=FAINT)
        return
    yield label(left, top + 22, f"an effect of {shown_number(detectable)} would be seen by now with 80 %")
    power, smallest = view.figures.get("power"), view.strategy.min_effect
    if power is not None and smallest is not None:
        text = f"one of {shown_number(smallest)}, the smallest that matters, with {100 * power:.0f} %"
        yield label(left, top + 38, text)
