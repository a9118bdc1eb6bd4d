"""Artifacts in a local directory: the fast path, and the node's cache in front of remote stores.

An artifact is the file ``ab/cd/abcd…`` under the root, read-only and never changed. It is hashed while it is written to
a temporary file on the same file system, fsynced, renamed, and its directory fsynced. Large artifacts are read as
memory maps, so the uncompressed Arrow or npy file is the shared memory of all processes on the node; a file is
verified once per process and version of the file (inode, size, modification time).

A lock file decides between a writer that finds an artifact already there and a collection that is about to remove
it: writers hold it shared while they publish, a conditional removal holds it alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import re
import secrets
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

from blake3 import blake3

from orchestrator.errors import ArtifactCorrupt, ArtifactMissing, StoreUnavailable
from orchestrator.ports.artifacts import ArtifactInfo
from orchestrator.types import Digest

Buffer: TypeAlias = bytes | bytearray | memoryview

_DIGEST = re.compile(r"[0-9a-f]{64}")
_WRITE_BYTES = 4 * 1024 * 1024
_BESIDE_BYTES = 16 * 1024 * 1024
"""From here on hashing runs beside writing: neither holds the interpreter's lock."""
_MAP_BYTES = 1024 * 1024
"""Smaller artifacts are read: a map costs a file descriptor for as long as the value lives."""
_MOST_MAPS = 256
"""Live maps per process where a map keeps its file descriptor open (before Python 3.13)."""
_BEGUN_S = 60.0
"""Age from which an unfinished file that nobody has locked was left by a writer that was killed."""
_MOST_VERIFIED = 100_000

_Version: TypeAlias = tuple[int, int, int, int]


class _Map(mmap.mmap):
    """A memory map that can be counted while it lives."""


class LocalStore:
    """Content-addressed files under one directory. Safe for any number of processes and threads.

    Args:
        root: The directory; made if missing, readable by its owner only.
        durable: False for a cache, whose files may be lost in a crash of the machine: no fsync.

    Raises:
        StoreUnavailable: the directory cannot be made.
    """

    def __init__(self, root: str | Path, durable: bool = True) -> None:
        self.root = Path(root).absolute()
        self.durable = durable
        self._unfinished = self.root / "unfinished"
        self._lock_path = self.root / "lock"
        self._verified: dict[Digest, _Version] = {}
        self._known_directories: set[Path] = set()
        self._maps: weakref.WeakSet[_Map] = weakref.WeakSet()
        with _unavailable(f"cannot use {self.root} as an artifact store"):
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._unfinished.mkdir(mode=0o700, exist_ok=True)
            os.close(os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._remove_abandoned()

    def __repr__(self) -> str:
        return f"LocalStore({str(self.root)!r})"

    # ---- writing

    def put(self, *parts: Buffer) -> Digest:
        """Store bytes; see ``ports.artifacts.ArtifactStore``."""
        if sum(memoryview(part).nbytes for part in parts) < _BESIDE_BYTES:
            return self.write(_slices(parts))
        with ThreadPoolExecutor(1) as beside:
            hashing = beside.submit(_digest, parts)
            return self.write(_slices(parts), digest=hashing.result)

    def write(
        self, chunks: Iterable[Buffer], expected: Digest | None = None, digest: Callable[[], Digest] | None = None
    ) -> Digest:
        """Store bytes that arrive in pieces.

        Args:
            chunks: The bytes, in order.
            expected: The digest they must have, if it is known.
            digest: Waits for their digest, if somebody else computes it; else they are hashed between writes.

        Raises:
            ArtifactCorrupt: they have another digest; nothing was stored.
            StoreUnavailable: the disk is full or failing; nothing half-written is left.
        """
        unfinished = self._unfinished / f"{os.getpid()}-{secrets.token_hex(8)}"
        with _unavailable(f"cannot write an artifact under {self.root}"):
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)  # until it is published: see _remove_abandoned
                hasher = None if digest else blake3()
                size = _write_all(descriptor, chunks, hasher)
                found = hasher.hexdigest() if hasher is not None else digest() if digest is not None else ""
                if expected is not None and found != expected:
                    raise ArtifactCorrupt(f"artifact {expected} arrived with digest {found} ({size} bytes)")
                self._publish(descriptor, unfinished, found, size)
            finally:
                os.close(descriptor)
                unfinished.unlink(missing_ok=True)
        return found

    def _publish(self, descriptor: int, unfinished: Path, digest: Digest, size: int) -> None:
        """Make a written file visible, or drop it if a sound copy is there."""
        path = self._path(digest)
        with self._locked(fcntl.LOCK_SH):
            sound = self._refresh_sound(path, digest, size)
        if not sound:
            if self.durable:
                _sync_descriptor(descriptor)
            self._make_directory(path.parent)
            with self._locked(fcntl.LOCK_SH):
                os.utime(unfinished)
                os.rename(unfinished, path)
            self._remember(digest, _version(os.stat(path)))
        if self.durable:
            _sync(path.parent)  # also if it was there: whoever renamed it may not have come to that yet

    def _refresh_sound(self, path: Path, digest: Digest, size: int) -> bool:
        """True if the artifact is there with the right bytes; a damaged copy is to be replaced."""
        try:
            if os.stat(path).st_size != size:
                return False
            self.get(digest)
            os.utime(path)
        except (FileNotFoundError, ArtifactMissing, ArtifactCorrupt):
            return False
        self._remember(digest, _version(os.stat(path)))
        return True

    def _make_directory(self, directory: Path) -> None:
        """Make ``ab/cd`` and make its name durable; another process may have made it without being done yet."""
        if directory in self._known_directories and directory.exists():
            return
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.durable:
            _sync(directory.parent)
            _sync(self.root)
        self._known_directories.add(directory)

    # ---- reading

    def get(self, digest: Digest) -> memoryview:
        """The verified bytes, read-only; see ``ports.artifacts.ArtifactStore``."""
        path = self._path(digest)
        with _unavailable(f"cannot read artifact {path}"):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise _missing(digest, self.root) from None
            try:
                status = os.fstat(descriptor)
                view = self._view(descriptor, status.st_size)
            finally:
                os.close(descriptor)
        version = _version(status)
        if self._verified.get(digest) != version:
            found = blake3(view).hexdigest()
            if found != digest:
                raise ArtifactCorrupt(
                    f"artifact {digest} is damaged: the {status.st_size} bytes of {path} have digest {found}; "
                    "remove the file and run the step that made it again"
                )
            self._remember(digest, version)
        return view

    def _view(self, descriptor: int, size: int) -> memoryview:
        keeps_descriptor = sys.version_info < (3, 13)
        if size < _MAP_BYTES or (keeps_descriptor and len(self._maps) >= _MOST_MAPS):
            with open(descriptor, "rb", closefd=False) as file:
                return memoryview(file.read())
        mapped = _Map(descriptor, size, access=mmap.ACCESS_READ, **({} if keeps_descriptor else {"trackfd": False}))
        self._maps.add(mapped)
        return memoryview(mapped)

    def peek(self, digest: Digest, count: int) -> bytes:
        """The first bytes, not verified; see ``ports.artifacts.ArtifactStore``."""
        path = self._path(digest)
        with _unavailable(f"cannot read artifact {path}"):
            try:
                with open(path, "rb") as file:
                    return file.read(count)
            except FileNotFoundError:
                raise _missing(digest, self.root) from None

    def exists(self, digest: Digest) -> bool:
        """True if the artifact is there (its bytes are not checked)."""
        return self._path(digest).exists()

    def list(self) -> Iterator[ArtifactInfo]:
        """All artifacts, in no order."""
        with _unavailable(f"cannot list {self.root}"):
            for path in self.root.glob("[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]/*"):
                if _DIGEST.fullmatch(path.name):
                    with contextlib.suppress(FileNotFoundError):
                        status = path.stat()
                        yield ArtifactInfo(path.name, status.st_size, status.st_mtime)

    # ---- lifetime

    def refresh(self, digest: Digest) -> bool:
        """Set the modification time to now; False if the artifact is not there."""
        path = self._path(digest)
        with _unavailable(f"cannot refresh artifact {path}"), self._locked(fcntl.LOCK_SH):
            try:
                before = _version(os.stat(path))
                os.utime(path)
                if self._verified.get(digest) == before:
                    self._remember(digest, _version(os.stat(path)))
            except FileNotFoundError:
                return False
        return True

    def delete(self, digest: Digest, modified_before: float | None = None) -> bool:
        """Remove an artifact; see ``ports.artifacts.ArtifactStore``."""
        path = self._path(digest)
        with _unavailable(f"cannot remove artifact {path}"), self._locked(fcntl.LOCK_EX):
            try:
                if modified_before is not None and os.stat(path).st_mtime >= modified_before:
                    return False
                path.unlink()
            except FileNotFoundError:
                return False
        self._verified.pop(digest, None)
        return True

    def _remove_abandoned(self) -> None:
        """Remove what writers that were killed left behind: the kernel has dropped their locks."""
        newest = time.time() - _BEGUN_S
        for path in self._unfinished.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < newest and _is_unlocked(path):
                    path.unlink()

    # ---- inside

    def _path(self, digest: Digest) -> Path:
        """The only way from a digest to a path: nothing that is no digest ever becomes one."""
        if not _DIGEST.fullmatch(digest):
            raise ArtifactMissing(f"{digest!r} is not the digest of an artifact")
        return self.root / digest[:2] / digest[2:4] / digest

    def _remember(self, digest: Digest, version: _Version) -> None:
        if len(self._verified) >= _MOST_VERIFIED:
            self._verified.clear()
        self._verified[digest] = version

    @contextlib.contextmanager
    def _locked(self, mode: int) -> Iterator[None]:
        """Hold the lock file; each use has its own descriptor, so threads exclude each other like processes."""
        descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, mode)
            yield
        finally:
            os.close(descriptor)


def _slices(parts: Iterable[Buffer]) -> Iterator[memoryview]:
    """The bytes in pieces that stay in the processor's cache between hashing and writing."""
    for part in parts:
        view = memoryview(part).cast("B")
        for start in range(0, len(view), _WRITE_BYTES):
            yield view[start : start + _WRITE_BYTES]


def _digest(parts: Iterable[Buffer]) -> Digest:
    hasher = blake3()
    for part in parts:
        hasher.update(memoryview(part).cast("B"))
    return hasher.hexdigest()


def _write_all(descriptor: int, chunks: Iterable[Buffer], hasher: blake3 | None) -> int:
    """Write into a new file; returns its size in bytes."""
    size = 0
    for chunk in chunks:
        if hasher is not None:
            hasher.update(chunk)
        size += len(chunk)
        written = os.write(descriptor, chunk)
        while written < len(chunk):
            written += os.write(descriptor, memoryview(chunk)[written:])
    return size


def _is_unlocked(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _version(status: os.stat_result) -> _Version:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _sync(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _sync_descriptor(descriptor)
    finally:
        os.close(descriptor)


def _sync_descriptor(descriptor: int) -> None:
    """Make content durable; on macOS fsync alone stops at the drive's cache."""
    if hasattr(fcntl, "F_FULLFSYNC"):
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fsync(descriptor)


def _missing(digest: Digest, where: object) -> ArtifactMissing:
    return ArtifactMissing(f"artifact {digest} is not in {where}; it was collected or belongs to another store")


@contextlib.contextmanager
def _unavailable(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"{what}: {error.strerror or error}; free space or repair the store, then resume") from (
            error
        )
