"""One installation: its journal, artifacts and settings, opened once and handed to whoever runs or reads runs."""

from __future__ import annotations

import os
import threading
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orchestrator.app.clock import SystemClock
from orchestrator.config.settings import Settings
from orchestrator.engine.cells import Cells
from orchestrator.engine.recovery import load_fold
from orchestrator.engine.state import RunFold
from orchestrator.errors import JournalCorrupt
from orchestrator.graph import fact as f
from orchestrator.graph.json import graph_from_json
from orchestrator.graph.node import Graph
from orchestrator.ports.journal import Journal

if TYPE_CHECKING:
    from orchestrator.artifacts.files import FileVersions
    from orchestrator.artifacts.values import StoredValues
    from orchestrator.ports.artifacts import ArtifactStore
    from orchestrator.ports.registry import Registry
    from orchestrator.store import SqlJournal


class Installation:
    """Everything that ``ORC_*`` settings name, opened on first use.

    Args:
        settings: Where things are; read from the environment when None.

    Attributes:
        first_bundles: How many steps of a stage, by its fingerprint, may travel in the first bundle of a run, as the
            runs before have shown.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = (settings or Settings.from_environment()).create_home()
        self.clock = SystemClock()
        self.first_bundles: dict[str, int] = {}
        self._seen = {self.settings.home: _identity(self.settings.home)}

    @cached_property
    def journal(self) -> Journal:
        """The journal."""
        return self._database

    @cached_property
    def _database(self) -> SqlJournal:
        from orchestrator.store import is_server, open_journal, path_of

        url = self.settings.journal_url
        journal = open_journal(url, lease_s=self.settings.lease_s)
        if not is_server(url):
            self._seen[path_of(url)] = _identity(path_of(url))
        return journal

    @cached_property
    def registry(self) -> Registry:
        """Named versions and cursors."""
        return self._database.registry

    @cached_property
    def artifacts(self) -> ArtifactStore:
        """The artifact store."""
        from orchestrator.artifacts.store import open_store

        store = open_store(self.settings.artifacts_url)
        scheme, _, path = self.settings.artifacts_url.partition("://")
        if scheme == "file":
            self._seen[Path(path)] = _identity(Path(path))
        return store

    @cached_property
    def values(self) -> StoredValues:
        """Codecs over the artifact store; loading runs code of the values' authors, so only clients do that."""
        from orchestrator.artifacts.signing import Signer
        from orchestrator.artifacts.values import StoredValues

        return StoredValues(self.artifacts, Signer(self.settings.keys_dir))

    @cached_property
    def files(self) -> FileVersions:
        """Versions of files that pipelines name."""
        from orchestrator.artifacts.files import FileVersions

        return FileVersions()

    # ---- reading runs

    def created(self, run: str, journal: Journal | None = None) -> f.RunCreated:
        """The first fact of a run, in another journal if one is given.

        Raises:
            NotFound: no such run.
            JournalCorrupt: the run does not begin with its creation.
        """
        for recorded in (journal or self.journal).facts(run):
            if isinstance(recorded.fact, f.RunCreated):
                return recorded.fact
            break
        raise JournalCorrupt(f"run {run} does not begin with its creation; restore the journal from a backup")

    def graph(self, created: f.RunCreated) -> Graph:
        """The sealed graph of a run."""
        return graph_from_json(msgspec.json.decode(self.artifacts.get(created.graph)))

    def fold(self, run: str) -> RunFold:
        """State of a run."""
        return load_fold(self.journal, run, self.graph(self.created(run)))

    def cells(self, run: str, fresh: dict[str, bytes] | None = None) -> Cells:
        """Cells of a run's outputs."""
        return Cells(run, self.journal, self.artifacts, self.values, {} if fresh is None else fresh)

    @property
    def stands(self) -> bool:
        """False if a file or folder that was opened has been removed or replaced since."""
        return all(_identity(path) == seen for path, seen in self._seen.items())

    def close(self) -> None:
        """Close what was opened."""
        if "_database" in self.__dict__:
            self._database.close()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class Shared:
    """The installation of the environment, opened once for all runs of a process. Thread-safe.

    To open a journal, and to learn its statements anew, takes longer than a small run.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: Installation | None = None
        os.register_at_fork(after_in_child=self._forget)

    def get(self) -> Installation:
        """The installation that the environment names now."""
        settings = Settings.from_environment().create_home()
        with self._lock:
            kept = self._kept
            if kept is None or kept.settings != settings or not kept.stands:
                kept = self._kept = Installation(settings)
            return kept

    def _forget(self) -> None:
        """In a forked child: connections must not be shared with the parent."""
        self._lock = threading.Lock()
        self._kept = None


@cache
def shared() -> Shared:
    """The one of this process."""
    return Shared()
