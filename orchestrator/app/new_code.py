"""Other code for a run that exists: tracing it with the recorded parameters, comparing, and going on with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from orchestrator.app.inputs import changed_files, file_versions, readers_of, recorded_params, seal_inputs
from orchestrator.engine.changes import Comparison, compare
from orchestrator.engine.forks import ForkPoint, find_point, reach
from orchestrator.engine.state import RunFold
from orchestrator.errors import ConfigError, RunError
from orchestrator.graph import fact as f
from orchestrator.graph.json import graph_to_json
from orchestrator.graph.node import Graph
from orchestrator.ports.journal import Append, Ownership
from orchestrator.types import Digest

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation
    from orchestrator.graph.pipeline import Pipeline
    from orchestrator.graph.trace import Traced


@dataclass(frozen=True, slots=True)
class NewCode:
    """Code for a run, and what it would mean for the run as it was after fact ``seq``.

    Attributes:
        graph: Sealed.
        files: Version of each file that the graph names.
    """

    run: str
    seq: int
    traced: Traced
    graph: Graph
    files: Mapping[str, str]
    comparison: Comparison

    def store(self, here: Installation) -> tuple[Digest, Digest]:
        """Store graph and capsule; their digests."""
        from orchestrator.backends.capsule import build

        return store_graph(here, self.graph), build(self.traced.stages, here.artifacts)


def trace_for(here: Installation, run: str, pipeline: Pipeline[..., Any], given: Mapping[str, Any]) -> NewCode:
    """Trace a pipeline with the parameters of a run and compare the two; changes nothing.

    Args:
        given: Values of parameters that the run has none of, because they are new.

    Raises:
        NotFound: no such run.
        ConfigError: the run is one of another pipeline.
        DefinitionError: the pipeline cannot be traced with the recorded parameters.
    """
    row = here.journal.run(run)
    fold = here.fold(row.id)
    known = _recorded_values(here, fold, pipeline)
    traced, graph, files = retraced(here, fold, pipeline, {**given, **known})
    assert fold.created is not None
    moved = readers_of(here, graph, changed_files(fold.created.files, files))
    return NewCode(row.id, fold.seq, traced, graph, files, compare(fold, graph, moved, started_nodes(here, row.id)))


def trace_fork(
    here: Installation, run: str, step: str, pipeline: Pipeline[..., Any], given: Mapping[str, Any]
) -> tuple[NewCode, ForkPoint]:
    """Trace a pipeline for a fork of a run from a step: with the parameters of the run, but for those that are given.

    Raises:
        NotFound: no such run, or no such step.
        ConfigError, DefinitionError: as ``trace_for``.
    """
    row = here.journal.run(run)
    fold = here.fold(row.id)
    traced, graph, files = retraced(here, fold, pipeline, {**_recorded_values(here, fold, pipeline), **given})
    assert fold.created is not None
    moved = readers_of(here, graph, changed_files(fold.created.files, files))
    point = find_point(fold, graph, step)
    comparison = compare(fold, graph, moved, started_nodes(here, row.id), reach(graph, point))
    return NewCode(row.id, fold.seq, traced, graph, files, comparison), point


def retraced(
    here: Installation, fold: RunFold, pipeline: Pipeline[..., Any], params: Mapping[str, Any]
) -> tuple[Traced, Graph, dict[str, str]]:
    """A pipeline traced for a run: with its sealed graph, and the version of each file that this names."""
    assert fold.created is not None
    traced = pipeline.trace(**params)
    graph, _ = seal_inputs(here, traced.graph, fold.created.versions)
    return traced, graph, file_versions(here, graph)


def _recorded_values(here: Installation, fold: RunFold, pipeline: Pipeline[..., Any]) -> dict[str, Any]:
    """Values that a run has for the parameters of this pipeline."""
    assert fold.created is not None
    if pipeline.name != fold.created.pipeline:
        raise ConfigError(
            f"run {fold.run} is one of {fold.created.pipeline}, not of {pipeline.name}; give the code of that pipeline"
        )
    known = recorded_params(here, fold.graph)
    if pipeline.variadic[1]:
        return known
    # a default that the pipeline does not have any more
    by_default = known.keys() - fold.created.params.keys() - pipeline.signature.parameters.keys()
    return {name: value for name, value in known.items() if name not in by_default}


def adopt(here: Installation, ownership: Ownership, code: NewCode, git_commit: str) -> None:
    """Record that an owned run goes on with other code.

    Raises:
        RunError: the run went on since the comparison, or a step with effects would act a second time.
    """
    refuse_repetition(code)
    graph, capsule = code.store(here)
    if here.journal.run(code.run).seq != code.seq:
        raise RunError(f"run {code.run} went on since its code was compared; compare again")
    changed = f.CodeChanged(
        graph, capsule, graph_to_json(code.graph), code.comparison.kept, code.comparison.dropped, git_commit, code.files
    )
    here.journal.append(Append(code.run, ownership.epoch, code.seq, here.clock.now(), [changed]))


def refuse_repetition(code: NewCode) -> None:
    """Refuse code with which a step with effects would act a second time in the same run, under the same key.

    Raises:
        RunError: names the steps and says what to do instead.
    """
    acted = code.comparison.acted
    if acted:
        steps, repeats = ", ".join(acted), " ".join(f"--repeat '{step}'" for step in acted)
        raise RunError(
            f"run {code.run}: {steps} has effects, began already, and is not the same in the new code; within one run "
            f"it never acts twice. Start a new run that keeps what is valid: orc rerun {code.run} --code … {repeats}"
        )


def store_graph(here: Installation, graph: Graph) -> Digest:
    """Store a sealed graph as runs refer to it."""
    return here.artifacts.put(msgspec.json.encode(graph_to_json(graph)))


def started_nodes(here: Installation, run: str) -> set[str]:
    """Nodes of a run of which some step was started."""
    facts = (fact for recorded in here.journal.facts(run) for fact in f.apart(recorded.fact))
    return {fact.node for fact in facts if isinstance(fact, f.StepsStarted)}


def not_kept(comparison: Comparison) -> str:
    """The finished steps that do not stay valid, in words, for people without a table."""
    lost = [change for change in comparison.changes if change.action in ("drop", "remove") and change.finished]
    return "; ".join(f"{change.was} ({change.reason})" for change in lost)
