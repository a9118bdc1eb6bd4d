"""Keeping an installation small and sound: collection of artifacts, and the checks of ``orc doctor``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.app.installation import Installation
from orchestrator.errors import OrchestratorError

if TYPE_CHECKING:
    from orchestrator.artifacts.gc import Collected

RAY_MINOR = "2.60."
_PROBE_BYTES = 16


class Check(NamedTuple):
    """Outcome of one check; ``text`` says what was found and, if it is not ``ok``, what to do."""

    name: str
    ok: bool
    text: str


def collect(here: Installation, grace_s: float, dry_run: bool = False) -> Collected:
    """Remove artifacts that no run, cache entry or capsule needs and that are older than ``grace_s``.

    Raises:
        StoreUnavailable, ArtifactCorrupt: as ``artifacts.gc.collect``.
    """
    from orchestrator.artifacts.gc import collect as collect_artifacts

    return collect_artifacts(here.artifacts, here.journal.live_digests, here.clock.now(), grace_s, dry_run)


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
