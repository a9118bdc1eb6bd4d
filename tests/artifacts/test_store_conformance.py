"""What every artifact store promises (``ports.artifacts``), checked on each of them."""

from __future__ import annotations

import threading
import time

import pytest

from orchestrator.errors import ArtifactMissing
from orchestrator.ports.artifacts import ArtifactStore
from orchestrator.ports.values import digest_bytes

ABSENT = "0" * 64


@pytest.mark.parametrize("size", [0, 1, 100_000, 5 * 1024 * 1024 + 3])
def test_bytes_come_back_under_their_digest(store: ArtifactStore, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    digest = store.put(data)
    assert digest == digest_bytes(data)
    assert store.exists(digest)
    view = store.get(digest)
    assert bytes(view) == data
    assert view.readonly


def test_parts_are_stored_one_after_the_other(store: ArtifactStore) -> None:
    digest = store.put(b"abc", bytearray(b"def"), memoryview(b"xghix")[1:4], b"")
    assert digest == digest_bytes(b"abcdefghi")
    assert bytes(store.get(digest)) == b"abcdefghi"


def test_any_buffer_is_taken_as_its_bytes(store: ArtifactStore) -> None:
    numbers = memoryview(b"\1\0\0\0\2\0\0\0").cast("i")
    assert bytes(store.get(store.put(numbers))) == numbers.tobytes()


def test_what_is_not_there_is_missing(store: ArtifactStore) -> None:
    assert not store.exists(ABSENT)
    with pytest.raises(ArtifactMissing, match=ABSENT):
        store.get(ABSENT)
    with pytest.raises(ArtifactMissing, match=ABSENT):
        store.peek(ABSENT, 4)
    assert not store.refresh(ABSENT)
    assert not store.delete(ABSENT)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "/..", "0" * 64 + "\n"])
def test_only_digests_become_paths(store: ArtifactStore, name: str) -> None:
    for ask in (store.get, store.exists, store.refresh, store.delete, lambda it: store.peek(it, 1)):
        with pytest.raises(ArtifactMissing, match="digest"):
            ask(name)


def test_peek_gives_the_beginning(store: ArtifactStore) -> None:
    digest = store.put(b"0123456789")
    assert store.peek(digest, 4) == b"0123"
    assert store.peek(digest, 100) == b"0123456789"


def test_list_names_every_artifact_once(store: ArtifactStore) -> None:
    assert list(store.list()) == []
    before = time.time()
    sizes = {store.put(bytes([i]) * i): i for i in range(1, 20)}
    store.put(b"\1")
    infos = list(store.list())
    assert {info.digest: info.size for info in infos} == sizes
    assert len(infos) == len(sizes)
    assert all(before - 5 <= info.modified_at <= time.time() + 5 for info in infos)


def test_deleted_is_gone_and_can_be_put_again(store: ArtifactStore) -> None:
    digest = store.put(b"once")
    assert store.delete(digest)
    assert not store.exists(digest)
    with pytest.raises(ArtifactMissing):
        store.get(digest)
    assert store.put(b"once") == digest
    assert bytes(store.get(digest)) == b"once"


def test_a_view_outlives_the_artifact(store: ArtifactStore) -> None:
    data = b"x" * (3 * 1024 * 1024)
    digest = store.put(data)
    view = store.get(digest)
    store.delete(digest)
    assert bytes(view) == data


def test_conditional_delete_spares_what_was_modified_since(store: ArtifactStore) -> None:
    digest = store.put(b"young")
    assert not store.delete(digest, modified_before=time.time() - 3600)
    assert store.exists(digest)
    assert store.delete(digest, modified_before=time.time() + 3600)
    assert not store.exists(digest)


def test_many_threads_put_the_same_and_different_bytes(store: ArtifactStore) -> None:
    found: list[list[str]] = []

    def work(salt: int) -> None:
        found.append([store.put(f"shared {i}".encode()) for i in range(10)] + [store.put(f"{salt}".encode())])

    threads = [threading.Thread(target=work, args=(salt,)) for salt in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len({tuple(digests[:10]) for digests in found}) == 1
    assert sorted(info.digest for info in store.list()) == sorted({digest for digests in found for digest in digests})
    assert bytes(store.get(found[0][3])) == b"shared 3"
