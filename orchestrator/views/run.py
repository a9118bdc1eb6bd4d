"""A run as a fragment of HTML, for notebooks, and as a page that is whole in itself, for keeping and sending."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.graph.fact import Failure
from orchestrator.graph.node import Const, Graph
from orchestrator.views.lettering import escape
from orchestrator.views.markup import (
    STYLE,
    Cell,
    Markup,
    Number,
    counted,
    facts,
    failed,
    folded,
    framed,
    head,
    mark,
    paragraph,
    table,
)
from orchestrator.views.status import NodeStatus
from orchestrator.views.step import StepView, reported_html, step_html, took
from orchestrator.views.svg import graph_svg
from orchestrator.views.sweeps import SweepView, sweep_html
from orchestrator.views.timeline import TimelineRow, timeline_svg

MOST_NODES = 100
"""Larger graphs take long to lay out and nobody can read them; the table of steps has all nodes."""

_FEW_STEPS = 12


@dataclass(frozen=True, slots=True)
class RunView:
    """A run, as far as it is drawn.

    Attributes:
        said: The state in words, such as ``refused by a gate``.
        facts: Label and text: when it started, how long it took, where its steps ran.
        failure: Address of the step that the run failed for, and why.
        waits: What it asks people for.
        begin, end: Wall-clock seconds between which the timeline lies.
        critical: The chain of steps that the end waited for.
        left_out: How many steps are not among ``steps``.
    """

    id: str
    pipeline: str
    state: str
    said: str
    reason: str
    facts: Sequence[tuple[str, str]]
    params: Mapping[str, str]
    counts: Mapping[str, int]
    graph: Graph
    statuses: Mapping[str, NodeStatus]
    steps: Sequence[StepView]
    failure: tuple[str, Failure] | None = None
    waits: Sequence[str] = ()
    timeline: Sequence[TimelineRow] = ()
    begin: float = 0.0
    end: float = 0.0
    critical: Sequence[str] = ()
    left_out: int = 0
    sweeps: Sequence[SweepView] = ()


def run_html(view: RunView) -> str:
    """A run in a notebook: how it stands, its graph, and its steps as a table."""
    steps = folded(f"{len(view.steps) + view.left_out:,} steps", _steps(view), is_open=len(view.steps) <= _FEW_STEPS)
    return framed(_title(view), _summary(view), _drawn(view), steps)


def run_page(view: RunView) -> str:
    """All of a run as one document: nothing is fetched, no script runs, and it reads in light and dark."""
    title = escape(f"{view.id} {view.said or view.state}")
    parts = (
        ("parameters", "Parameters", table(("name", "value"), [
            (name, Markup(f"<code>{escape(value)}</code>")) for name, value in view.params.items()])),
        ("graph", "Graph", _drawn(view)),
        ("timeline", "Timeline", _timeline(view)),
        ("sweeps", "Sweeps", "".join(map(sweep_html, view.sweeps))),
        ("metrics", "Metrics", _metrics(view)),
        ("steps", "Steps", _steps(view, linked=True)),
        ("details", "Step by step", _details(view)),
    )  # fmt: skip
    shown = [(key, name, content) for key, name, content in parts if content]
    links = "".join(f'<a href="#{key}">{name}</a> ' for key, name, _ in shown)
    sections = "\n".join(
        f'<section aria-labelledby="{key}"><h2 id="{key}">{name}</h2>{content}</section>'
        for key, name, content in shown
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{title}</title><style>{STYLE}{_PAGE_STYLE}</style></head>\n"
        f'<body><main class="orc"><h1>{escape(view.id)} {mark(view.state, view.said)}</h1>{_summary(view)}\n'
        f'<nav aria-label="On this page">{links}</nav>\n{sections}\n</main></body></html>\n'
    )


_PAGE_STYLE = """
:root { color-scheme: light dark; --ground: #fff; --ink: #1c2430; --link: #0a5a9c; --line: #d5dbe3; --card: #f6f8fb;
  --faint: #5b6675; }
@media (prefers-color-scheme: dark) { :root { --ground: #12161c; --ink: #e6eaf0; --link: #7cc0ff; --line: #343d4a;
  --card: #1f2732; --faint: #a3adba; } }
body { margin: 0; background: var(--ground); color: var(--ink); }
main.orc { max-width: 1180px; margin: 0 auto; padding: 20px 24px 64px; font-size: 14px; }
main h1 { font-size: 1.5rem; margin: 8px 0 12px; display: flex; gap: 14px; flex-wrap: wrap; overflow-wrap: anywhere; }
main h1 .state { font-size: .95rem; }
main h2 { font-size: 1.1rem; margin: 30px 0 8px; border-bottom: 1px solid var(--line); padding-bottom: 4px; }
main a { color: var(--link); text-underline-offset: 2px; } main nav a { margin-right: 16px; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: 3px; }
.orc.orc.orc table { font-size: 13px; } .orc.orc.orc .wide { width: 100%; }
.step { border-top: 1px solid var(--line); padding: 6px 0; } .step > summary { font-size: 14px; }
.orc-graph [fill="#f6f8fb"] { fill: var(--card); } .orc-graph [fill="#1c2430"] { fill: var(--ink); }
.orc-graph [fill="#5b6675"] { fill: var(--faint); }
@media print { main nav { display: none; } .orc.orc.orc pre { max-height: none; } }
"""


def _title(view: RunView) -> str:
    return head(view.id, view.state, view.said)


def _summary(view: RunView) -> str:
    failure = failed(view.failure[1], view.failure[0]) if view.failure else ""
    asked = "".join(paragraph(f"waits for an answer: {text}") for text in view.waits)
    return facts(view.facts) + counted(view.counts) + (failure or paragraph(view.reason)) + asked


def _drawn(view: RunView) -> str:
    graph, note = cut_graph(view.graph)
    drawn = graph_svg(graph, view.statuses)
    region = 'tabindex="0" role="region" aria-label="Graph of the run"'
    return f'{note}<div class="orc-graph scroll" {region}>{drawn}</div>'


def cut_graph(graph: Graph) -> tuple[Graph, str]:
    """A graph that can be drawn, and a note if that is only its beginning."""
    if len(graph.nodes) <= MOST_NODES:
        return graph, ""
    cut = replace(graph, nodes=graph.nodes[:MOST_NODES], output=Const(None))
    return cut, paragraph(f"the first {MOST_NODES} of {len(graph.nodes):,} nodes", soft=True)


def _timeline(view: RunView) -> str:
    if not view.timeline:
        return ""
    chain = list(view.critical)
    shown = chain if len(chain) <= 12 else [*chain[:4], f"… {len(chain) - 11} more …", *chain[-7:]]
    told = paragraph(f"The end waited for (bold): {' → '.join(shown)}." if chain else "")
    legend = paragraph("A thin grey line: ready, and waited for a worker. A bar: busy.", soft=True)
    drawn = timeline_svg(view.timeline, view.begin, view.end)
    return (
        f'{told}{legend}<div class="scroll" tabindex="0" role="region" aria-label="Timeline of the run">{drawn}</div>'
    )


def _metrics(view: RunView) -> str:
    """What the steps reported, one below the other."""
    told = [step for step in view.steps if step.reports or step.item_reports]
    return "".join(f"<h3>{escape(step.address)}</h3>{reported_html(step)}" for step in told)


def _steps(view: RunView, linked: bool = False) -> str:
    rows: list[tuple[Cell, ...]] = [
        (
            Markup(f'<a href="#{escape(anchor(step.address))}">{escape(step.address)}</a>') if linked else step.address,
            Markup(mark(step.state)),
            step.width,
            Number(took(step.waited_s)),
            Number(took(step.ran_s)),
            _said(step),
        )
        for step in view.steps
    ]
    shown = table(("step", "state", "", "waited", "ran", "why"), rows)
    return shown + paragraph(f"and {view.left_out:,} more" if view.left_out else "", soft=True)


def _said(step: StepView) -> str:
    if step.failure is None:
        return step.why
    line = step.failure.message.strip().partition("\n")[0]
    return f"{step.failure.name}: {line if len(line) <= 160 else line[:159] + '…'}"


def anchor(address: str) -> str:
    """Where a step stands on the page."""
    return f"step-{address}"


def _details(view: RunView) -> str:
    shown = []
    for step in view.steps:
        content = step_html(step, titled=False)
        title = f"<strong>{escape(step.address)}</strong> {mark(step.state)} {escape(took(step.ran_s))}"
        opened = " open" if step.state in ("failed", "degraded") else ""
        key = escape(anchor(step.address))
        inner = f'<div id="{key}">{content}</div>'  # a link to what is inside opens it
        shown.append(f'<details class="step"{opened}><summary>{title}</summary>{inner}</details>')
    return "\n".join(shown)
