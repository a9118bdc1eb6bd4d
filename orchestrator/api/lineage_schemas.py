"""What the API answers about lineage."""

from __future__ import annotations

from typing import Literal

from orchestrator.api.schemas import Document


class LineageColumn(Document):
    """A column of a table; ``sources`` and ``targets`` are the nearest tables that have one of that name."""

    name: str
    type: str
    sources: list[str]
    targets: list[str]


class LineageVertex(Document):
    """A file, data set, model, piece of code, step or deployment; ``run`` and ``step`` where it is one of a run."""

    key: str
    kind: Literal["file", "data", "code", "step", "model", "deployment"]
    title: str
    notes: list[str]
    state: str
    run: str | None
    step: str | None
    columns: list[LineageColumn]


class LineageEdge(Document):
    """``data``: the target was made of it; ``code``: made by it; ``decides``: it decided whether it was made."""

    source: str
    target: str
    kind: Literal["data", "code", "decides"]


class Lineage(Document):
    """What things came from and what came of them; ``more`` if it goes on behind the ``runs`` that were looked at."""

    of: str
    focus: list[str]
    runs: list[str]
    more: bool
    vertices: list[LineageVertex]
    edges: list[LineageEdge]
