"""One fixture per back end, so that the next one only has to join ``BACKENDS``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.store import SqlJournal
from tests.store.backend import BACKENDS, SqliteBackend


@pytest.fixture(params=sorted(BACKENDS))
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqliteBackend]:
    made = BACKENDS[request.param](tmp_path)
    yield made
    made.close()


@pytest.fixture
def journal(backend: SqliteBackend) -> SqlJournal:
    return backend.open()
