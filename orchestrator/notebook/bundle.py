"""Pictures by media type: HTML that is whole in itself and, for where that cannot be shown, text."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.app.artifact import Artifact
from orchestrator.app.cards import card_of
from orchestrator.app.models import ModelVersion
from orchestrator.app.picture import plan_statuses, run_graph, run_statuses
from orchestrator.app.run import Run
from orchestrator.app.step import Step
from orchestrator.app.versions import Version
from orchestrator.engine.plan import Plan
from orchestrator.errors import OrchestratorError
from orchestrator.graph.display import Shown
from orchestrator.graph.node import Graph
from orchestrator.graph.pipeline import Pipeline
from orchestrator.serving import Release
from orchestrator.sweeps import Best
from orchestrator.views.fragment import graph_html
from orchestrator.views.lettering import escape
from orchestrator.views.markup import Cell, Markup, facts, framed, head, paragraph, table
from orchestrator.views.model_card import card_fragment
from orchestrator.views.plan import plan_html, plan_text
from orchestrator.views.release import release_svg, view_of
from orchestrator.views.run import cut_graph, run_html
from orchestrator.views.status import NodeStatus, size_text
from orchestrator.views.step import StepView, step_html, took
from orchestrator.views.sweeps import SweepView, sweep_html
from orchestrator.views.tree import graph_tree, tree_lines
from orchestrator.views.value import value_html


def bundle(shown: Shown) -> dict[str, str]:
    """What a notebook may show of a value, by media type."""
    for kind, drawn in _DRAWN.items():
        if isinstance(shown, kind):
            html, text = drawn(shown)
            return {"text/html": html, "text/plain": text}
    return {"text/plain": repr(shown)}


def _pipeline(pipeline: Pipeline[..., Any]) -> tuple[str, str]:
    """Its graph, if it can be drawn with the defaults of its parameters; else what it takes."""
    doc = inspect.getdoc(pipeline) or ""
    needed = [name for name, one in pipeline.signature.parameters.items() if _is_needed(one)]
    if not needed:
        try:
            graph = pipeline.graph()
        except OrchestratorError as error:
            return framed(head(pipeline.name), paragraph(f"{error.code}: {error}")), f"{pipeline!r}: {error}"
        return framed(paragraph(doc, soft=True), _graph_html(graph)), _graph_text(graph)
    rows: list[tuple[Cell, ...]] = [
        (name, Markup(f"<code>{escape(str(one).partition(':')[2].partition('=')[0].strip())}</code>"), _default(one))
        for name, one in pipeline.signature.parameters.items()
    ]
    advice = (
        f"Give {' and '.join(needed)} to see its graph: {pipeline.name}.graph({', '.join(f'{n}=…' for n in needed)})"
    )
    said = head(pipeline.name) + paragraph(doc, soft=True) + table(("parameter", "type", "default"), rows)
    return framed(said, paragraph(advice, soft=True)), repr(pipeline)


def _is_needed(parameter: inspect.Parameter) -> bool:
    variadic = (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and parameter.kind not in variadic


def _default(parameter: inspect.Parameter) -> str:
    return "" if parameter.default is parameter.empty else repr(parameter.default)


def _graph(graph: Graph) -> tuple[str, str]:
    return framed(_graph_html(graph)), _graph_text(graph)


def _graph_html(graph: Graph) -> str:
    cut, note = cut_graph(graph)
    return note + graph_html(cut)


def _graph_text(graph: Graph) -> str:
    return "\n".join(_tree(graph))


def _tree(graph: Graph, statuses: Mapping[str, NodeStatus] | None = None) -> list[str]:
    """A graph as lines of text; of a very large one its beginning."""
    cut, _ = cut_graph(graph)
    lines = [line.text for line in tree_lines([graph_tree(cut, statuses)])]
    left = len(graph.nodes) - len(cut.nodes)
    return [*lines, f"… and {left:,} more"] if left else lines


def _plan(plan: Plan) -> tuple[str, str]:
    statuses = plan_statuses(plan)
    return plan_html(plan, statuses), "\n".join([*_tree(plan.graph, statuses), plan_text(plan)])


def _run(run: Run) -> tuple[str, str]:
    view, fold = run.view(), run.fold()
    tree = _tree(run_graph(fold), run_statuses(fold))
    lines = [f"{view.id}  {view.said}", *([view.reason] if view.reason else []), *tree]
    return run_html(view), "\n".join(lines)


def _step(step: Step) -> tuple[str, str]:
    view = step.view()
    return framed(step_html(view)), _step_text(view)


def _step_text(view: StepView) -> str:
    counts = ", ".join(f"{count:,} {state}" for state, count in view.counts.items()) if view.many else ""
    said = "  ".join(part for part in (f"{view.address}  {view.state}", took(view.ran_s), counts) if part)
    lines = [said, view.why, *(f"  {name} = {value}" for name, value, _ in view.inputs)]
    if view.failure is not None:
        lines += [f"{view.failure.name}: {view.failure.message}", *(f"  {frame}" for frame in view.failure.frames)]
    if view.output is not None:
        lines.append(f"-> {view.output.preview or view.output.type}")
    return "\n".join(line for line in lines if line)


def _artifact(artifact: Artifact) -> tuple[str, str]:
    return framed(head(artifact.name), value_html(artifact.view())), repr(artifact)


def _model(version: ModelVersion) -> tuple[str, str]:
    view = card_of(version.installation, version)
    scores = ", ".join(f"{name} {value:.4g}" for name, value in view.metrics.items())
    return card_fragment(view), "  ".join(part for part in (view.address, view.stage, scores) if part)


def _version(version: Version) -> tuple[str, str]:
    said = facts([
        ("made by", f"{version.row.run} {version.step}"), ("tags", ", ".join(version.row.tags)),
        ("size", size_text(version.description.size)),
    ])  # fmt: skip
    return framed(head(version.address), said, value_html(version.artifact.view())), repr(version)


def _release(release: Release) -> tuple[str, str]:
    return framed(f'<div class="scroll">{release_svg(view_of(release))}</div>', _words(release.text())), release.text()


def _words(text: str) -> str:
    lines = "\n".join(map(escape, text.rstrip().split("\n")))
    return f"<details><summary>what the guards saw</summary><pre>{lines}</pre></details>"


def _best(best: Best[Any]) -> tuple[str, str]:
    view = SweepView("sweep", best.metric, best.mode, best.trials, best.place)
    return framed(sweep_html(view)), f"{view.title}: {best.params}"


_DRAWN: Mapping[type, Callable[[Any], tuple[str, str]]] = {
    Pipeline: _pipeline, Graph: _graph, Plan: _plan, Run: _run, Step: _step, Artifact: _artifact, ModelVersion: _model,
    Version: _version, Release: _release, Best: _best,
}  # fmt: skip
