"""A private PostgreSQL server for tests: on a free loopback port, in a folder of its own, ended by its process id."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from orchestrator.backends.loopback import free_ports

_PLACES = ("/usr/lib/postgresql", "/usr/local/pgsql", "/opt/homebrew/opt")
_START_S = 120.0


def find_program(name: str) -> str | None:
    """A program of PostgreSQL, on the path or where distributions put it."""
    found = shutil.which(name)
    if found is not None:
        return found
    return next((str(path) for place in _PLACES for path in sorted(Path(place).glob(f"*/bin/{name}"))), None)


@dataclass
class PostgresServer:
    """A server that can be killed and started again; ``database`` makes an empty database and returns its URL."""

    folder: Path
    initdb: str
    postgres: str
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def make(self) -> None:
        """Make the cluster of databases and start."""
        if os.getuid() == 0:
            shutil.chown(self.folder, "postgres")
        call = [
            self.initdb,
            "-D",
            str(self.folder / "data"),
            "-U",
            "orc",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-locale",
            "-N",
        ]
        subprocess.run(call, check=True, stdout=subprocess.DEVNULL, cwd="/", user=self._user)
        (self.port,) = free_ports(1)
        self.start()

    @property
    def _user(self) -> str | None:
        # The server refuses to run as root.
        return "postgres" if os.getuid() == 0 else None

    def start(self) -> None:
        """Start and wait until it answers."""
        options = ("listen_addresses=127.0.0.1", f"unix_socket_directories={self.folder}", "max_connections=200")
        call = [self.postgres, "-D", str(self.folder / "data"), "-p", str(self.port)]
        call += [word for option in options for word in ("-c", option)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(call, stdout=log, stderr=log, cwd="/", user=self._user)
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL does not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """End: SIGQUIT is PostgreSQL's ``immediate``, which is a crash; SIGINT is ``fast``."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait()
            self.process = None

    def database(self) -> str:
        """URL of a new, empty database."""
        name = f"test_{next(self.numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def url(self, name: str, port: int | None = None) -> str:
        """URL of a database, through a proxy if a port is given."""
        return f"postgresql://orc@127.0.0.1:{port or self.port}/{name}"

    def execute(self, sql: str, name: str = "postgres", *values: object) -> int:
        """Run one statement as it is; returns how many rows it touched."""
        import psycopg

        with psycopg.connect(self.url(name), autocommit=True) as connection:
            return connection.execute(sql, values or None).rowcount

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for all tests; none on this machine: they are skipped, but fail in CI."""
    initdb, program = find_program("initdb"), find_program("postgres")
    if initdb is None or program is None:
        reason = "PostgreSQL is not installed (no initdb)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="orc-postgres-"))
    server = PostgresServer(folder, initdb, program)
    try:
        server.make()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
