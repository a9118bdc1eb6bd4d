"""``orc gc`` and ``orc doctor``: keeping an installation small and sound."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from orchestrator.app.installation import Installation
from orchestrator.app.upkeep import checks, collect
from orchestrator.cli.documents import CheckItem, CollectionDocument
from orchestrator.cli.exit_code import ExitCode
from orchestrator.cli.listing import Json
from orchestrator.cli.output import counted, size, table, write, write_json
from orchestrator.config.settings import Settings, misspelt_variables
from orchestrator.errors import OrchestratorError
from orchestrator.types import seconds


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="only say what would be removed")] = False,
    grace: Annotated[str, typer.Option("--grace", metavar="DURATION", help="keep everything younger")] = "1d",
    json: Json = False,
) -> None:
    """Remove artifacts that nothing needs any more."""
    here = Installation()
    collected = collect(here, seconds(grace), dry_run)
    if json:
        write_json(CollectionDocument(dry_run, collected.kept, list(collected.removed), collected.freed_bytes))
        return
    verb = "would remove" if dry_run else "removed"
    removed = counted(len(collected.removed), "artifact")
    write(f"{verb} {removed} ({size(collected.freed_bytes)}), {collected.kept:,} kept")


def doctor(json: Json = False) -> int:
    """Check this installation: exit code 1 if something is wrong."""
    found = list(_checks())
    if json:
        write_json(found)
    else:
        write(table(("", "check", "found"), [("ok" if item.ok else "WRONG", item.name, item.text) for item in found]))
    return ExitCode.OK if all(item.ok for item in found) else ExitCode.FAILED


def _checks() -> Iterator[CheckItem]:
    version = platform.python_version()
    yield CheckItem("python", (3, 11) <= sys.version_info[:2] <= (3, 13), f"{version} on {platform.platform()}")
    for variable, meant in misspelt_variables(os.environ).items():
        yield CheckItem("environment", False, f"{variable} is not read; did you mean {meant}?")
    try:
        here = Installation(Settings.from_environment())
    except OrchestratorError as error:
        yield CheckItem("settings", False, error.message)
        return
    slots = counted(here.settings.slots, "slot")
    where = f"steps go to {here.settings.ray_address}" if here.settings.ray_address else f"{slots} on this machine"
    yield CheckItem("settings", True, f"{here.settings.home}; {where}")
    for check in checks(here):
        yield CheckItem(*check)
