"""Keeping an installation small and sound: removal of old runs and of artifacts, and the checks of ``orc doctor``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.app.installation import Installation
from orchestrator.errors import OrchestratorError

if TYPE_CHECKING:
    from orchestrator.artifacts.gc import Collected
    from orchestrator.config.retention import Reason, Retention
    from orchestrator.ports.journal import RunRow
    from orchestrator.ports.registry import PublishedVersion

RAY_MINOR = "2.60."
_PROBE_BYTES = 16
_ALL = 2**31 - 1


class Check(NamedTuple):
    """Outcome of one check; ``text`` says what was found and, if it is not ``ok``, what to do."""

    name: str
    ok: bool
    text: str


class RemovedRun(NamedTuple):
    """A run that was removed, or would be, and what the journal held of it."""

    row: RunRow
    held_bytes: int


class Upkept(NamedTuple):
    """What a collection did, or would do: runs that went, how many stayed for which reason, versions, and artifacts."""

    runs: list[RemovedRun]
    kept_runs: Mapping[Reason, int]
    artifacts: Collected
    versions: list[PublishedVersion]


def collect(
    here: Installation,
    grace_s: float,
    dry_run: bool = False,
    retention: Retention | None = None,
    pipeline: str | None = None,
) -> Upkept:
    """Remove runs and versions that no policy keeps, then unneeded artifacts that are older than ``grace_s``.

    Args:
        retention: Policies; those of the installation's file when None.
        pipeline: Only runs of this pipeline are removed, and no versions.

    Raises:
        ConfigError: the file of the policies is broken.
        StoreUnavailable, ArtifactCorrupt: as ``artifacts.gc.collect``.
    """
    from orchestrator.artifacts.gc import collect as collect_artifacts
    from orchestrator.config.retention import decide, decide_versions, read_retention

    now = here.clock.now()
    # A run that has just found an entry is about to read its chunk, so entries count until a grace period later.
    at = now - grace_s
    rows = here.journal.runs(pipeline, limit=_ALL)
    policies = read_retention(here.settings.home) if retention is None else retention
    going, kept = decide(rows, policies, here.journal.reusable_until(at), now)
    outdated = [] if pipeline is not None else decide_versions(here.registry.versions(), policies, now)
    held = here.journal.held_bytes([row.id for row in going])
    if not dry_run:
        here.journal.forget_expired(at)
        going = [row for row in going if here.journal.forget(row.id, at)]
        outdated = [row for row in outdated if here.registry.remove(row.name, row.number)]
    without = frozenset([row.id for row in going] + [row.address for row in outdated])
    collected = collect_artifacts(
        here.artifacts, lambda load: here.journal.live_digests(load, without), now, grace_s, dry_run
    )
    return Upkept([RemovedRun(row, held[row.id]) for row in going], kept, collected, outdated)


def checks(here: Installation) -> Iterator[Check]:
    """Everything that can be asked about an installation, one by one; the artifact store is written to."""
    from orchestrator.store.checks import check_journal

    yield _package("ray", RAY_MINOR)
    yield _package("pyarrow", "")
    for finding in check_journal(here.settings.journal_url):
        yield Check(*finding)
    yield _attempt("journal", lambda: f"{here.settings.journal_label} answers{_newest(here)}")
    yield _attempt("artifacts", lambda: _written(here))


def _newest(here: Installation) -> str:
    rows = here.journal.runs(limit=1)
    return f", newest run {rows[0].id}" if rows else ", no runs yet"


def _written(here: Installation) -> str:
    digest = here.artifacts.put(os.urandom(_PROBE_BYTES))
    here.artifacts.get(digest)
    here.artifacts.delete(digest)
    return f"{here.settings.artifacts_label} can be written and read"


def _package(name: str, needed: str) -> Check:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Check(name, False, f"is not installed; install it with: pip install {name}")
    fits = version.startswith(needed)
    return Check(name, fits, version if fits else f"{version}, but {needed}x is needed")


def _attempt(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, True, check())
    except OrchestratorError as error:
        return Check(name, False, error.message)
