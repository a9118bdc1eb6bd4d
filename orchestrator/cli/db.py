"""``orc db``: the journal's database, upgraded, checked, backed up and restored."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.app.database import Treated, back_up_to, check, restore_from, upgrade
from orchestrator.app.installation import Installation
from orchestrator.cli.documents import CheckItem, DatabaseDocument
from orchestrator.cli.exit_code import ExitCode
from orchestrator.cli.listing import Json
from orchestrator.cli.output import counted, table, write, write_json
from orchestrator.errors import ConfigError


class Action(Enum):
    """What to do with the database."""

    UPGRADE = "upgrade"
    CHECK = "check"
    BACKUP = "backup"
    RESTORE = "restore"


def db(
    action: Annotated[Action, typer.Argument(metavar="upgrade|check|backup|restore")],
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="of a backup")] = None,
    json: Json = False,
) -> int:
    """Upgrade, check, back up or restore the journal that ORC_STORE names.

    A backup is one file that fits every kind of database. It is restored into an empty one, and every run is replayed.
    Artifacts are not in it. Exit code 1 if a check found something wrong.
    """
    here = Installation()
    treated = _treat(here, action, file)
    store = here.settings.journal_label
    if json:
        items = [CheckItem(*item) for item in treated.checks]
        name = None if file is None else str(file)
        write_json(
            DatabaseDocument(action.value, store, treated.found, treated.schema, name, dict(treated.rows), items)
        )
    else:
        _tell(action, treated, store, file)
    return ExitCode.OK if all(item.ok for item in treated.checks) else ExitCode.FAILED


def _treat(here: Installation, action: Action, file: Path | None) -> Treated:
    if action in (Action.BACKUP, Action.RESTORE):
        if file is None:
            raise ConfigError(f"write: orc db {action.value} FILE")
        return back_up_to(here, file) if action is Action.BACKUP else restore_from(here, file)
    if file is not None:
        raise ConfigError(f"orc db {action.value} takes no file")
    return upgrade(here) if action is Action.UPGRADE else check(here)


def _tell(action: Action, treated: Treated, store: str, file: Path | None) -> None:
    if action is Action.UPGRADE:
        write(f"{store}: schema {treated.schema}, found {treated.found or 'empty'}")
    if treated.rows:
        how = f"into {file}" if action is Action.BACKUP else f"from {file} into {store}"
        write(f"{counted(treated.rows['run'], 'run')} with {counted(treated.rows['fact'], 'fact')} {how}")
    if treated.checks:
        lines = [("ok" if item.ok else "WRONG", item.name, item.text) for item in treated.checks]
        write(table(("", "check", "found"), lines))
