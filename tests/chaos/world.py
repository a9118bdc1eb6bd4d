"""What the faults strike: a cluster, a store, a disk; and homes and databases for the runs of one store."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orchestrator.app.installation import Installation
from orchestrator.config.settings import Settings
from tests.chaos.disk import Disk
from tests.chaos.driver import LEASE_VARIABLE
from tests.chaos.nodes import Nodes
from tests.chaos.proxy import Proxy
from tests.store.postgres_server import PostgresServer, find_program

Store = Literal["sqlite", "postgresql"]

LEASE_S = 3.0
"""Of the drivers here, so that a takeover does not take long."""

_MEGABYTES: dict[Store, int] = {"sqlite": 64, "postgresql": 256}
_ROOT = Path(__file__).parents[2]


@dataclass
class Place:
    """Where one run is kept: its home, and its journal as drivers reach it and as everybody else does."""

    folder: Path
    here: Installation
    environment: dict[str, str]

    @property
    def home(self) -> Path:
        """The run's ORC_HOME."""
        return self.here.settings.home


class World:
    """Everything there is for the runs of one store, on a cluster that outlives it.

    Args:
        folder: For the evidence; not on the disk that is filled.
    """

    def __init__(self, folder: Path, store: Store, nodes: Nodes) -> None:
        self.store = store
        self.nodes = nodes
        self.folder = folder
        self._numbers = itertools.count(1)
        self.disk = Disk(folder / "disk", _MEGABYTES[store])
        self.server: PostgresServer | None = None
        self.proxy: Proxy | None = None
        try:
            if store == "postgresql":
                self.server = _server(self.disk.folder / "postgres")
                self.proxy = Proxy(self.server.port)
        except BaseException:
            self.disk.close()
            raise

    def place(self) -> Place:
        """A fresh home, and a fresh journal in it or on the server."""
        number = next(self._numbers)
        folder, home = self.folder / str(number), self.disk.folder / f"home{number}"
        folder.mkdir()
        environment = {
            "ORC_HOME": str(home), "ORC_RAY_ADDRESS": self.nodes.address, "PYTHONPATH": str(_ROOT),
            LEASE_VARIABLE: str(LEASE_S),
        }  # fmt: skip
        direct = dict(environment)
        if self.server is not None and self.proxy is not None:
            database = self.server.database().rpartition("/")[2]
            environment["ORC_STORE"] = self.server.url(database, self.proxy.port)
            direct["ORC_STORE"] = self.server.url(database)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORC_", "CHAOS_"))}
        return Place(folder, Installation(Settings.from_environment(direct)), kept | environment)

    def clear(self, place: Place) -> None:
        """Make room on the disk, which is small: a run that is over leaves its evidence only."""
        place.here.close()
        shutil.rmtree(place.home, ignore_errors=True)
        url = place.here.settings.journal_url
        if self.server is not None:
            self.server.execute(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")

    @contextmanager
    def server_stopped(self) -> Iterator[None]:
        """PostgreSQL has crashed (``immediate``) in the block, and is started again after it."""
        assert self.server is not None
        self.server.stop(signal.SIGQUIT)
        try:
            yield
        finally:
            self.server.start()

    def revive_server(self) -> None:
        """Start PostgreSQL again if it has ended by itself."""
        if self.server is not None and self.server.process is not None and self.server.process.poll() is not None:
            self.server.start()

    def close(self) -> None:
        """End what belongs to it."""
        if self.proxy is not None:
            self.proxy.close()
        if self.server is not None:
            self.server.stop()
        self.disk.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _server(folder: Path) -> PostgresServer:
    initdb, postgres = find_program("initdb"), find_program("postgres")
    if initdb is None or postgres is None:
        raise FileNotFoundError("PostgreSQL is not installed (no initdb); use --store sqlite")
    folder.mkdir()
    server = PostgresServer(folder, initdb, postgres)
    server.make()
    return server
