"""Stores and values that the tests of artifacts share."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from orchestrator.artifacts import LocalStore, Signer, StoredValues, open_store
from orchestrator.ports.artifacts import ArtifactStore


@pytest.fixture
def local(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "artifacts")


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ArtifactStore]:
    """Every kind of store; the conformance suite runs on each."""
    if request.param == "local":
        yield open_store(tmp_path / "artifacts")
        return
    name = uuid.uuid4().hex
    yield open_store(f"memory://{name}", tmp_path / "cache")
    files = fsspec.filesystem("memory")
    if files.exists(f"/{name}"):
        files.rm(f"/{name}", recursive=True)


@pytest.fixture
def values(local: LocalStore) -> StoredValues:
    return StoredValues(local, Signer(key=bytes(32)))
