"""The local store: atomic under kill -9 and full disks, verified reads, memory maps, and removal against writers."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from orchestrator.artifacts import LocalStore, open_store
from orchestrator.artifacts import local as module
from orchestrator.errors import ArtifactCorrupt, ArtifactMissing, ConfigError, StoreUnavailable
from orchestrator.ports.values import digest_bytes

SPAWN = multiprocessing.get_context("spawn")
LARGE = 3 * 1024 * 1024


def file_of(store: LocalStore, digest: str) -> Path:
    return store.root / digest[:2] / digest[2:4] / digest


def flip_byte(path: Path, at: int = 0) -> None:
    path.chmod(0o600)
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def unfinished(store: LocalStore) -> list[Path]:
    return list((store.root / "unfinished").iterdir())


# ---- reading


@pytest.mark.parametrize("size", [10, LARGE])
def test_one_flipped_byte_is_found(local: LocalStore, size: int) -> None:
    digest = local.put(bytes(size))
    flip_byte(file_of(local, digest), size - 1)
    for store in (local, LocalStore(local.root)):
        with pytest.raises(ArtifactCorrupt, match=digest):
            store.get(digest)


@pytest.mark.parametrize("damage", ["shorter", "longer", "empty"])
def test_a_changed_length_is_found(local: LocalStore, damage: str) -> None:
    digest = local.put(b"0123456789")
    path = file_of(local, digest)
    path.chmod(0o600)
    path.write_bytes({"shorter": b"01234", "longer": b"0123456789x", "empty": b""}[damage])
    with pytest.raises(ArtifactCorrupt):
        local.get(digest)


def test_putting_again_replaces_a_damaged_copy(local: LocalStore) -> None:
    digest = local.put(b"0123456789")
    flip_byte(file_of(local, digest))
    assert local.put(b"0123456789") == digest
    assert bytes(local.get(digest)) == b"0123456789"


def test_a_file_is_verified_once(local: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = local.put(bytes(LARGE))
    reader = LocalStore(local.root)
    hashed: list[int] = []

    def counting(*data: Any) -> Any:
        hashed.append(1)
        return blake3(*data)

    monkeypatch.setattr(module, "blake3", counting)
    for _ in range(3):
        reader.get(digest)
    assert len(hashed) == 1
    reader.refresh(digest)
    reader.get(digest)
    assert len(hashed) == 1


def test_large_artifacts_are_maps_and_small_ones_are_not(local: LocalStore) -> None:
    assert type(local.get(local.put(bytes(LARGE))).obj) is module._Map
    assert type(local.get(local.put(bytes(1000))).obj) is bytes


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="maps keep no descriptor from Python 3.13 on")
def test_many_live_values_do_not_use_up_the_descriptors(local: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_MAPS", 3)
    digest = local.put(bytes(LARGE))
    views = [local.get(digest) for _ in range(10)]
    assert [type(view.obj) for view in views].count(module._Map) == 3
    assert all(len(view) == LARGE for view in views)


def test_an_artifact_cannot_be_written_through(local: LocalStore) -> None:
    view = local.get(local.put(bytes(LARGE)))
    with pytest.raises(TypeError):
        view[0] = 1


# ---- writing


def test_files_are_private_read_only_and_fanned_out(local: LocalStore) -> None:
    path = file_of(local, local.put(b"private"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert stat.S_IMODE(local.root.stat().st_mode) & 0o077 == 0


def test_a_duplicate_refreshes_the_time_and_writes_nothing(local: LocalStore) -> None:
    digest = local.put(b"twice")
    path = file_of(local, digest)
    inode = path.stat().st_ino
    os.utime(path, (1, 1))
    local.put(b"twice")
    assert path.stat().st_ino == inode
    assert path.stat().st_mtime > time.time() - 60
    assert unfinished(local) == []


def _recording(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Inodes of whatever is made durable from now on, in order; a rename is recorded as 0."""
    done: list[int] = []
    sync, rename = module._sync_descriptor, os.rename

    def syncing(descriptor: int) -> None:
        sync(descriptor)
        done.append(os.fstat(descriptor).st_ino)

    def renaming(source: Any, target: Any) -> None:
        rename(source, target)
        done.append(0)

    monkeypatch.setattr(module, "_sync_descriptor", syncing)
    monkeypatch.setattr(os, "rename", renaming)
    return done


def test_bytes_are_durable_before_the_name_and_the_name_before_the_answer(
    local: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = _recording(monkeypatch)
    path = file_of(local, local.put(b"durable"))
    inode = {where: where.stat().st_ino for where in (path, path.parent, path.parent.parent, local.root)}
    assert done.index(inode[path]) < done.index(0) < len(done) - 1
    assert {inode[path.parent.parent], inode[local.root]} <= set(done[: done.index(0)])
    assert done[-1] == inode[path.parent]


def test_a_duplicate_is_answered_when_its_name_is_durable(local: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer that renamed it may not have come to that yet, and its machine may lose power now."""
    path = file_of(local, local.put(b"durable"))
    done = _recording(monkeypatch)
    LocalStore(local.root).put(b"durable")
    assert done == [path.parent.stat().st_ino]


def _put_forever(root: Path, started: str) -> None:
    store = LocalStore(root)
    Path(started).touch()
    i = 0
    while True:
        store.put(i.to_bytes(8, "big") * 200_000)
        i += 1


def test_kill_9_while_writing_leaves_no_half_artifact(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "artifacts")
    for attempt in range(4):
        started = tmp_path / f"started-{attempt}"
        child = SPAWN.Process(target=_put_forever, args=(store.root, str(started)))
        child.start()
        while not started.exists() and child.is_alive():
            time.sleep(0.01)
        seen = sum(1 for _ in store.list())
        while child.is_alive() and sum(1 for _ in store.list()) < seen + 2 + attempt:
            time.sleep(0.001)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()
    infos = list(LocalStore(store.root).list())
    assert infos
    for info in infos:
        assert info.size == 1_600_000
        assert digest_bytes(file_of(store, info.digest).read_bytes()) == info.digest


def _write_beyond_limit(root: Path, answer: str) -> None:
    store = LocalStore(root)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * 1024 * 1024, resource.RLIM_INFINITY))
    with pytest.raises(StoreUnavailable, match="cannot write"):
        store.put(bytes(8 * 1024 * 1024))
    assert bytes(store.get(store.put(b"small still fits"))) == b"small still fits"
    Path(answer).touch()


def test_a_disk_that_takes_no_more_leaves_nothing_behind(tmp_path: Path) -> None:
    answer = tmp_path / "refused"
    child = SPAWN.Process(target=_write_beyond_limit, args=(tmp_path / "artifacts", str(answer)))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert answer.exists()
    store = LocalStore(tmp_path / "artifacts")
    assert [info.size for info in store.list()] == [16]
    assert unfinished(store) == []


def test_a_full_disk_is_said_and_nothing_is_left_behind(tmp_path: Path) -> None:
    """A file system of two megabytes, filled while an artifact is written; then some space is made."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]).returncode:
        pytest.skip("only root may mount a file system")
    try:
        store = LocalStore(disk / "artifacts")
        kept = store.put(bytes(1_000_000))
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match=r"cannot write.*No space left on device.*free space") as refused:
                store.put(b"x" * 1_500_000)
            assert refused.value.retryable
            assert unfinished(store) == []
        assert [info.digest for info in store.list()] == [kept]
        assert bytes(store.get(kept)) == bytes(1_000_000)
        store.delete(kept)
        assert len(store.get(store.put(b"x" * 1_500_000))) == 1_500_000
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def _stop_in_the_middle(root: Path, begun: str) -> None:
    def never_ending() -> Iterator[bytes]:
        while True:
            yield bytes(1000)
            Path(begun).touch()
            time.sleep(0.01)

    LocalStore(root).write(never_ending())


def test_leftovers_of_killed_writers_go_and_those_of_living_ones_stay(local: LocalStore, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    child = SPAWN.Process(target=_stop_in_the_middle, args=(local.root, str(begun)))
    child.start()
    while not begun.exists() and child.is_alive():
        time.sleep(0.01)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGSTOP)
    (written,) = unfinished(local)
    os.utime(written, (1, 1))
    LocalStore(local.root)
    assert unfinished(local) == [written]
    child.kill()
    child.join()
    just_begun = local.root / "unfinished" / "1-not-locked-yet"
    just_begun.touch()
    LocalStore(local.root)
    assert unfinished(local) == [just_begun]
    assert list(local.list()) == []


def test_bytes_with_another_digest_than_expected_are_not_stored(local: LocalStore) -> None:
    with pytest.raises(ArtifactCorrupt, match="arrived"):
        local.write([b"not this"], expected="0" * 64)
    assert list(local.list()) == []
    assert unfinished(local) == []


# ---- removal against writers


def _put_again(root: Path, done: str) -> None:
    LocalStore(root).put(b"contended")
    Path(done).touch()


def test_a_writer_waits_for_a_removal_that_has_begun(local: LocalStore, tmp_path: Path) -> None:
    """Either the writer makes the artifact young first, or it finds it gone: never gone after its ``put`` returned."""
    import fcntl

    digest = local.put(b"contended")
    done = tmp_path / "done"
    child = SPAWN.Process(target=_put_again, args=(local.root, str(done)))
    with local._locked(fcntl.LOCK_EX):
        child.start()
        while not unfinished(local) and child.is_alive():
            time.sleep(0.005)
        time.sleep(0.2)
        assert not done.exists()
        file_of(local, digest).unlink()
    child.join()
    assert done.exists()
    assert bytes(local.get(digest)) == b"contended"


# ---- opening


def test_paths_and_file_urls_open_the_same_store(tmp_path: Path) -> None:
    root = tmp_path / "with space"
    digest = open_store(root).put(b"here")
    for url in (str(root), f"file://{root}", f"file://{str(root).replace(' ', '%20')}", f"file://localhost{root}"):
        assert open_store(url).exists(digest)


@pytest.mark.parametrize("url", ["", "  ", "file://elsewhere/path", "nonsense://x/y", "s3://", "memory://"])
def test_an_address_that_cannot_be_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        open_store(url)


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="file"):
        open_store(tmp_path / "file" / "artifacts")


def test_missing_names_the_store(local: LocalStore) -> None:
    with pytest.raises(ArtifactMissing, match=str(local.root)):
        local.get("0" * 64)
