"""What a command line asks to run: a pipeline with its parameters and options, from Python or from a file."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.config.document import Document
from orchestrator.config.frame import run_at
from orchestrator.config.graph_file import graph_pipeline
from orchestrator.config.locations import SUFFIXES, find_pipeline_file, import_named
from orchestrator.config.overrides import read_overrides, values_of
from orchestrator.config.pipeline_file import PipelineFile, read_pipeline_file
from orchestrator.config.stage_options import with_stage_options
from orchestrator.config.suggestion import meant_or_known
from orchestrator.errors import ConfigError, DefinitionError, NotFound, OrchestratorError
from orchestrator.graph.pipeline import Pipeline
from orchestrator.graph.trace import Traced


@dataclass(frozen=True, slots=True)
class Job:
    """A pipeline ready to be run: ``job.pipeline.run(**job.params)``."""

    pipeline: Pipeline[..., Any]
    params: Mapping[str, Any]


class ConfiguredPipeline(Pipeline[..., Any]):
    """A pipeline whose graph gets the options of stages that a file or the command line sets."""

    def __init__(self, base: Pipeline[..., Any], document: Document) -> None:
        super().__init__(base.function, base.name, base.run_options, base._local_names, base.on, base.concurrency)
        self._document = document

    def trace(self, *args: Any, **kwargs: Any) -> Traced:
        """As ``Pipeline.trace``, with the options laid over the nodes.

        Raises:
            ConfigError: the options fit no step, or the pipeline's own code failed; says where.
        """
        place = self._document.place(("params",))
        try:
            traced = run_at(place, lambda: super(ConfiguredPipeline, self).trace(*args, **kwargs))
        except DefinitionError as error:
            if place.line == 0 and error.details.get("file") == place.file:
                raise type(error)(f"{place}: {error.message}") from None
            raise
        except OrchestratorError:
            raise
        except Exception as error:
            raise _failed(self.name, error) from error
        return with_stage_options(traced, self._document)

    def options(
        self,
        *,
        on: Literal["local", "ray"] | None = None,
        tags: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> ConfiguredPipeline:
        """As ``Pipeline.options``."""
        return ConfiguredPipeline(super().options(on=on, tags=tags, key=key), self._document)


def load_job(what: str, arguments: Iterable[str] = (), env: Mapping[str, str] | None = None) -> Job:
    """Find a pipeline and what is set over it.

    Args:
        what: ``module:pipeline``, the path of a YAML file, or the name of one under ``configs/``.
        arguments: ``parameter=value`` and ``stages.NAME.option=value``.
        env: The environment, for ``ORC_PARAM_…``; that of the process when None.

    Raises:
        NotFound: there is no such file or module.
        ConfigError: the file, the arguments or the environment are wrong; says where.
        DefinitionError: the pipeline itself is declared wrongly.
    """
    overrides = read_overrides(arguments, os.environ if env is None else env)
    if ":" in what and not what.endswith(SUFFIXES):
        base, document, params = _imported(what), overrides.document, {}
    else:
        file = read_pipeline_file(find_pipeline_file(what))
        base, document = pipeline_of(file), overrides.document.over(file.document)
        params = {} if file.graph else dict(file.params)
        _check_parameters(base, file, params)
    annotations = {name: base.hints.get(name, Any) for name in base.signature.parameters}
    params.update(values_of(overrides.params, annotations))
    return Job(ConfiguredPipeline(base, document), params)


def pipeline_of(file: PipelineFile) -> Pipeline[..., Any]:
    """The pipeline that a file names or describes, without the options of its stages.

    Raises:
        ConfigError, NotFound, CyclicGraph: it does not exist or cannot be built; says where in the file.
    """
    if file.target is None:
        return graph_pipeline(file)
    try:
        return _imported(file.target)
    except NotFound as error:
        raise NotFound(f"{file.document.place(('pipeline',))}: {error.message}") from None
    except ConfigError as error:
        raise file.document.error(("pipeline",), error.message) from error


def _failed(name: str, error: Exception) -> ConfigError:
    """What tracing raised, with the innermost line of the user's code."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return ConfigError(
        f"{frame.filename}:{frame.lineno}: tracing pipeline {name!r} failed: {type(error).__name__}: {error}",
        file=frame.filename,
        line=frame.lineno,
    )


def _imported(reference: str) -> Pipeline[..., Any]:
    found = import_named(reference)
    if not isinstance(found, Pipeline):
        raise ConfigError(f"{reference} is a {type(found).__name__}, not a pipeline; is @pipeline missing?")
    return found


def _check_parameters(pipeline: Pipeline[..., Any], file: PipelineFile, params: Mapping[str, Any]) -> None:
    for name in params:
        if name not in pipeline.signature.parameters and not pipeline.variadic[1]:
            hint = meant_or_known(name, pipeline.signature.parameters)
            raise file.document.error(("params", name), f"params: {pipeline.name} has no parameter {name!r}{hint}")
