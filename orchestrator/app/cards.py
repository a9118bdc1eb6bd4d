"""The card of a model version: what is on record of it, gathered for whoever draws it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from orchestrator.app.models import Lineage, Models, ModelVersion
from orchestrator.app.outputs import StoredValues
from orchestrator.errors import ConfigError
from orchestrator.ports.promotion import PROMOTION_TAGS, Promotion
from orchestrator.serving import ModelCard
from orchestrator.views.model_card import CardView
from orchestrator.views.status import size_text

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation


def card_of(here: Installation, version: ModelVersion) -> CardView:
    """What the card of a version shows.

    Raises:
        ConfigError: the run made a card of another class.
    """
    row, seen, made = version.row, version.description, version.lineage
    at = datetime.fromtimestamp(row.at, UTC).isoformat(timespec="milliseconds")
    facts = [("version", version.address), ("made at", at), ("size", size_text(seen.size)), ("digest", row.digest)]
    return CardView(
        version.address, version.stage, aliases_of(version), facts, _written(here, version), scores_of(here, version),
        [("run", f"the record of {row.run} was removed")] if made is None else list(lineage_lines(made)),
        [(gate.passed, gate.name, gate.said) for gate in version.gates],
        [(_moment(one.at), f"{one.before} → {one.to}", by_text(one)) for one in promotions_of(here, version)],
    )  # fmt: skip


def promotions_of(here: Installation, version: ModelVersion) -> list[Promotion]:
    """Promotions of one version, newest first."""
    return [one for one in Models(here).promotions(version.row.name) if one.number == version.row.number]


def aliases_of(version: ModelVersion) -> list[str]:
    """Tags of a version but for its stage."""
    return [tag for tag in version.row.tags if tag not in PROMOTION_TAGS or tag == "previous"]


def scores_of(here: Installation, version: ModelVersion) -> dict[str, float]:
    """What was reported, or else what its card has."""
    if version.metrics or (cell := version.card_cell()) is None:
        return version.metrics
    scores = StoredValues(here).data(cell).get("scores", [])
    return {score["metric"]: score["value"] for score in scores if score["value"] is not None}


def lineage_lines(made: Lineage) -> Iterator[tuple[str, str]]:
    """What a version was made of, as labels and texts."""
    yield "run", f"{made.run} ({made.pipeline}, {made.state}), step {made.step}"
    yield "code", f"capsule {made.capsule[:12]}" + (f", git {made.commit[:12]}" if made.commit else "")
    yield "environment", f"Python {made.python or 'unknown'} on {', '.join(made.hosts)}, seed {made.seed}"
    for name, value in made.params.items():
        yield "parameter", f"{name} = {value}"
    for source in made.sources:
        rows = "" if source.rows is None else f", {source.rows:,} rows"
        yield "data", f"{source.step}: {source.type.rpartition(':')[2]}{rows}, {source.digest[:12] or 'many outputs'}"
    for path, digest in made.files.items():
        yield "file", f"{path}, {digest[:12]}"
    for asked, found in made.versions.items():
        yield "version", found if asked.endswith("@" + found.rpartition("@")[2]) else f"{found} (asked for {asked})"


def by_text(one: Promotion) -> str:
    """Who promoted a version, instead of which, and why."""
    replaced = "" if one.replaced is None else f", instead of {one.name}@v{one.replaced}"
    return f"by {one.by}{replaced}" + (", forced" if one.forced else "") + (f": {one.why}" if one.why else "")


def _written(here: Installation, version: ModelVersion) -> ModelCard | None:
    cell = version.card_cell()
    try:
        return None if cell is None else msgspec.convert(StoredValues(here).data(cell), ModelCard)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"the card of {version.address} is of a class that is not {ModelCard.__name__}: {error}"
        ) from None


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S}Z"
