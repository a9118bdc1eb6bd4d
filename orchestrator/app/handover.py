"""Which tags move with the requests of an application: out with a release, and back with a rollback.

What production means is one thing: the requests, the stage and alias of the model, and the versions of data beside it.
The code that made the model, its pipeline's version, is in the model's lineage and so goes where the model's tag goes.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from orchestrator.app.models import Models, ModelVersion
from orchestrator.app.versions import Versions
from orchestrator.errors import NotFound
from orchestrator.graph import fact as f
from orchestrator.graph.handover import TagMove
from orchestrator.graph.version import check_tag, parse_version

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation
    from orchestrator.ports.journal import RunRow

OUT, BACK = "send_out", "send_back"
"""The pipelines of ``orc release`` and ``orc rollback``."""

_MOST_RUNS = 500


def moves_out(here: Installation, model: ModelVersion, alias: str, beside: Sequence[str]) -> list[TagMove]:
    """What moves when a model is promoted: the alias, of the model and of the versions beside it.

    Raises:
        NotFound: there is no such version.
        ConfigError: the alias cannot be a tag, or is one that only a promotion moves.
    """
    if not alias:
        return []
    found = [model.row, *(here.registry.find(parse_version(address)) for address in beside)]
    for row in found:
        Versions.check_free(row.name, check_tag(alias))
    before = [here.registry.standing(row.name).tags.get(alias) for row in found]
    return [
        TagMove(row.name, alias, was, row.number) for row, was in zip(found, before, strict=True) if was != row.number
    ]


def moves_given(here: Installation, model: ModelVersion) -> list[TagMove]:
    """The way back of what a version got when it went up to production: the stage, and the alias of that promotion."""
    name, number = model.row.name, model.row.number
    tags, known = here.registry.standing(name).tags, list(here.registry.promotions(name))
    ups = [at for at, one in enumerate(known) if (one.number, one.before, one.to) == (number, "staging", "production")]
    if not ups or tags.get("production") != number:
        return []
    up, earlier = known[ups[0]], known[ups[0] + 1 :]
    moves = [] if up.replaced is None else [TagMove(name, "production", number, up.replaced)]
    before = next((one.number for one in earlier if up.alias and one.alias == up.alias and one.number != number), None)
    if before is not None and tags.get(up.alias) == number:
        moves.append(TagMove(name, up.alias, number, before))
    return moves


def last_change(here: Installation, app: str) -> RunRow | None:
    """The newest run that moved an application for good, by ``orc release`` or ``orc rollback``, or is about to.

    A release that was refused or sent back has left everything as it was, and so has a run that failed.
    """
    for row in here.journal.runs(limit=_MOST_RUNS):
        if row.pipeline in (OUT, BACK) and given_text(here.created(row.id), "app") == app and _moved(here, row):
            return row
    return None


def _moved(here: Installation, row: RunRow) -> bool:
    if row.state in ("failed", "cancelled"):
        return False
    ended = (recorded.fact for recorded in here.journal.facts(row.id) if isinstance(recorded.fact, f.RunFinished))
    return all(fact.outcome != "refused" for fact in ended)


def moves_back(here: Installation, last: RunRow) -> list[TagMove]:
    """The way back of what the last change moved, or a release that is under way had been given."""
    moves = {(move.name, move.tag): move.back for move in _handed(here, last.id)}
    if last.pipeline == OUT:
        try:
            given = moves_given(here, Models(here)[given_text(here.created(last.id), "model")])
        except NotFound:  # the version was removed since, with its tags
            given = []
        moves = {(move.name, move.tag): move for move in given} | moves
    return list(moves.values())


def _handed(here: Installation, run: str) -> Iterator[TagMove]:
    for recorded in here.journal.facts(run):
        if isinstance(recorded.fact, f.TagsMoved):
            yield from recorded.fact.moves


def given_text(created: f.RunCreated, name: str) -> str:
    """A text that a run was given; empty if there is none of that name."""
    try:
        return str(ast.literal_eval(created.params.get(name, "''")))
    except (ValueError, SyntaxError):  # too long to be kept whole
        return ""
