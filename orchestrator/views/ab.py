"""An A/B experiment as a chart, a page and lines: the effect within its confidence sequence over time, the split, what
could have been seen by now, and parts of the requests.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.serving import AB, Release, ReleaseState
from orchestrator.serving.experiment import RATIO_ALPHA, Slice
from orchestrator.serving.sequences import e_text
from orchestrator.serving.trail import Moment
from orchestrator.views.axes import shown_number
from orchestrator.views.fragment import table_html
from orchestrator.views.lettering import escape, wrapped
from orchestrator.views.panel import ALARM, CALM, FAINT, GOOD, GROUND, INK, LINE, Panel, label, picture
from orchestrator.views.status import duration_text

_WIDTH, _PAD, _SIDE, _RIGHT, _PLOT, _SPLIT, _ROW = 760.0, 24.0, 56.0, 16.0, 220.0, 64.0, 24.0
_COLUMNS = 118
_TOLD = 6
"""Moments that the table over time has."""

_PAGE = """
:root { color-scheme: light dark; }
body { font: 14px/1.5 system-ui, sans-serif; max-width: 800px; margin: 2rem auto; padding: 0 1rem;
  color: #1f2933; background: #fff; }
@media (prefers-color-scheme: dark) { body { color: #e4e7eb; background: #14181d; } }
svg { max-width: 100%; height: auto; } table { margin: 1.2rem 0; font-variant-numeric: tabular-nums; }
"""


@dataclass(frozen=True, slots=True)
class ABView:
    """An experiment, as far as it is drawn.

    Attributes:
        figures: As ``Experiment.figures`` has them.
        slices: Parts of the requests.
        seen_at: When it was looked at last, or ended, in seconds since 1970.
        verdict: Why it ended; empty while it goes on.
    """

    title: str
    candidate: str
    stable: str
    strategy: AB
    moments: Sequence[Moment]
    figures: Mapping[str, float]
    slices: Sequence[Slice]
    began_at: float
    seen_at: float
    verdict: str = ""

    @property
    def confidence(self) -> float:
        """With what chance all intervals hold, at all times at once."""
        return 1.0 - self.strategy.wrong_winners

    @property
    def split_needed(self) -> float:
        """Logarithm of the e-value from which the split counts as broken."""
        return -math.log(RATIO_ALPHA)

    @property
    def split_broken(self) -> bool:
        """True if requests did not fall as they should."""
        return self.figures.get("ratio_log_e", 0.0) >= self.split_needed

    @property
    def effect(self) -> tuple[float, float, float] | None:
        """Difference, lower and upper end; None before there are values enough."""
        if "effect" not in self.figures:
            return None
        return self.figures["effect"], self.figures["effect_low"], self.figures["effect_high"]


def ab_view_of(release: Release | ReleaseState) -> ABView | None:
    """Of a record or of a release under way; None if it is no experiment."""
    strategy = release.strategy
    if not isinstance(strategy, AB):
        return None
    name = f"{release.app}: {strategy.metric} with {release.candidate} against {release.stable}"
    known = release.candidate, release.stable, strategy, release.trail.moments
    if isinstance(release, Release):
        return ABView(name, *known, release.figures, release.slices, release.began_at, release.ended_at, release.why)
    found = release.experiment
    return ABView(name, *known, found.figures(strategy), found.slices(strategy), release.began_at, release.looked_at)


# ---- in words


def ab_lines(view: ABView) -> Iterator[str]:
    """What it has found so far, a line for each thing."""
    lasted = duration_text(max(0.0, view.seen_at - view.began_at))
    yield f"after    {lasted}, horizon {duration_text(view.strategy.horizon_s)}"
    yield f"verdict  {view.verdict or 'it goes on'}"
    if view.effect is None:
        yield f"effect   nothing can be said before each version has {view.strategy.min_outcomes} values"
    else:
        yield f"effect   {_effect_text(*view.effect)} with {100 * view.confidence:g} %, however often one looks"
    yield f"split    {_split_text(view)}"
    yield f"power    {'; '.join(_power_texts(view))}"


def ab_tables(view: ABView) -> list[tuple[Sequence[str], list[tuple[str, ...]]]]:
    """The versions, the effect over time, and the slices: a head and rows for each that there is."""
    versions: list[tuple[str, ...]] = [
        (name, role, f"{view.figures[f'{role}_values']:,.0f}", shown_number(view.figures[f"{role}_mean"]))
        for role, name in (("candidate", view.candidate), ("stable", view.stable))
    ]
    tables: list[tuple[Sequence[str], list[tuple[str, ...]]]] = [
        (("version", "role", "values", f"mean {view.strategy.metric}"), versions)
    ]
    told = [moment for moment in view.moments if moment.effect]
    if told:
        chosen = dict.fromkeys(round(place * (len(told) - 1) / max(1, _TOLD - 1)) for place in range(_TOLD))
        rows = [
            (duration_text(told[at].time - view.began_at), *map(_signed, told[at].effect), _percent(told[at]))
            for at in chosen
        ]
        tables.append((("after", "effect", "low", "high", "split"), rows))
    if view.slices:
        tables.append((("slice", "candidate", "stable", "effect", "low", "high"), [_slice_row(s) for s in view.slices]))
    return tables


def ab_html(view: ABView) -> str:
    """The page: the chart and its figures, whole in itself, no scripts, nothing fetched."""
    names = (view.strategy.metric, "Effect over time", "Slices")
    tables = ab_tables(view)
    titles = names if len(tables) == len(names) else (names[0], names[2] if view.slices else names[1])
    body = "".join(table_html(title, *one) for title, one in zip(titles, tables, strict=False))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(view.title)}</title><style>{_PAGE}</style></head>\n"
        f"<body>{ab_svg(view)}{body}</body></html>\n"
    )


def _effect_text(difference: float, low: float, high: float) -> str:
    return f"{_signed(difference)} ({_signed(low)} to {_signed(high)})"


def _signed(value: float) -> str:
    return f"{value:+.3g}"


def _percent(moment: Moment) -> str:
    return f"{moment.split[0]:.3g} %" if moment.split else ""


def _split_text(view: ABView) -> str:
    got, log_e = view.figures.get("candidate_percent", 0.0), view.figures.get("ratio_log_e", 0.0)
    verdict = "that is no chance: the split is broken" if view.split_broken else "as it should be"
    return (
        f"{view.candidate} got {got:.3g} %, {view.strategy.split:g} % were asked for; {verdict} "
        f"(e-value {e_text(log_e)}, {e_text(view.split_needed)} would say broken)"
    )


def _power_texts(view: ABView) -> list[str]:
    detectable, smallest = view.figures.get("detectable_effect"), view.strategy.min_effect
    if detectable is None:
        return ["too few values"]
    told = [f"an effect of {shown_number(detectable)} would be seen by now with 80 %"]
    chance = view.figures.get("power")
    if chance is not None and smallest is not None:
        told.append(f"one of {shown_number(smallest)}, the smallest that matters, with {100 * chance:.0f} %")
    return told


def _slice_row(one: Slice) -> tuple[str, ...]:
    means = (one.candidate_mean, one.candidate_values), (one.stable_mean, one.stable_values)
    shown = [f"{shown_number(mean)} of {count:,.0f}" for mean, count in means]
    if one.difference is None or one.low is None or one.high is None:
        return one.name, *shown, "too few values", "", ""
    return one.name, *shown, _signed(one.difference), _signed(one.low), _signed(one.high)


# ---- as a chart


def ab_svg(view: ABView) -> str:
    """Draw an experiment."""
    head = wrapped(view.verdict or "It goes on.", _COLUMNS)
    body = [label(_PAD, 30, view.title, size=15, bold=True)]
    body += [label(_PAD, 50 + 15 * at, line, colour=FAINT) for at, line in enumerate(head)]
    top = 58.0 + 15 * len(head)
    better = "more is better" if view.strategy.better == "higher" else "less is better"
    text = f"Effect on {view.strategy.metric} ({better}), with the {100 * view.confidence:g} % confidence sequence"
    body.append(label(_PAD, top + 12, text, bold=True))
    moments = [moment for moment in view.moments if moment.effect]
    if moments:
        body += _effect(view, moments, top + 26)
        top += 26 + _PLOT + 52
    else:
        least = view.strategy.min_outcomes
        body.append(label(_PAD, top + 34, f"Nothing can be said before each version has {least} values.", colour=FAINT))
        top += 56
    body += _split(view, top)
    top += 24 + (_SPLIT + 40 if any(moment.split for moment in view.moments) else 26)
    body.append(label(_PAD, top, "Power so far", bold=True))
    told = _power_texts(view)
    body += [label(_PAD, top + 18 + 16 * at, line) for at, line in enumerate(told)]
    top += 18 + 16 * len(told) + 18
    body += _slices(view, top)
    return picture(view.title, _WIDTH, top + (46 + _ROW * len(view.slices) if view.slices else 0), body)


def _effect(view: ABView, moments: Sequence[Moment], top: float) -> Iterator[str]:
    low, high = _range(moments)
    panel = _panel(view, top, _PLOT, low, high)
    yield panel.frame()
    yield panel.level(0.0, INK, "5 4")
    colour = _colour(view, *moments[-1].effect)
    yield panel.band([(moment.time, moment.effect[1], moment.effect[2]) for moment in moments], colour)
    for end_of in (1, 2):
        yield panel.line([(moment.time, moment.effect[end_of]) for moment in moments], colour, 1.0)
    yield panel.line([(moment.time, moment.effect[0]) for moment in moments], colour, 2.2)
    x, (now, *ends) = panel.x(moments[-1].time), map(panel.y, moments[-1].effect)
    yield _upright(x, ends[1], ends[0], colour)
    yield _dot(x, now, colour)
    yield from panel.values(_ticks(low, high))
    yield from panel.times()


def _panel(view: ABView, top: float, height: float, low: float, high: float) -> Panel:
    left, begin = _PAD + _SIDE, view.moments[0].time
    return Panel(
        left, top, _WIDTH - left - _PAD - _RIGHT, height, begin, max(view.moments[-1].time, begin + 1.0), low, high
    )


def _colour(view: ABView, difference: float, low: float, high: float) -> str:
    if not (low > 0 or high < 0):
        return CALM
    return GOOD if (difference > 0) == (view.strategy.better == "higher") else ALARM


def _dot(x: float, y: float, colour: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}" stroke="{GROUND}" stroke-width="1.5"/>'


def _range(moments: Sequence[Moment]) -> tuple[float, float]:
    """Values that are shown: the later part of the sequence whole, and no more of its wide beginning than that."""
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


def _split(view: ABView, top: float) -> Iterator[str]:
    """Which part of the requests the candidate got by then, over time, beside what was asked for."""
    yield label(_PAD, top, f"Percent of the requests that {view.candidate} got", bold=True)
    moments = [moment for moment in view.moments if moment.split]
    below = top + 20
    if moments:
        wanted = view.strategy.split
        panel = _panel(view, top + 14, _SPLIT, max(0.0, wanted - 15.0), min(100.0, wanted + 15.0))
        colour = ALARM if view.split_broken else CALM
        yield panel.frame()
        yield panel.level(wanted, INK, "5 4")
        yield panel.line([(moment.time, moment.split[0]) for moment in moments if moment.split[0]], colour)
        yield from panel.values((panel.low, wanted, panel.high), " %")
        below += _SPLIT + 14
    yield label(_PAD, below, _split_text(view), colour=FAINT)


def _slices(view: ABView, top: float) -> Iterator[str]:
    """A row for each part of the requests, all on one axis."""
    if not view.slices:
        return
    told = f"Slices; their intervals together hold with {100 * view.confidence:g} %"
    yield label(_PAD, top, told, bold=True)
    left, width = 330.0, _WIDTH - 330.0 - _PAD - _RIGHT
    ends = [end for one in view.slices for end in (one.low, one.high) if end is not None]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    span = (high - low) or 1.0

    def x(value: float) -> float:
        return left + width * (value - low) / span

    down = top + 12 + _ROW * len(view.slices)
    for at, one in enumerate(view.slices):
        y = top + 12 + _ROW * (at + 0.5)
        yield label(_PAD, y + 4, one.name if len(one.name) <= 26 else f"{one.name[:25]}…")
        if one.difference is None or one.low is None or one.high is None:
            counts = f"{one.candidate_values:,.0f} and {one.stable_values:,.0f} values: too few"
            yield label(left - 12, y + 4, counts, anchor="end", colour=FAINT)
            continue
        yield label(left - 12, y + 4, _signed(one.difference), anchor="end", colour=FAINT)
        colour = _colour(view, one.difference, one.low, one.high)
        yield (
            f'<line x1="{x(one.low):.1f}" y1="{y:.1f}" x2="{x(one.high):.1f}" y2="{y:.1f}" stroke="{colour}" '
            'stroke-width="4" stroke-linecap="round" opacity="0.45"/>'
        )
        yield _dot(x(one.difference), y, colour)
    if ends:
        yield _upright(x(0), top + 12, down, INK, 'stroke-dasharray="5 4"')
        for value in _ticks(low, high):
            yield _upright(x(value), down, down + 4, LINE)
            yield label(x(value), down + 17, shown_number(value), anchor="middle", colour=FAINT)


def _upright(x: float, top: float, down: float, colour: str, more: str = "") -> str:
    return f'<line x1="{x:.1f}" y1="{top:.1f}" x2="{x:.1f}" y2="{down:.1f}" stroke="{colour}" {more}/>'
