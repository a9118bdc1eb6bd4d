"""Schemas of the API about one version of a model: lineage, gates, promotions and its card."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from orchestrator.api.schemas import Document, ModelVersion


class Gate(Document):
    """One thing that has to hold before a version goes up; ``said`` is what was found."""

    name: str
    passed: bool
    said: str


class Source(Document):
    """Data that a model goes back to: the output of a step without inputs."""

    step: str
    type: str
    digest: str
    rows: int | None


class Lineage(Document):
    """What a version was made of, from the record of its run; ``hosts`` are those of its drivers."""

    run: str
    pipeline: str
    step: str
    state: str
    commit: str
    capsule: str
    python: str
    hosts: list[str]
    seed: int
    params: dict[str, str]
    files: dict[str, str]
    versions: dict[str, str]
    sources: list[Source]


class Promotion(Document):
    """A promotion. ``replaced`` is the version that had the place; ``run`` that of the checks, if they took one."""

    before: Literal["dev", "staging", "production"]
    to: Literal["dev", "staging", "production"]
    replaced: int | None
    by: str
    why: str
    at: str
    forced: bool
    alias: str
    run: str
    checks: list[Gate]


class ModelDetail(Document):
    """One version of a model. ``lineage`` is null if the record of its run was removed, ``card`` if it made none."""

    model: ModelVersion
    address: str
    type: str
    size_bytes: int
    scores: dict[str, float]
    lineage: Lineage | None
    gates: list[Gate]
    promotions: list[Promotion]
    card: Any
    card_url: str


class NewPromotion(Document):
    """A promotion that is asked for, as ``orc promote`` takes it."""

    to: Literal["dev", "staging", "production"]
    by: str = Field(default="api", min_length=1, max_length=100)
    why: str = Field(default="", max_length=1000)
    force: bool = False
    alias: str = Field(default="", max_length=100)
    sample: str | None = Field(default=None, max_length=300)
    max_p99_ms: float = Field(default=100.0, gt=0)
    max_size_mib: float = Field(default=256.0, gt=0)
