"""Stores and values that the tests of artifacts share."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from orchestrator.artifacts import LocalStore, Signer, StoredValues, open_store
from orchestrator.artifacts.buckets import BucketObjects
from orchestrator.artifacts.filesystems import FilesystemObjects
from orchestrator.artifacts.objects import Objects
from orchestrator.artifacts.remote import RemoteStore
from orchestrator.ports.artifacts import ArtifactStore


@pytest.fixture
def local(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "artifacts")


@pytest.fixture(params=["memory", "file", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Objects]:
    """Objects of every kind, empty."""
    if request.param == "s3":
        yield BucketObjects(request.getfixturevalue("s3"))
    elif request.param == "file":
        yield FilesystemObjects(f"file://{tmp_path}/objects")
    else:
        name = uuid.uuid4().hex
        yield FilesystemObjects(f"memory://{name}")
        files = fsspec.filesystem("memory")
        if files.exists(f"/{name}"):
            files.rm(f"/{name}", recursive=True)


@pytest.fixture(params=["local", "memory", "file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    """Every kind of store; the conformance suite runs on each."""
    if request.param == "local":
        return open_store(tmp_path / "artifacts")
    if request.param == "s3":
        return open_store(request.getfixturevalue("s3"), tmp_path / "cache")
    url = f"memory://{uuid.uuid4().hex}" if request.param == "memory" else f"file://{tmp_path}/objects"
    return RemoteStore(FilesystemObjects(url), LocalStore(tmp_path / "cache", durable=False))


@pytest.fixture
def values(local: LocalStore) -> StoredValues:
    return StoredValues(local, Signer(key=bytes(32)))
