"""``orc gc`` and ``orc doctor``: keeping an installation small and sound."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Final

import typer

from orchestrator.app.installation import Installation
from orchestrator.app.upkeep import Upkept, checks, collect
from orchestrator.cli.documents import CheckItem, CollectionDocument, RemovedRunItem
from orchestrator.cli.exit_code import ExitCode
from orchestrator.cli.listing import Json
from orchestrator.cli.output import counted, iso, local_time, size, table, write, write_json
from orchestrator.config.retention import Policy, Reason, Retention
from orchestrator.config.settings import Settings, misspelt_variables
from orchestrator.errors import OrchestratorError
from orchestrator.types import seconds

_BECAUSE: Final[Mapping[Reason, str]] = {
    "not ended": "not ended",
    "no policy": "without a policy",
    "newest success": "the newest that succeeded",
    "among the last": "among the last of their pipeline",
    "recent": "ended recently",
    "tagged": "tagged",
    "in cache": "whose outputs the cache hands out",
}


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="only say what would be removed")] = False,
    grace: Annotated[str, typer.Option("--grace", metavar="DURATION", help="keep artifacts that are younger")] = "1d",
    pipeline: Annotated[
        str | None, typer.Option("--pipeline", metavar="PIPELINE", help="remove only runs of this pipeline")
    ] = None,
    keep_last: Annotated[
        int | None, typer.Option("--keep-last", metavar="N", min=1, help="keep the newest N ended runs of a pipeline")
    ] = None,
    keep_for: Annotated[
        str | None, typer.Option("--keep-for", metavar="DURATION", help="keep runs that ended less long ago")
    ] = None,
    keep_tag: Annotated[
        list[str] | None, typer.Option("--keep-tag", metavar="NAME[=VALUE]", help="keep runs with this tag")
    ] = None,
    keep_versions: Annotated[
        int | None, typer.Option("--keep-versions", metavar="N", min=1, help="keep the newest N versions of a name")
    ] = None,
    json: Json = False,
) -> None:
    """Remove old runs and versions that no policy keeps, and artifacts that nothing needs any more.

    Policies are those of ORC_HOME/retention.yaml, or the options --keep-last, --keep-for, --keep-tag and
    --keep-versions instead. Without either, no run and no version is removed.
    """
    retention = _retention(keep_last, keep_for, keep_tag or [], keep_versions)
    done = collect(Installation(), seconds(grace), dry_run, retention, pipeline)
    if json:
        write_json(_document(done))
    else:
        _tell(done, grace)


def _retention(
    keep_last: int | None, keep_for: str | None, keep_tags: list[str], keep_versions: int | None
) -> Retention | None:
    """The policy that the options give for all pipelines; None if they give none."""
    of_versions = {} if keep_versions is None else {"default": Policy(keep_versions)}
    if keep_last is None and keep_for is None and not keep_tags:
        return Retention(versions=of_versions) if of_versions else None
    tags: dict[str, str | None] = {}
    for tag in keep_tags:
        name, separator, value = tag.partition("=")
        tags[name] = value if separator else None
    return Retention(Policy(keep_last, None if keep_for is None else seconds(keep_for), tags), versions=of_versions)


def _document(done: Upkept) -> CollectionDocument:
    artifacts = done.artifacts
    return CollectionDocument(
        dry_run=artifacts.dry_run,
        kept=artifacts.reached.number + artifacts.young.number,
        removed=[info.digest for info in artifacts.removed],
        freed_bytes=artifacts.freed_bytes,
        needed_bytes=artifacts.reached.size_bytes,
        young=artifacts.young.number,
        young_bytes=artifacts.young.size_bytes,
        runs=[RemovedRunItem(row.id, row.pipeline, row.state, iso(row.finished_at), held) for row, held in done.runs],
        versions=[row.address for row in done.versions],
        kept_runs={str(reason): count for reason, count in done.kept_runs.items()},
    )


def _tell(done: Upkept, grace: str) -> None:
    artifacts, dry = done.artifacts, done.artifacts.dry_run
    if done.runs:
        head = ("run", "pipeline", "state", "ended", "journal")
        write(table(head, [
            (row.id, row.pipeline, row.state, local_time(row.finished_at), size(held)) for row, held in done.runs
        ]))  # fmt: skip
        write("")
    verb = "would remove" if dry else "removed"
    if done.versions:
        write(f"{verb} {counted(len(done.versions), 'version')}: {', '.join(row.address for row in done.versions)}")
    freed = size(sum(held for _, held in done.runs))
    write(f"{verb} {counted(len(done.runs), 'run')} ({freed} of the journal)")
    write(f"{verb} {counted(len(artifacts.removed), 'artifact')} ({size(artifacts.freed_bytes)})")
    reasons = ", ".join(f"{count:,} {_BECAUSE[reason]}" for reason, count in sorted(done.kept_runs.items()))
    write(f"kept {counted(sum(done.kept_runs.values()), 'run')}{': ' + reasons if reasons else ''}")
    needed = f"{artifacts.reached.number:,} needed by runs and the cache ({size(artifacts.reached.size_bytes)})"
    young = f"{artifacts.young.number:,} written or reused within {grace} ({size(artifacts.young.size_bytes)})"
    write(f"kept {counted(artifacts.reached.number + artifacts.young.number, 'artifact')}: {needed}, {young}")


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
