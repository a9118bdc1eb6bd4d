"""Forks as API and pages ask for them: with what is on record, or with the project's code, other parameters too.

The first starts nothing of a project; the second traces a pipeline, which a process of its own does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from orchestrator.api.forms import FIELD, fields_of, written
from orchestrator.api.schemas import Accepted, Fork
from orchestrator.app.catalog import Catalog
from orchestrator.errors import ConfigError

if TYPE_CHECKING:
    from orchestrator.api.place import Place
    from orchestrator.app.record import RunRecord

_NOW: Final = "now"


class Forking(NamedTuple):
    """What may be other in a fork: parameters with their recorded values, and values and labels of code."""

    params: Mapping[str, str]
    codes: list[tuple[str, str]]


def fork_of(place: Place, run: str, asked: Fork, key: str | None) -> Accepted:
    """Begin a fork.

    Raises:
        ConfigError: parameters or a file for the code on record.
        OrchestratorError: as ``Actions.fork`` and ``Launches.fork``.
    """
    anew = bool(asked.params or asked.pipeline)
    if asked.code == "recorded" and anew:
        field = "params" if asked.params else "pipeline"
        raise ConfigError(f"{field}: the code on record has parameters of its own; leave it out, or ask for code: now")
    if not anew and asked.code != _NOW:
        return place.actions.fork(run, asked, key)
    what = str(Catalog(place.project)[asked.pipeline].file) if asked.pipeline else ""
    values = {name: written(value) for name, value in asked.params.items()}
    return place.launches.fork(place.here.journal.run(run).id, asked.step, what, values, asked.repeat, key)


def fork_in(given: Mapping[str, str]) -> Fork:
    """What the form on the page of a step asks for; what is left empty is as on record."""
    code = given.get("code", "")
    return Fork(
        step=given.get("step", "?"), repeat=["*"] if given.get("repeat") else [], params=fields_of(given),
        code=_NOW if code else None, pipeline="" if code == _NOW else code.removeprefix(FIELD),
    )  # fmt: skip


def forking(place: Place, record: RunRecord) -> Forking:
    """What the form on the page of a step offers."""
    name, created = record.row.pipeline, record.fold.created
    files = [
        (f"{FIELD}{one.name}", f"{one.file.name} as it is now")
        for one in Catalog(place.project).list()
        if not one.problem and name == (one.target.rpartition(":")[2] or one.name)
    ]
    shown = created.params if created else {}
    params = {one: shown.get(one, "") for one in record.fold.graph.params}
    return Forking(params, [("", "as recorded, or as it is now for other parameters"), (_NOW, "as it is now"), *files])
