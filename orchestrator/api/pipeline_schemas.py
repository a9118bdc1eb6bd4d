"""Schemas of the API about pipelines that may be started, their parameters and plans."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from orchestrator.api.schemas import Document


class Pipeline(Document):
    """A pipeline file that may be started. ``target`` is ``module:name``, empty for a graph of stages.

    ``params`` are those that the file sets; ``problem`` says why it cannot be read.
    """

    name: str
    file: str
    shipped: bool
    target: str
    params: dict[str, Any]
    about: str
    problem: str


class PipelinePage(Document):
    """Pipelines that may be started."""

    items: list[Pipeline]


class Parameter(Document):
    """A parameter as it is written; ``default`` is null where a value has to be given."""

    name: str
    type: str
    default: str | None


class PlannedNode(Document):
    """What would become of a node, and why; ``steps`` is null while the width of a map is not known."""

    node: str
    kind: str
    action: Literal["reuse", "run", "after", "skip", "wait"]
    steps: int | None
    reason: str


class Plan(Document):
    """What a run with these parameters would do. Without a plan ``problem`` says why, with the error's ``code``."""

    pipeline: str
    about: str
    parameters: list[Parameter]
    reused: int
    to_run: int
    nodes: list[PlannedNode]
    code: str
    problem: str


class NewRun(Document):
    """A run that is asked for; parameters are values, or texts as on a command line."""

    pipeline: str = Field(min_length=1, max_length=100, description="a name of /pipelines")
    params: dict[str, Any] = Field(default={}, max_length=200)
    tags: dict[str, str] = Field(default={}, max_length=50)
    on: Literal["local", "ray"] | None = None
