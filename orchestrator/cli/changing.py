"""Other code for a run: showing what it changes, and asking whether to go on with it."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import TYPE_CHECKING

from orchestrator.cli.documents import ChangeItem, ChangesDocument
from orchestrator.cli.output import note, table, write, write_json
from orchestrator.config.job import load_job
from orchestrator.engine.changes import Change, Comparison
from orchestrator.errors import ConfigError

if TYPE_CHECKING:
    from orchestrator.app.new_code import NewCode
    from orchestrator.app.runner import Runner

_ORDER = ("drop", "remove", "keep", "run", "new")
_SAID = {
    "keep": "stays valid",
    "drop": "runs again",
    "run": "runs with the new code",
    "new": "is new",
    "remove": "is removed",
}


def traced(
    runner: Runner, run_id: str, code: str | None, values: list[str] | None, yes: bool, dry_run: bool
) -> NewCode | None:
    """The pipeline that ``--code`` names, traced for a run; None without that option."""
    if code is None:
        if values or yes or dry_run:
            raise ConfigError("parameters, --yes and --dry-run go with --code, which names the pipeline to go on with")
        return None
    job = load_job(code, values or [])
    return runner.compare(run_id, job.pipeline, job.params)


def show(comparison: Comparison, acting: Collection[str], dry_run: bool, as_json: bool) -> None:
    """Say what becomes of each node: as data if that is all there is to do, else for people."""
    if dry_run and as_json:
        items = [ChangeItem(c.node, c.action, c.finished, c.steps, c.part, c.reason, c.was) for c in comparison.changes]
        write_json(ChangesDocument(comparison.run, items, list(acting)))
        return
    tell = write if dry_run else note
    tell(table(("STEP", "FINISHED", "", "WHY"), [_row(change) for change in _sorted(comparison)]))
    if acting:
        tell(f"has effects and began already: {', '.join(acting)}")


def ask(question: str, yes: bool) -> bool:
    """Ask on the terminal; True with ``--yes``.

    Raises:
        ConfigError: there is no terminal.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigError("there is no terminal to ask on; look at it with --dry-run, then add --yes")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    note("nothing was changed")
    return False


def _sorted(comparison: Comparison) -> list[Change]:
    """What is lost first; the rest in the order of the graph."""
    return sorted(comparison.changes, key=lambda change: _ORDER.index(change.action))


def _row(change: Change) -> tuple[str, str, str, str]:
    why = f"{change.part}: {change.reason}" if change.part else change.reason
    of = f" of {change.steps:,}" if change.steps is not None else ""
    finished = f"{change.finished:,}{of}" if change.was else "-"
    going_on = change.action == "keep" and change.finished < (change.steps or 1)
    said = "goes on" if going_on else _SAID[change.action]
    return change.node, finished, said, why
