"""The remote store: what it adds to the conformance suite, above all its cache on the node."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from orchestrator.artifacts.local import LocalStore, _Map
from orchestrator.artifacts.remote import REFRESH_S, RemoteStore, trim
from orchestrator.errors import ArtifactCorrupt, ArtifactMissing, StoreUnavailable
from orchestrator.ports.artifacts import ArtifactStore
from tests.artifacts.test_local_store import file_of, flip_byte

LARGE = bytes(3 * 1024 * 1024)


@pytest.fixture
def url() -> Iterator[str]:
    name = uuid.uuid4().hex
    yield f"memory://{name}"
    files = fsspec.filesystem("memory")
    if files.exists(f"/{name}"):
        files.rm(f"/{name}", recursive=True)


def node(url: str, directory: Path, **options: Any) -> RemoteStore:
    """The store as another node sees it, with a cache of its own."""
    return RemoteStore(url, LocalStore(directory, durable=False), **options)


def path_of(url: str, digest: str) -> str:
    return f"{url.removeprefix('memory:/')}/{digest[:2]}/{digest[2:4]}/{digest}"


def test_another_node_downloads_once_and_maps(url: str, tmp_path: Path) -> None:
    digest = node(url, tmp_path / "a").put(LARGE)
    there = node(url, tmp_path / "b")
    view = there.get(digest)
    assert bytes(view) == LARGE
    assert type(view.obj) is _Map
    fsspec.filesystem("memory").rm(path_of(url, digest))
    assert bytes(there.get(digest)) == LARGE
    with pytest.raises(ArtifactMissing, match=url):
        node(url, tmp_path / "c").get(digest)


def test_a_damaged_object_is_not_loaded_and_the_next_put_replaces_it(url: str, tmp_path: Path) -> None:
    digest = node(url, tmp_path / "a").put(b"0123456789")
    files = fsspec.filesystem("memory")
    files.pipe_file(path_of(url, digest), b"0123456780")
    there = node(url, tmp_path / "b")
    with pytest.raises(ArtifactCorrupt, match=f"{digest} is damaged in {url}"):
        there.get(digest)
    there.put(b"0123456789")
    assert bytes(node(url, tmp_path / "c").get(digest)) == b"0123456789"


def test_a_truncated_object_is_replaced(url: str, tmp_path: Path) -> None:
    digest = node(url, tmp_path / "a").put(b"0123456789")
    fsspec.filesystem("memory").pipe_file(path_of(url, digest), b"01234")
    node(url, tmp_path / "b").put(b"0123456789")
    assert bytes(node(url, tmp_path / "c").get(digest)) == b"0123456789"


def test_a_damaged_cache_is_filled_again(url: str, tmp_path: Path) -> None:
    here = node(url, tmp_path / "a")
    digest = here.put(b"0123456789")
    flip_byte(file_of(LocalStore(tmp_path / "a"), digest))
    assert bytes(here.get(digest)) == b"0123456789"


def test_an_object_that_is_there_is_written_again_only_when_old(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = node(url, tmp_path / "a")
    digest = here.put(b"here")
    files = fsspec.filesystem("memory")
    written: list[str] = []
    pipe = type(files).pipe_file

    def recording(self: Any, path: str, *args: Any, **options: Any) -> None:
        written.append(path)
        pipe(self, path, *args, **options)

    monkeypatch.setattr(type(files), "pipe_file", recording)
    here.put(b"here")
    assert here.refresh(digest)
    assert written == []
    for ask in (lambda: here.put(b"here"), lambda: here.refresh(digest)):
        created = files.info(path_of(url, digest))["created"].timestamp()
        with monkeypatch.context() as patch:
            patch.setattr("orchestrator.artifacts.remote.time.time", lambda created=created: created + REFRESH_S)
            ask()
    assert len(written) == 2


def test_the_cache_keeps_within_its_limit(url: str, tmp_path: Path) -> None:
    here = node(url, tmp_path / "a", cache_bytes=100_000)
    digests = [here.put(bytes([i]) * 10_000) for i in range(40)]
    cached = LocalStore(tmp_path / "a")
    assert sum(info.size for info in cached.list()) <= 100_000 * 1.25
    assert all(here.get(digest)[0] == i for i, digest in enumerate(digests))
    assert sum(info.size for info in cached.list()) <= 100_000 * 1.25


def test_trimming_removes_the_least_recently_used(tmp_path: Path) -> None:
    import os

    cache = LocalStore(tmp_path)
    digests = [cache.put(bytes([i]) * 100) for i in range(5)]
    for age, digest in enumerate(digests):
        os.utime(file_of(cache, digest), (1000 - age, 1000 - age))
    assert trim(cache, 250) == 300
    assert {info.digest for info in cache.list()} == set(digests[:2])
    assert trim(cache, 250) == 0


class _Broken(io.RawIOBase):
    def read(self, size: int = -1) -> bytes:
        raise ConnectionResetError("reset by the store")


def test_a_store_that_does_not_answer_is_unavailable(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = node(url, tmp_path / "a").put(b"here")
    there: ArtifactStore = node(url, tmp_path / "b")
    kind = type(fsspec.filesystem("memory"))
    with monkeypatch.context() as patch:
        patch.setattr(kind, "open", lambda *a, **k: _Broken())
        with pytest.raises(StoreUnavailable, match="reset by the store"):
            there.get(digest)

    def refuse(*_: Any, **__: Any) -> None:
        raise TimeoutError("no answer")

    with monkeypatch.context() as patch:
        for name in ("info", "pipe_file", "rm_file", "find", "cat_file"):
            patch.setattr(kind, name, refuse)
        asks: list[Callable[[], object]] = [
            lambda: there.put(b"new"),
            lambda: there.get(digest),
            lambda: there.exists(digest),
            lambda: there.delete(digest),
            lambda: list(there.list()),
            lambda: there.peek(digest, 1),
            lambda: there.refresh(digest),
        ]
        for ask in asks:
            with pytest.raises(StoreUnavailable, match="no answer"):
                ask()
    assert bytes(there.get(digest)) == b"here"
    assert [path.name for path in (tmp_path / "b" / "unfinished").iterdir()] == []
