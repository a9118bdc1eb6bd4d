"""What the code of pipelines declares about running by itself; done where authors' code may run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from orchestrator.app.launching import Declaration, Declarations, Declare, Taken
from orchestrator.config.job import pipeline_of
from orchestrator.config.pipeline_file import PipelineFile, read_pipeline_file
from orchestrator.errors import OrchestratorError
from orchestrator.graph.pipeline import Pipeline


def declarations(asked: Declare) -> Declarations:
    """What each of some pipeline files, or the code it names, declares; one that raises spoils no other.

    Code that ends the process or hangs leaves all of them without an answer.
    """
    return Declarations([_declared(file) for file in asked.files])


def _declared(file: str) -> Declaration:
    try:
        read = read_pipeline_file(Path(file))
        pipeline = pipeline_of(read)
    except OrchestratorError as error:
        return Declaration(file=file, problem=str(error))
    except Exception as error:
        return Declaration(file=file, problem=f"{type(error).__name__}: {error}")
    on = [dict(one.document()) for one in pipeline.on]
    return Declaration(file=file, on=on, concurrency=pipeline.concurrency, takes=_taken(read, pipeline))


def _taken(file: PipelineFile, pipeline: Pipeline[..., Any]) -> list[Taken]:
    found = []
    for name, parameter in pipeline.signature.parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        needed = parameter.default is parameter.empty and name not in file.params
        found.append(Taken(name, _accepts(pipeline.hints.get(name, Any)), needed))
    return found


def _accepts(annotation: Any) -> dict[str, Any]:
    """The JSON Schema of an annotation; of one that has none, anything."""
    try:
        return msgspec.json.schema(annotation)
    except (TypeError, RuntimeError):
        return {}
