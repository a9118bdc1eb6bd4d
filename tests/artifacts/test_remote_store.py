"""The remote store: what it adds to the conformance suite, on every kind of objects; above all its cache."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.artifacts.local import LocalStore, _Map
from orchestrator.artifacts.objects import Objects, Stored
from orchestrator.artifacts.remote import DOOMED_S, REFRESH_S, RemoteStore, trim
from orchestrator.errors import ArtifactCorrupt, ArtifactMissing, StoreUnavailable
from orchestrator.ports.artifacts import ArtifactStore
from tests.artifacts.test_local_store import file_of, flip_byte

LARGE = bytes(3 * 1024 * 1024)


def node(objects: Objects, directory: Path, **options: Any) -> RemoteStore:
    """The store as another node sees it, with a cache of its own."""
    return RemoteStore(objects, LocalStore(directory, durable=False), **options)


def path_of(digest: str) -> str:
    return f"{digest[:2]}/{digest[2:4]}/{digest}"


class Watched:
    """Objects that seem older than they are, and that say what was asked of them."""

    def __init__(self, objects: Objects) -> None:
        self.inner = objects
        self.url = objects.url
        self.asked: list[str] = []
        self.aged_s: dict[str, float] = {}
        self.before: Callable[[str, str], None] = lambda request, path: None

    def find(self, path: str) -> Stored | None:
        self._note("find", path)
        found = self.inner.find(path)
        return found and found._replace(modified_at=found.modified_at - self.aged_s.get(path, 0.0))

    def create(self, path: str, data: bytes | memoryview) -> bool:
        self._note("create", path)
        return self.inner.create(path, data)

    def replace(self, path: str, data: bytes | memoryview) -> None:
        self._note("replace", path)
        self.aged_s.pop(path, None)
        self.inner.replace(path, data)

    def remove(self, path: str) -> None:
        self._note("remove", path)
        self.inner.remove(path)

    def _note(self, request: str, path: str) -> None:
        self.before(request, path)
        self.asked.append(request)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@pytest.fixture
def watched(objects: Objects) -> Watched:
    return Watched(objects)


def test_another_node_downloads_once_and_maps(objects: Objects, tmp_path: Path) -> None:
    digest = node(objects, tmp_path / "a").put(LARGE)
    there = node(objects, tmp_path / "b")
    view = there.get(digest)
    assert bytes(view) == LARGE
    assert type(view.obj) is _Map
    objects.remove(path_of(digest))
    assert bytes(there.get(digest)) == LARGE
    assert there.peek(digest, 2) == b"\0\0"
    with pytest.raises(ArtifactMissing, match=objects.url):
        node(objects, tmp_path / "c").get(digest)


def test_a_small_artifact_is_one_request(watched: Watched, tmp_path: Path) -> None:
    node(watched, tmp_path / "a").put(b"new")
    assert watched.asked == ["create"]


def test_of_two_writers_one_writes_and_both_agree(watched: Watched, tmp_path: Path) -> None:
    assert node(watched, tmp_path / "a").put(LARGE) == node(watched, tmp_path / "b").put(LARGE)
    assert watched.asked.count("create") == 1
    assert "replace" not in watched.asked


def test_an_object_is_created_once(objects: Objects) -> None:
    assert objects.create("ab/cd/x", b"first")
    assert not objects.create("ab/cd/x", b"second")
    assert b"".join(objects.read("ab/cd/x")) == b"first"
    objects.replace("ab/cd/x", b"third")
    assert b"".join(objects.read("ab/cd/x")) == b"third"


def test_the_beginning_of_objects(objects: Objects) -> None:
    objects.create("ab/cd/empty", b"")
    objects.create("ab/cd/some", b"0123456789")
    assert [objects.head("ab/cd/empty", 4), objects.head("ab/cd/some", 4), objects.head("ab/cd/some", 40)] == [
        b"", b"0123", b"0123456789",
    ]  # fmt: skip
    with pytest.raises(FileNotFoundError):
        objects.head("ab/cd/none", 4)


@pytest.mark.parametrize("wrong", [b"0123456780", b"01234", b""])
def test_a_damaged_object_is_not_loaded_and_the_next_put_replaces_it(
    objects: Objects, tmp_path: Path, wrong: bytes
) -> None:
    """Also a put by another process, which has not seen the damage itself."""
    digest = node(objects, tmp_path / "a").put(b"0123456789")
    objects.replace(path_of(digest), wrong)
    with pytest.raises(ArtifactCorrupt, match=f"(?s){digest} is damaged in {objects.url}.*{path_of(digest)}"):
        node(objects, tmp_path / "b").get(digest)
    node(objects, tmp_path / "c").put(b"0123456789")
    there = node(objects, tmp_path / "d")
    assert bytes(there.get(digest)) == b"0123456789"
    assert {info.digest for info in there.list()} == {digest}
    assert objects.find(f"damaged/{digest}") is None


def test_a_damaged_cache_is_filled_again(objects: Objects, tmp_path: Path) -> None:
    here = node(objects, tmp_path / "a")
    digest = here.put(b"0123456789")
    flip_byte(file_of(LocalStore(tmp_path / "a"), digest))
    assert bytes(here.get(digest)) == b"0123456789"


@pytest.mark.parametrize("way", ["put", "refresh"])
def test_an_object_that_is_there_is_written_again_only_when_old(watched: Watched, tmp_path: Path, way: str) -> None:
    here = node(watched, tmp_path / "a")
    digest = here.put(b"here")
    reuse = {"put": lambda: here.put(b"here"), "refresh": lambda: here.refresh(digest)}[way]
    assert reuse()
    assert "replace" not in watched.asked
    watched.aged_s[path_of(digest)] = REFRESH_S
    assert reuse()
    assert watched.asked.count("replace") == 1


# ---- removal against reuse


@pytest.mark.parametrize("way", ["put", "refresh"])
def test_a_reuse_waits_for_a_removal_that_has_looked_already(watched: Watched, tmp_path: Path, way: str) -> None:
    """The removal has seen an old object; the reuse renews it, and then it is removed: the reuse puts it back."""
    here, there = node(watched, tmp_path / "a"), node(watched, tmp_path / "b")
    digest = here.put(b"old")
    watched.aged_s[path_of(digest)] = 2 * REFRESH_S
    looked, go_on = threading.Event(), threading.Event()

    def pause(request: str, path: str) -> None:
        if threading.current_thread() is removal and (request, path) == ("remove", path_of(digest)):
            looked.set()
            assert go_on.wait(60)
        if threading.current_thread() is not removal and (request, path) == ("find", f"doomed/{digest}"):
            go_on.set()

    watched.before = pause
    removal = threading.Thread(target=lambda: there.delete(digest, time.time() - REFRESH_S))
    removal.start()
    assert looked.wait(60)
    assert here.put(b"old") == digest if way == "put" else here.refresh(digest)
    removal.join()
    assert bytes(node(watched, tmp_path / "c").get(digest)) == b"old"


def test_of_two_collections_one_removes(watched: Watched, tmp_path: Path) -> None:
    here = node(watched, tmp_path / "a")
    digest = here.put(b"old")
    watched.create(f"doomed/{digest}", b"")
    assert not here.delete(digest, time.time() + 60)
    assert here.exists(digest)


def test_the_mark_of_a_killed_collection_delays_nobody(watched: Watched, tmp_path: Path) -> None:
    here = node(watched, tmp_path / "a")
    digest = here.put(b"old")
    mark = f"doomed/{digest}"
    watched.create(mark, b"")
    watched.aged_s = {mark: DOOMED_S, path_of(digest): REFRESH_S}
    assert here.refresh(digest)
    assert not here.delete(digest, time.time() + 60)
    assert here.delete(digest, time.time() + 60)
    assert list(here.list()) == []


# ---- the cache


def test_the_cache_keeps_within_its_limit(objects: Objects, tmp_path: Path) -> None:
    here = node(objects, tmp_path / "a", cache_bytes=100_000)
    digests = [here.put(bytes([i]) * 10_000) for i in range(40)]
    cached = LocalStore(tmp_path / "a")
    assert sum(info.size for info in cached.list()) <= 100_000 * 1.25
    assert all(here.get(digest)[0] == i for i, digest in enumerate(digests))
    assert sum(info.size for info in cached.list()) <= 100_000 * 1.25


def test_trimming_removes_the_least_recently_used(tmp_path: Path) -> None:
    cache = LocalStore(tmp_path)
    digests = [cache.put(bytes([i]) * 100) for i in range(5)]
    for age, digest in enumerate(digests):
        os.utime(file_of(cache, digest), (1000 - age, 1000 - age))
    assert trim(cache, 250) == 300
    assert {info.digest for info in cache.list()} == set(digests[:2])
    assert trim(cache, 250) == 0


# ---- file systems that fail


def test_a_file_system_that_does_not_answer_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    from orchestrator.artifacts.filesystems import FilesystemObjects

    objects = FilesystemObjects(f"memory://{tmp_path.name}")
    digest = node(objects, tmp_path / "a").put(b"here")
    there: ArtifactStore = node(objects, tmp_path / "b")

    def refuse(*_: Any, **__: Any) -> None:
        raise TimeoutError("no answer")

    with monkeypatch.context() as patch:
        for name in ("info", "pipe_file", "rm_file", "find", "cat_file", "open"):
            patch.setattr(type(fsspec.filesystem("memory")), name, refuse)
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
