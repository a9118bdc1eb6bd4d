"""Pipeline files: ``configs/*.yaml`` read, laid over what they extend, and validated.

A file either names a pipeline written in Python or holds a ``graph:`` of stages; both take ``params:`` and
``stages:``. Nothing of the user's is imported here: reading a file runs no code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.config.document import Document, parse_document, read_document
from orchestrator.config.schema import pipeline_schema, validate
from orchestrator.errors import NotFound


@dataclass(frozen=True, slots=True)
class PipelineFile:
    """One validated pipeline file.

    Attributes:
        name: The file's name without its suffix.
        document: The merged data, and the lines its parts come from.
    """

    name: str
    document: Document

    @property
    def target(self) -> str | None:
        """``module:name`` of the pipeline, None if the file holds a graph."""
        target: str | None = self.document.data.get("pipeline")
        return target

    @property
    def params(self) -> Mapping[str, Any]:
        """Values of the pipeline's parameters (with a graph: all parameters, and their defaults)."""
        return self.document.data.get("params") or {}

    @property
    def stages(self) -> Mapping[str, Mapping[str, Any]]:
        """Options of stages, by name of the stage or node."""
        return self.document.data.get("stages") or {}

    @property
    def graph(self) -> Mapping[str, Mapping[str, Any]]:
        """Nodes by name; empty if the file names a pipeline."""
        return self.document.data.get("graph") or {}


def read_pipeline_file(path: Path) -> PipelineFile:
    """Read a file and what it extends.

    Raises:
        NotFound: the file, or one that it extends, does not exist.
        ConfigError: a file is no YAML, has an unknown or misplaced key, or extends itself; names file and line.
    """
    return _checked(path.stem, _extended(path, ()))


def parse_pipeline_file(text: str, name: str = "pipeline") -> PipelineFile:
    """A pipeline file from its text, which may not extend others. Raises ConfigError."""
    document = parse_document(text, f"{name}.yaml")
    validate(document, pipeline_schema())
    if "extends" in document.data:
        raise document.error(("extends",), "extends: only a file can extend another")
    return _checked(name, document)


def _extended(path: Path, below: tuple[Path, ...]) -> Document:
    """The document of ``path`` over those it extends; ``below`` are the files that led to it."""
    document = read_document(path)
    validate(document, pipeline_schema())
    base = document.data.get("extends")
    if base is None:
        return document
    base_path = path.parent / Path(base).expanduser()
    chain = (*below, path.resolve())
    if base_path.resolve() in chain:
        raise document.error(("extends",), f"extends: {base} leads back to this file")
    try:
        return document.over(_extended(base_path, chain))
    except NotFound as error:
        raise NotFound(f"{document.place(('extends',))}: extends: {error.message}") from None


def _checked(name: str, document: Document) -> PipelineFile:
    """What the schema cannot say, because it holds for the merged document only."""
    data = document.data
    if "pipeline" not in data and "graph" not in data:
        raise document.error((), "the file names no pipeline: write 'pipeline: module:name', or a 'graph:' of stages")
    if "pipeline" in data and "graph" in data:
        raise document.error(("graph",), "a file has either 'pipeline:' or 'graph:', not both")
    if "output" in data and "graph" not in data:
        raise document.error(("output",), "'output:' belongs to a 'graph:'; a pipeline in Python returns its own")
    return PipelineFile(name, document)
