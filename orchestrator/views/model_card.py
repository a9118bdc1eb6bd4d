"""The card of a model version: one outline of sections, written as a page of HTML or as Markdown.

Plots stand beside the same figures in tables, so that nothing hangs on seeing or pointing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from orchestrator.serving import ModelCard
from orchestrator.views.axes import shown_number
from orchestrator.views.markup import framed, head
from orchestrator.views.model_card_plots import Interval, bars_svg, bins_svg, histogram_svg, intervals_svg

_NOT_SAID = "The author has not said."
_BARS = 20
_DRAWN = 20
_CELL = "<td>"
_STYLE = """
:root { color-scheme: light dark; --ink: #1f2933; --soft: #52606d; --line: #cbd2d9; --page: #fff; --mark: #0063a3;
  --other: #a8470b; --good: #1d5f3a; --bad: #a61b10; --box: #f5f7fa; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7eb; --soft: #9aa5b1; --line: #3e4c59; --page: #1b1f24; --mark: #6db3f2; --other: #f0a060;
    --good: #7ed09e; --bad: #ff9a8d; --box: #242a31; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 2rem auto;
  max-width: 860px; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .5rem; }
.under { color: var(--soft); margin: .2rem 0 1.5rem; }
.stage { border: 1px solid currentColor; border-radius: 3px; padding: 0 .4rem; font-size: .85rem; }
.words { white-space: pre-line; background: var(--box); border-radius: 6px; padding: .8rem 1rem; margin: .3rem 0 1rem; }
.pair { display: flex; flex-wrap: wrap; gap: .5rem 2.5rem; align-items: flex-start; }
.wide { overflow-x: auto; max-width: 100%; margin: .5rem 0; } svg { display: block; max-width: 100%; height: auto; }
figcaption { color: var(--soft); font-size: .85rem; } figure { margin: .5rem 0 1rem; max-width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .87rem; }
th, td { text-align: left; vertical-align: top; padding: .2rem 1.2rem .2rem 0; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; } td { overflow-wrap: break-word; }
.good { color: var(--good); } .bad { color: var(--bad); font-weight: 600; }
@media print { body { margin: 0; max-width: none; } }
"""


@dataclass(frozen=True, slots=True)
class CardView:
    """A model version, as far as its card shows it.

    Attributes:
        facts: Label and text: when it was made, its size, its digest.
        card: What its run measured and its author says; None if the run made no card.
        metrics: What its run reported, shown where there is no card.
        lineage: Label and text.
        gates: Whether it passed, what it is called, what was found.
        promotions: When, what, and by whom and why; newest first.
    """

    address: str
    stage: str
    aliases: Sequence[str]
    facts: Sequence[tuple[str, str]]
    card: ModelCard | None
    metrics: Mapping[str, float]
    lineage: Sequence[tuple[str, str]]
    gates: Sequence[tuple[bool, str, str]]
    promotions: Sequence[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class _Section:
    """A title with the author's words, a note, a plot with a caption and a table, any of them empty."""

    title: str
    words: str = ""
    note: str = ""
    plot: tuple[str, str] | None = None
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


def card_html(view: CardView) -> str:
    """The page, whole in itself: no scripts, nothing fetched."""
    title, body = escape(card_title(view)), card_sections(view)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n"
        f'<body><main><h1>{title}</h1>\n<p class="under">{escape(view.address)} '
        f'<span class="stage">{escape(view.stage)}</span> {escape(", ".join(view.aliases))}</p>\n'
        f"{body}\n</main></body></html>\n"
    )


def card_sections(view: CardView) -> str:
    """Its sections as a fragment of HTML, for a page that brings the style."""
    return "\n".join(_html(section) for section in _sections(view))


def card_fragment(view: CardView) -> str:
    """The same as a piece of another page: its texts take the colour of that page, plots one that stands on any."""
    under = " ".join(escape(text) for text in (view.address, view.stage, ", ".join(view.aliases)) if text)
    body = card_sections(view)
    return framed(
        f"<style>{_FRAGMENT_STYLE}</style>",
        f'<div class="orc-card">{head(card_title(view))}<p class="soft">{under}</p>{body}</div>',
    )


_FRAGMENT_STYLE = """
.orc-card{--ink:currentColor;--soft:currentColor;--line:rgba(125,136,153,.6);--mark:#0a7cc1;--other:#c9581b;
--good:#12876f;--bad:#c44601}
.orc-card .pair{display:flex;flex-wrap:wrap;gap:4px 32px;align-items:flex-start}
.orc-card .wide{overflow-x:auto;max-width:100%}
.orc-card h2{font-size:13.5px;margin:14px 0 4px;font-weight:600}.orc-card figure{margin:4px 0 8px;max-width:100%}
.orc-card figcaption{font-size:12px;opacity:.75}.orc-card .bad{font-weight:600}
"""


def card_markdown(view: CardView) -> str:
    """The same as Markdown; bars stand for the plots."""
    aliases = f" ({', '.join(view.aliases)})" if view.aliases else ""
    head = f"# {_plain(card_title(view))}\n\n`{view.address}`, {view.stage}{aliases}\n"
    return "\n".join([head, *(_markdown(section) for section in _sections(view))])


def card_title(view: CardView) -> str:
    """What its author calls it, or its address."""
    return view.card.title if view.card else view.address


def _sections(view: CardView) -> Iterator[_Section]:
    card = view.card
    if card is not None:
        yield _Section("What it is for", card.purpose or _NOT_SAID)
        yield _Section("Limits", card.limits or _NOT_SAID)
        kinds = [(name, kind) for name, kind in card.inputs.items()]
        answers = f"It predicts {card.target} ({card.task}) with {card.estimator}, and takes these fields:"
        yield _Section("Model", note=answers, head=("input", "kind"), rows=kinds)
        yield from _measured(card)
    elif view.metrics:
        rows = [(name, shown_number(value)) for name, value in view.metrics.items()]
        yield _Section("Scores", note="As its run reported them.", head=("metric", "value"), rows=rows)
    gates = [("passed" if passed else "refused", name, said) for passed, name, said in view.gates]
    yield _Section("Gates", head=("state", "gate", "found"), rows=gates)
    facts = [*view.facts, *([("author", card.author)] if card and card.author else [])]
    environment = [("library", f"{name} {version}") for name, version in card.environment.items()] if card else []
    yield _Section("Lineage", head=("what", "which"), rows=[*facts, *view.lineage, *environment])
    if view.promotions:
        yield _Section("Promotions", head=("when", "what", "by"), rows=view.promotions)


def _measured(card: ModelCard) -> Iterator[_Section]:
    data = [(one.role, f"{one.rows:,}", _window(one.begin, one.end), one.digest[:12]) for one in card.data]
    yield _Section("Data", head=("rows that were", "rows", "from, to", "digest"), rows=data)
    scores = [Interval(one.metric, one.value, one.low, one.high, one.baseline) for one in card.scores]
    compared = [one for one in scores if one.other is not None]
    told = [
        (one.name, "more" if score.greater_better else "less", one.said, _number(one.other))
        for one, score in zip(scores, card.scores, strict=True)
    ]
    caption = "Dot: the model, with its 95 % interval. Diamond: the baseline. Each metric has an axis of its own."
    plot = (intervals_svg("Scores", compared, shared=False), caption) if compared else None
    note = "On the rows that it was judged by; brackets hold 95 % intervals."
    yield _Section("Scores", "", note, plot, ("metric", "better is", "model", "baseline"), told)
    if card.bins:
        yield _calibration(card)
    if card.residuals:
        yield _residuals(card)
    if card.importance:
        yield _importance(card)
    if card.slices:
        yield _slices(card)


def _calibration(card: ModelCard) -> _Section:
    title, across, up = {
        "binary": ("Calibration", "predicted probability", "share that came true"),
        "multiclass": ("Calibration", "how sure it was", "how often it was right"),
    }.get(card.task, ("Predicted and actual", "mean prediction", f"mean {card.target}"))
    rows = [(f"{one.rows:,}", shown_number(one.predicted), shown_number(one.actual)) for one in card.bins]
    plot = bins_svg(title, card.bins, across, up, shares=card.task != "regression")
    note = "Bins of equally many rows, from the lowest predictions to the highest."
    return _Section(title, "", note, (plot, "On the dashed line both are equal."), ("rows", across, up), rows)


def _residuals(card: ModelCard) -> _Section:
    most = max(count for _, _, count in card.residuals)
    rows = [
        (f"{shown_number(low)} to {shown_number(high)}", f"{count:,}", _bar(count, most))
        for low, high, count in card.residuals
    ]
    plot = histogram_svg("Residuals", card.residuals, f"{card.target} minus prediction")
    head = (f"{card.target} minus prediction", "rows", "")
    return _Section("Residuals", "", "The middle 99 % of the rows.", (plot, "The dashed line is zero."), head, rows)


def _importance(card: ModelCard) -> _Section:
    ranked = list(card.importance.items())
    most = max([value for _, value in ranked] + [0.0])
    note = f"How much worse {card.metric} gets when the values of an input are shuffled."
    rows = [(name, shown_number(value), _bar(value, most)) for name, value in ranked]
    plot = (bars_svg("Importance", ranked[:_DRAWN]), f"The first {_DRAWN}." if len(ranked) > _DRAWN else "")
    return _Section("Importance of the inputs", "", note, plot, ("input", "loss", ""), rows)


def _slices(card: ModelCard) -> _Section:
    overall = next((one.value for one in card.scores if one.metric == card.metric), None)
    drawn = [Interval(one.name, one.value, one.low, one.high) for one in card.slices]
    rows = [(one.name, f"{one.rows:,}", drawn[at].said) for at, one in enumerate(card.slices)]
    plot = intervals_svg("Slices", drawn, shared=True, level=overall)
    note = f"{card.metric} on parts of the rows, with 95 % intervals."
    return _Section("Slices", "", note, (plot, "The dashed line is all rows."), ("slice", "rows", card.metric), rows)


def _html(section: _Section) -> str:
    parts = [f"<section><h2>{escape(section.title)}</h2>"]
    if section.words:
        parts.append(f'<div class="words">{escape(section.words)}</div>')
    if section.note:
        parts.append(f"<p>{escape(section.note)}</p>")
    parts.append('<div class="pair">')
    if section.plot is not None:
        plot, caption = section.plot
        parts.append(f'<figure><div class="wide">{plot}</div><figcaption>{escape(caption)}</figcaption></figure>')
    if section.rows:
        shown = [name for name in section.head if name]  # bars are for Markdown; here is the plot
        parts += ['<div class="wide"><table><thead><tr>', *(f'<th scope="col">{escape(name)}</th>' for name in shown)]
        parts += ["</tr></thead><tbody>", *(_row(row[: len(shown)]) for row in section.rows), "</tbody></table></div>"]
    return "".join([*parts, "</div></section>"])


def _row(cells: Sequence[str]) -> str:
    marks = {"passed": "<td class='good'>", "refused": "<td class='bad'>"}
    return f"<tr>{''.join(f'{marks.get(cell, _CELL)}{escape(cell)}</td>' for cell in cells)}</tr>"


def _markdown(section: _Section) -> str:
    lines = [f"## {section.title}\n"]
    lines += [f"{_plain(text)}\n" for text in (section.words, section.note) if text]
    if section.rows:
        lines.append(f"| {' | '.join(section.head)} |")
        lines.append(f"|{'---|' * len(section.head)}")
        lines += [f"| {' | '.join(map(_cell, row))} |" for row in section.rows]
        lines.append("")
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Text in which Markdown finds neither HTML nor a heading."""
    return "\n".join(line.lstrip("#") for line in text.replace("<", "&lt;").splitlines())


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|").replace("\n", " ")


def _bar(value: float, most: float) -> str:
    return "█" * round(_BARS * max(value, 0.0) / most) if most > 0 else ""


def _number(value: float | None) -> str:
    return "-" if value is None else shown_number(value)


def _window(begin: str, end: str) -> str:
    return f"{begin} to {end}" if begin and end else "-"
