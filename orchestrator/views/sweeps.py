"""A sweep as a picture: its trials as lines across an axis for each parameter, and what they reported as curves.

Lines are the stronger the better their trial; the best is drawn last, in a colour of its own. Trials that were ended
early are dashed, those that failed dotted and without a value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.ports.tune import Mode, Trial
from orchestrator.views.axes import Axis, axis_of, shown_number
from orchestrator.views.curves import counts_up
from orchestrator.views.fragment import table_html
from orchestrator.views.lettering import FAMILY, escape, text_width
from orchestrator.views.reports import metric_series

_WIDTH, _PLOT, _TOP, _PAD, _SIDE = 760.0, 210.0, 62.0, 24.0, 56.0
_INK, _GROUND, _LINE = "#1c2430", "#f6f8fb", "#c3ccd8"
_BEST = "#c44601"
_WEAK, _STRONG = (178, 196, 214), (0, 90, 150)
_DASH = {
    "finished": "",
    "running": ' stroke-dasharray="10 3 2 3"',
    "stopped": ' stroke-dasharray="5 4"',
    "failed": ' stroke-dasharray="1 5"',
}
_LONGEST_LABEL = 16
_RANKS = 5


@dataclass(frozen=True, slots=True)
class SweepView:
    """A sweep, as far as it is drawn.

    Attributes:
        best: A place in ``trials``, or None.
        planned: How many trials it is to have, while it goes on.
    """

    name: str
    metric: str
    mode: Mode
    trials: Sequence[Trial]
    best: int | None
    planned: int | None = None

    @property
    def params(self) -> list[str]:
        """Names of the parameters, in order."""
        return list(dict.fromkeys(name for trial in self.trials for name in trial.params))

    @property
    def title(self) -> str:
        """One line that says what was found."""
        states = [trial.state for trial in self.trials]
        rest = [f"{states.count(state)} {state}" for state in ("running", "stopped", "failed") if state in states]
        of = "" if self.planned is None else f" of {self.planned}"
        told = f"{self.name}: {len(self.trials)}{of} trials" + (f" ({', '.join(rest)})" if rest else "")
        best = None if self.best is None else self.trials[self.best].value
        so_far = "" if self.planned is None else " so far"
        return told if best is None else f"{told}, best{so_far} {self.metric} {shown_number(best)}"

    def rows(self) -> list[tuple[str, ...]]:
        """A table of the trials: number, state, metric, parameters, what is to be said; the best marked."""
        return [
            (
                f"{place}{'*' if place == self.best else ''}",
                trial.state,
                "-" if trial.value is None else shown_number(trial.value),
                *(shown(trial.params.get(name)) for name in self.params),
                trial.error or (f"{len(trial.reports)} reports" if trial.reports else ""),
            )
            for place, trial in enumerate(self.trials)
        ]

    def head(self) -> tuple[str, ...]:
        """Titles of the columns of ``rows``."""
        return ("trial", "state", self.metric, *self.params, "")


def shown(value: Any) -> str:
    """A parameter's value, short."""
    if isinstance(value, dict) and "$type" in value:  # of a stored value that is not rebuilt to be shown
        value = value.get("preview")
    text = shown_number(value) if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else text[:39] + "…"


def sweep_html(view: SweepView) -> str:
    """A sweep as a fragment of HTML: the picture, and all trials as a table."""
    region = 'tabindex="0" role="region" aria-label="Trials of the sweep"'
    picture = f'<div class="orc-sweep" style="overflow:auto;max-width:100%" {region}>{sweep_svg(view)}</div>'
    return picture + table_html(view.title, view.head(), view.rows())


def sweep_svg(view: SweepView) -> str:
    """Draw a sweep: parallel coordinates, and curves of the metric if it was reported."""
    curves = _curved(view)
    height = _TOP + _PLOT + 2 * _PAD + (_PLOT + _TOP if curves else 0.0)
    axes = [axis_of(name, [trial.params.get(name) for trial in view.trials]) for name in view.params]
    axes.append(axis_of(view.metric, [trial.value for trial in view.trials if trial.value is not None]))
    width = max(
        _WIDTH, 2 * _SIDE + 2 * _PAD + 118.0 * (len(axes) - 1), text_width(view.title, 15, bold=True) + 2 * _PAD
    )
    body = [
        f'<rect width="{width:.0f}" height="{height:.0f}" rx="8" fill="{_GROUND}"/>',
        _text(_PAD, 28, view.title, size=15, anchor="start", weight=' font-weight="600"'),
        *_parallel(view, axes, width),
    ]
    if curves:
        body += [f'<g transform="translate(0 {_TOP + _PLOT + _PAD + 12:g})">', *_curves(view, curves, width), "</g>"]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" class="sweep-lines" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" font-family="{FAMILY}">'
        f"<title>{escape(view.title)}</title>\n" + "\n".join(body) + "\n</svg>\n"
    )


def _curved(view: SweepView) -> str:
    """The reported metric that is drawn: that of the sweep, or the first that there is; it has to make a curve."""
    told = [metric_series(trial.reports) for trial in view.trials]
    names = dict.fromkeys([view.metric, *(name for series in told for name in series)])
    lines = {name: [[value for _, value in series.get(name, ())] for series in told] for name in names}
    drawn = (name for name, of in lines.items() if any(len(one) > 1 and not counts_up(one) for one in of))
    return next(drawn, "")


# ---- the parts


def _parallel(view: SweepView, axes: Sequence[Axis], width: float) -> Iterator[str]:
    step = (width - 2 * _SIDE - 2 * _PAD) / max(1, len(axes) - 1)
    xs = [_PAD + _SIDE + step * place for place in range(len(axes))]
    for x, axis in zip(xs, axes, strict=True):
        yield f'<line x1="{x:.1f}" y1="{_TOP + 8}" x2="{x:.1f}" y2="{_TOP + 8 + _PLOT}" stroke="{_LINE}"/>'
        yield _text(x, _TOP - 8, _cut(axis.name), weight=' font-weight="600"')
    for place, trial in _worst_first(view):
        cells = [(axis, trial.params.get(axis.name)) for axis in axes[:-1]]
        if trial.value is not None:
            cells.append((axes[-1], trial.value))
        points = [(x, _TOP + 8 + _PLOT * (1 - axis.at(value))) for x, (axis, value) in zip(xs, cells, strict=False)]
        yield _path(view, place, points)
    for x, axis in zip(xs, axes, strict=True):
        for value, at in axis.ticks:
            yield _label(x, _TOP + 8 + _PLOT * (1 - at), _cut(value))


def _curves(view: SweepView, name: str, width: float) -> Iterator[str]:
    left, right = _PAD + _SIDE, width - _PAD - _SIDE
    series = {place: [report.get(name) for report in trial.reports] for place, trial in enumerate(view.trials)}
    longest = max(map(len, series.values()), default=1)
    axis = axis_of(name, [value for values in series.values() for value in values if value is not None])
    yield _text(left - _SIDE, 18, f"{name} by report", anchor="start", weight=' font-weight="600"')
    yield f'<path d="M{left:.1f} 34 V{34 + _PLOT:.1f} H{right:.1f}" fill="none" stroke="{_LINE}"/>'
    for value, at in axis.ticks:
        yield _text(left - 6, 38 + _PLOT * (1 - at), value, anchor="end")
    for count in sorted({1, (longest + 1) // 2, longest}):
        yield _text(_along(left, right, count - 1, longest), 34 + _PLOT + 16, str(count))
    for place, _ in _worst_first(view):
        points = [
            (_along(left, right, at, longest), 34 + _PLOT * (1 - axis.at(value)))
            for at, value in enumerate(series[place])
            if value is not None
        ]
        if points:
            yield _path(view, place, points)
            x, y = points[-1]
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{_colour(view, place)}" {_shade(view, place)}/>'


def _along(left: float, right: float, at: int, longest: int) -> float:
    return left + (right - left) * at / max(1, longest - 1)


def _path(view: SweepView, place: int, points: Sequence[tuple[float, float]]) -> str:
    trial = view.trials[place]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    told = ", ".join(f"{name}={shown(value)}" for name, value in trial.params.items())
    value = trial.error or ("no value" if trial.value is None else f"{view.metric}={shown_number(trial.value)}")
    return (
        f'<polyline points="{line}" fill="none" stroke="{_colour(view, place)}" data-trial="{place}" '
        f'stroke-width="{3 if place == view.best else 1.6}" stroke-linejoin="round" '
        f"{_shade(view, place)}{_DASH[trial.state]}>"
        f"<title>{escape(f'trial {place}, {trial.state}: {told}; {value}')}</title></polyline>"
    )


def _worst_first(view: SweepView) -> list[tuple[int, Trial]]:
    return sorted(enumerate(view.trials), key=lambda entry: (entry[0] == view.best, _rank(view, entry[1])))


def _rank(view: SweepView, trial: Trial) -> float:
    """0 for the worst value, 1 for the best; -1 without a value."""
    values = sorted(other.value for other in view.trials if other.value is not None and other.value == other.value)
    if trial.value is None or trial.value not in values:
        return -1.0
    place = values.index(trial.value) / max(1, len(values) - 1)
    return place if view.mode == "max" else 1.0 - place


def _colour(view: SweepView, place: int) -> str:
    if place == view.best:
        return _BEST
    rank = max(0.0, _rank(view, view.trials[place]))
    mixed = (round(weak + (strong - weak) * rank) for weak, strong in zip(_WEAK, _STRONG, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def _shade(view: SweepView, place: int) -> str:
    """A class by which a page's own style may choose the colour, such as for dark pages."""
    if place == view.best:
        return 'class="best"'
    return f'class="rank{round((_RANKS - 1) * max(0.0, _rank(view, view.trials[place])))}"'


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_LABEL else text[: _LONGEST_LABEL - 1] + "…"


def _label(x: float, y: float, text: str) -> str:
    """A tick's value beside its axis, on a ground that keeps lines from running through it."""
    width = text_width(text, 11)
    ground = f'<rect x="{x + 3:.1f}" y="{y - 8:.1f}" width="{width:.1f}" height="15" fill="{_GROUND}" opacity="0.85"/>'
    return ground + _text(x + 5, y + 4, text, anchor="start")


def _text(x: float, y: float, text: str, *, size: int = 11, anchor: str = "middle", weight: str = "") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{_INK}"{weight}>'
        f"{escape(text)}</text>"
    )
