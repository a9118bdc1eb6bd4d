"""What ``--json`` prints about models: versions with their stages, lineage, gates, promotions and cards."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

ModelStageName = Literal["dev", "staging", "production"]


class ModelItem(Struct, frozen=True):
    """A version of a model. ``aliases`` are its tags but for the stage; ``scores`` was reported, or is in its card."""

    address: str
    name: str
    number: int
    stage: ModelStageName
    aliases: list[str]
    scores: dict[str, float]
    digest: str
    type: str
    size_bytes: int
    run: str
    step: str
    created_at: str


class GateCheckItem(Struct, frozen=True):
    """One thing that has to hold before a version goes up; ``said`` is what was found."""

    name: str
    passed: bool
    said: str


class SourceItem(Struct, frozen=True):
    """Data that a model goes back to: the output of a step without inputs. ``rows`` is null where it has no length."""

    step: str
    type: str
    digest: str
    rows: int | None


class LineageItem(Struct, frozen=True):
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
    sources: list[SourceItem]


class PromotionItem(Struct, frozen=True):
    """A promotion. ``replaced`` is the address of the version that had the place; ``forced`` past failed checks."""

    address: str
    before: ModelStageName
    to: ModelStageName
    replaced: str | None
    by: str
    why: str
    at: str
    forced: bool
    alias: str
    run: str
    checks: list[GateCheckItem]


class ModelDocument(Struct, frozen=True):
    """Output of ``orc models NAME@VERSION --json``.

    ``lineage`` is null if the record of the run was removed, ``card`` if its run made none.
    """

    model: ModelItem
    gates: list[GateCheckItem]
    promotions: list[PromotionItem]
    lineage: LineageItem | None
    card: dict[str, Any] | None


class PromoteDocument(Struct, frozen=True):
    """Output of ``orc promote --json``. ``promotion`` is null if it was refused; ``reason`` says why."""

    address: str
    stage: ModelStageName
    promoted: bool
    reason: str
    checks: list[GateCheckItem]
    promotion: PromotionItem | None


class PreviewItem(Struct, frozen=True):
    """A model that is served for a while, until then."""

    name: str
    version: str
    url: str
    until: str


class PreviewEndedDocument(Struct, frozen=True):
    """Output of ``orc preview --remove --json``: the name of the preview that has ended."""

    ended: str
