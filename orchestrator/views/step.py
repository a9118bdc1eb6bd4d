"""One step of a run as a fragment of HTML: its state and times, what it got, gave, reported and wrote, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.graph.fact import Failure
from orchestrator.views.axes import shown_number
from orchestrator.views.markup import (
    Cell,
    Markup,
    Number,
    counted,
    escape_lines,
    facts,
    failed,
    folded,
    head,
    mark,
    paragraph,
    table,
)
from orchestrator.views.reports import metric_series, reports_svg
from orchestrator.views.status import count_text, duration_text
from orchestrator.views.value import ValueView, value_html

_REPORTED = 8


@dataclass(frozen=True, slots=True)
class ItemRow:
    """One item of a map: how it went, and a few characters of its output or error."""

    index: int
    state: str
    attempts: int
    elapsed_s: float | None
    said: str


@dataclass(frozen=True, slots=True)
class StepView:
    """A step, or a map as a whole.

    Attributes:
        why: What the cache decided, and why.
        inputs: Name, where it came from, or the value of a constant, and what it looks like.
        attempts: When, on which worker, and what came of it.
        reports: What it reported, in order; ``item_reports`` those of some items of a map.
        checks: State, name and message.
        log: The end of what it wrote; ``log_cut`` if there is more before that.
        items: The first items of a map, and those that failed.
        reasons: When, what and why.
    """

    address: str
    kind: str
    state: str
    counts: Mapping[str, int] = field(default_factory=dict)
    many: bool = False
    steps: int | None = None
    stage: str = ""
    source: str = ""
    started: str = ""
    waited_s: float | None = None
    ran_s: float | None = None
    why: str = ""
    needs: Sequence[str] = ()
    failure: Failure | None = None
    inputs: Sequence[tuple[str, str, str]] = ()
    output: ValueView | None = None
    attempts: Sequence[tuple[str, str, str]] = ()
    reports: Sequence[Mapping[str, float]] = ()
    item_reports: Sequence[Sequence[Mapping[str, float]]] = ()
    checks: Sequence[tuple[str, str, str]] = ()
    log: str = ""
    log_cut: bool = False
    items: Sequence[ItemRow] = ()
    reasons: Sequence[tuple[str, str, str]] = ()

    @property
    def width(self) -> str:
        """How many items a map has; empty for a single step."""
        return "" if not self.many else f"{'?' if self.steps is None else count_text(self.steps)} items"


def took(elapsed_s: float | None) -> str:
    """A duration, or nothing."""
    return "" if elapsed_s is None else duration_text(elapsed_s)


def step_html(view: StepView, titled: bool = True) -> str:
    """All of a step; without its title where that stands above it already."""
    parts = [head(view.address, view.state)] if titled else []
    parts += [
        facts(
            [
                ("stage", view.stage), ("started", view.started), ("waited for a worker", took(view.waited_s)),
                ("ran", took(view.ran_s)), ("items", view.width.removesuffix(" items")), ("called at", view.source),
            ]
        ),
        counted(view.counts) if view.many else "",
        paragraph(view.why),
        "" if view.failure is None else failed(view.failure),
        _section("Output", "" if view.output is None else value_html(view.output)),
        _section("Inputs", _inputs(view)),
        _section("Reported", reported_html(view)),
        _section("Checks", table(("", "check", "found"), [
            (Markup(mark(_CHECKED.get(state, "failed"), state)), name, said) for state, name, said in view.checks])),
        _section("Items", _items(view)),
        _section("Log", _log(view)),
        _section("Attempts", table(("when", "worker", "what came of it"), view.attempts)
                 if len(view.attempts) > 1 else ""),
        folded("What happened, and why", table(("when", "what", "why"), view.reasons)),
    ]  # fmt: skip
    return "".join(parts)


_CHECKED = {"passed": "succeeded", "warned": "degraded"}


def reported_html(view: StepView) -> str:
    """Curves of what was reported more than once, and the last of every metric."""
    if view.item_reports:
        drawn = reports_svg(f"{view.address}: what its items reported", view.item_reports)
        return f'<div class="scroll">{drawn}</div>' if drawn else ""
    if not view.reports:
        return ""
    last = {name: points[-1][1] for name, points in metric_series(view.reports).items()}
    drawn = reports_svg(f"{view.address}: what it reported", [view.reports])
    rows: list[tuple[Cell, ...]] = [(name, Number(shown_number(value))) for name, value in last.items()]
    shown = table(("metric", "last"), rows)
    if drawn:
        return f'<div class="scroll">{drawn}</div>{folded("as numbers", _numbers(view))}'
    return shown


def _numbers(view: StepView) -> str:
    """The reports as a table; of many, the first, the last, and some between."""
    names = list(metric_series(view.reports))[:_REPORTED]
    count = len(view.reports)
    kept = sorted({*range(min(count, 10)), *range(max(0, count - 10), count)})
    rows: list[list[Cell]] = [
        [str(place + 1), *(Number(_number(view.reports[place].get(name))) for name in names)] for place in kept
    ]
    return table(("report", *names), rows)


def _number(value: float | None) -> str:
    return "" if value is None else shown_number(value)


def _inputs(view: StepView) -> str:
    rows: list[tuple[Cell, ...]] = [
        (name, _code(value if seen else ""), _code(seen or value)) for name, value, seen in view.inputs
    ]
    return table(("name", "from", "value"), rows)


def _code(text: str) -> Markup:
    return Markup(f"<code>{escape_lines(text)}</code>" if text else "")


def _items(view: StepView) -> str:
    if not view.items:
        return ""
    rows: list[tuple[Cell, ...]] = [
        (str(item.index), Markup(mark(item.state)), Number(str(item.attempts)), Number(took(item.elapsed_s)), item.said)
        for item in view.items
    ]
    shown = table(("item", "state", "attempts", "ran", "output or error"), rows)
    more = (view.steps or len(rows)) - len(rows)
    return shown + paragraph(f"and {count_text(more)} more" if more > 0 else "", soft=True)


def _log(view: StepView) -> str:
    if not view.log:
        return ""
    cut = paragraph("the end of it", soft=True) if view.log_cut else ""
    return f'{cut}<pre tabindex="0" aria-label="Log">{escape_lines(view.log.rstrip())}</pre>'


def _section(title: str, content: str) -> str:
    return f'<p style="margin-top:10px"><strong>{title}</strong></p>{content}' if content else ""
