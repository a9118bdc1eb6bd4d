"""Artifacts on any fsspec file system: object stores, and memory for tests.

An object is put if it is absent; object stores make a finished upload visible at once, so nothing half-written
is ever seen. Reads go through a cache on the node, a ``LocalStore``: an artifact is downloaded and verified
once per node, and then mapped like a local one.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import fsspec

from orchestrator.artifacts.local import Buffer, LocalStore
from orchestrator.errors import ArtifactCorrupt, ArtifactMissing, ConfigError, StoreUnavailable
from orchestrator.ports.artifacts import ArtifactInfo
from orchestrator.types import Digest

_DIGEST = re.compile(r"[0-9a-f]{64}")
_READ_BYTES = 4 * 1024 * 1024
REFRESH_S = 900.0
"""An object found present is written again only if it is older: object stores have no other way to renew its time."""


class RemoteStore:
    """Content-addressed objects under a URL, with a cache of verified artifacts on this node.

    Args:
        url: An fsspec URL, such as ``s3://bucket/artifacts``.
        cache: Where downloaded and written artifacts stay on this node.
        cache_bytes: Size at which the cache gives up what was used least recently.

    Raises:
        ConfigError: no fsspec file system handles the URL.
        StoreUnavailable: the file system does not answer.
    """

    def __init__(self, url: str, cache: LocalStore, cache_bytes: int = 20 * 1024**3) -> None:
        self.url = url
        self._cache = cache
        self._cache_bytes = cache_bytes
        self._cached_since_trim = cache_bytes
        self._suspect: set[Digest] = set()
        self._lock = threading.Lock()
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise ConfigError(f"artifacts cannot be kept at {url!r}: {error}") from error

    def __repr__(self) -> str:
        return f"RemoteStore({self.url!r})"

    def put(self, *parts: Buffer) -> Digest:
        """Store bytes; see ``ports.artifacts.ArtifactStore``."""
        digest = self._cache.put(*parts)
        self._count(sum(memoryview(part).nbytes for part in parts))
        size = len(self._cache.get(digest))
        info = self._info(digest)
        sound = info is not None and info.size == size and digest not in self._suspect
        if not (sound and info is not None and time.time() - info.modified_at < REFRESH_S):
            with self._available(f"write artifact {digest}"):
                self._files.pipe_file(self._path(digest), bytes(self._cache.get(digest)))
            self._suspect.discard(digest)
        return digest

    def get(self, digest: Digest) -> memoryview:
        """The verified bytes; see ``ports.artifacts.ArtifactStore``."""
        self._path(digest)
        try:
            view = self._cache.get(digest)
            self._cache.refresh(digest)
            return view
        except ArtifactMissing:
            pass
        except ArtifactCorrupt:
            self._cache.delete(digest)
        self._download(digest)
        return self._cache.get(digest)

    def _download(self, digest: Digest) -> None:
        if not self.exists(digest):
            raise self._missing(digest)
        try:
            self._cache.write(self._chunks(digest), expected=digest)
        except ArtifactCorrupt as error:
            self._suspect.add(digest)
            raise ArtifactCorrupt(
                f"artifact {digest} is damaged in {self.url}: {error.message}; run the step that made it again"
            ) from error

    def _chunks(self, digest: Digest) -> Iterator[bytes]:
        try:
            with self._available(f"read artifact {digest}"), self._files.open(self._path(digest), "rb") as file:
                while chunk := file.read(_READ_BYTES):
                    self._count(len(chunk))
                    yield chunk
        except FileNotFoundError:
            raise self._missing(digest) from None

    def peek(self, digest: Digest, count: int) -> bytes:
        """The first bytes, not verified; see ``ports.artifacts.ArtifactStore``."""
        try:
            with self._available(f"read artifact {digest}"):
                data: bytes = self._files.cat_file(self._path(digest), start=0, end=count)
                return data
        except FileNotFoundError:
            raise self._missing(digest) from None

    def exists(self, digest: Digest) -> bool:
        """True if the artifact is there (its bytes are not checked)."""
        return self._info(digest) is not None

    def list(self) -> Iterator[ArtifactInfo]:
        """All artifacts, in no order."""
        found: dict[str, dict[str, Any]] = {}
        with self._available("list artifacts"), contextlib.suppress(FileNotFoundError):
            self._files.invalidate_cache()
            found = self._files.find(self._root, detail=True)
        for path, detail in found.items():
            name = path.rpartition("/")[2]
            if _DIGEST.fullmatch(name):
                yield _artifact_info(name, detail)

    def refresh(self, digest: Digest) -> bool:
        """Renew the object's modification time; False if the artifact is not there."""
        info = self._info(digest)
        if info is None:
            return False
        if time.time() - info.modified_at >= REFRESH_S:
            with self._available(f"refresh artifact {digest}"):
                self._files.pipe_file(self._path(digest), bytes(self.get(digest)))
        return True

    def delete(self, digest: Digest, modified_before: float | None = None) -> bool:
        """Remove an artifact; see ``ports.artifacts.ArtifactStore``.

        Object stores cannot check and remove in one step: the grace period of a collection must be far longer than the
        moment between the two.
        """
        info = self._info(digest)
        if info is None or (modified_before is not None and info.modified_at >= modified_before):
            return False
        try:
            with self._available(f"remove artifact {digest}"):
                self._files.rm_file(self._path(digest))
        except FileNotFoundError:
            return False
        self._cache.delete(digest)
        return True

    # ---- inside

    def _path(self, digest: Digest) -> str:
        if not _DIGEST.fullmatch(digest):
            raise ArtifactMissing(f"{digest!r} is not the digest of an artifact")
        return f"{self._root}/{digest[:2]}/{digest[2:4]}/{digest}"

    def _info(self, digest: Digest) -> ArtifactInfo | None:
        path = self._path(digest)
        try:
            with self._available(f"look for artifact {digest}"):
                self._files.invalidate_cache(path.rpartition("/")[0])
                return _artifact_info(digest, self._files.info(path))
        except FileNotFoundError:
            return None

    def _missing(self, digest: Digest) -> ArtifactMissing:
        return ArtifactMissing(f"artifact {digest} is not in {self.url}; it was collected or belongs to another store")

    def _count(self, size: int) -> None:
        """Keep the node's cache within its limit; looked at each time an eighth of it has been added."""
        with self._lock:
            self._cached_since_trim += size
            due = self._cached_since_trim >= self._cache_bytes // 8
            if due:
                self._cached_since_trim = 0
        if due:
            trim(self._cache, self._cache_bytes)

    @contextlib.contextmanager
    def _available(self, action: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StoreUnavailable(f"cannot {action} in {self.url}: {error}; check the store, then resume") from error


def trim(cache: LocalStore, keep_bytes: int) -> int:
    """Remove the least recently used artifacts of a cache until it is small enough; returns the bytes freed."""
    infos = sorted(cache.list(), key=lambda info: info.modified_at)
    excess = sum(info.size for info in infos) - keep_bytes
    freed = 0
    for info in infos:
        if freed >= excess:
            break
        freed += info.size if cache.delete(info.digest) else 0
    return freed


def _artifact_info(digest: Digest, detail: dict[str, Any]) -> ArtifactInfo:
    for key in ("LastModified", "last_modified", "mtime", "modified", "updated", "created"):
        if (when := detail.get(key)) is not None:
            return ArtifactInfo(digest, int(detail["size"]), _timestamp(when))
    raise StoreUnavailable(f"the file system does not say when {digest} was modified; it cannot hold artifacts")


def _timestamp(when: Any) -> float:
    if isinstance(when, str):
        when = datetime.fromisoformat(when)
    if isinstance(when, datetime):
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    return float(when)
