"""One fixture for every back end: each test of the suite runs on all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.store import SqlJournal
from tests.store.backend import BACKENDS, Backend, PostgresBackend, SqliteBackend, make_backend
from tests.store.postgres_server import PostgresServer


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    made = make_backend(request, request.param, tmp_path)
    yield made
    made.close()


@pytest.fixture
def journal(backend: Backend) -> SqlJournal:
    return backend.open()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[SqliteBackend]:
    """For what only SQLite has."""
    made = SqliteBackend(tmp_path)
    yield made
    made.close()


@pytest.fixture
def on_server(postgres: PostgresServer) -> Iterator[PostgresBackend]:
    """For what only PostgreSQL has."""
    made = PostgresBackend(postgres, postgres.database())
    yield made
    made.close()
