"""Artifacts as objects somewhere else, with a cache on this node.

An object is put if it is absent, so nothing half-written is ever seen and two writers of one digest agree. Reads go
through a ``LocalStore``: an artifact is downloaded and verified once per node, and then mapped like a local one.

Beside the artifacts lie two kinds of empty objects. ``damaged/DIGEST`` says that a reader found wrong bytes, so that
the next writer puts them right. ``doomed/DIGEST`` stands while a collection looks at an object's age and removes it,
which no object store does in one request: whoever renews an old object looks for that mark afterwards, and if there is
one, waits until it has gone and makes sure that the object is still there.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator

from orchestrator.artifacts.local import Buffer, LocalStore
from orchestrator.artifacts.objects import Objects, Stored
from orchestrator.errors import ArtifactCorrupt, ArtifactMissing, StoreUnavailable
from orchestrator.ports.artifacts import ArtifactInfo
from orchestrator.types import Digest

_DIGEST = re.compile(r"[0-9a-f]{64}")
_PLACE = re.compile(r"[0-9a-f]{2}/[0-9a-f]{2}/([0-9a-f]{64})")
_LOOK_FIRST_BYTES = 1024 * 1024
"""From here on it pays to ask whether an object is there before sending it."""
REFRESH_S = 900.0
"""An object found present is written again only if it is older: object stores have no other way to renew its time."""
DOOMED_S = 120.0
"""Age from which a mark belongs to a collection that was killed: one that lives takes a quarter of it at most."""
_LOOK_AGAIN_S = 0.05


class RemoteStore:
    """Content-addressed objects, with a cache of verified artifacts on this node.

    Args:
        objects: Where they are.
        cache: Where downloaded and written artifacts stay on this node.
        cache_bytes: Size at which the cache gives up what was used least recently.
    """

    def __init__(self, objects: Objects, cache: LocalStore, cache_bytes: int = 20 * 1024**3) -> None:
        self.url = objects.url
        self._objects = objects
        self._cache = cache
        self._cache_bytes = cache_bytes
        self._cached_since_trim = cache_bytes
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"RemoteStore({self.url!r})"

    # ---- writing

    def put(self, *parts: Buffer) -> Digest:
        """Store bytes; see ``ports.artifacts.ArtifactStore``."""
        digest = self._cache.put(*parts)
        data = self._cache.get(digest)
        self._count(len(data))
        path = _path(digest)
        found = self._objects.find(path) if len(data) >= _LOOK_FIRST_BYTES else None
        if found is None and self._objects.create(path, data):
            return digest
        found = found or self._objects.find(path)
        if found is None or found.size != len(data) or self._objects.find(_damaged(digest)) is not None:
            self._renew(digest, data)
            self._objects.remove(_damaged(digest))
        elif _is_old(found):
            self._renew(digest, data)
        return digest

    def refresh(self, digest: Digest) -> bool:
        """Renew the object's modification time; False if the artifact is not there."""
        found = self._objects.find(_path(digest))
        if found is None:
            return False
        if _is_old(found):
            self._renew(digest, self.get(digest))
        return True

    def _renew(self, digest: Digest, data: memoryview) -> None:
        """Write an object that may be old, and see to it that no collection removes it after all."""
        path, mark = _path(digest), _doomed(digest)
        self._objects.replace(path, data)
        while True:
            doomed = self._objects.find(mark)
            if doomed is not None and time.time() - doomed.modified_at < DOOMED_S:
                time.sleep(_LOOK_AGAIN_S)
            elif self._objects.find(path) is None:
                self._objects.create(path, data)
            else:
                return  # whoever marks it from now on finds it young

    # ---- reading

    def get(self, digest: Digest) -> memoryview:
        """The verified bytes; see ``ports.artifacts.ArtifactStore``."""
        _path(digest)
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
        try:
            self._cache.write(self._read(digest), expected=digest)
        except ArtifactCorrupt as error:
            self._objects.create(_damaged(digest), b"")
            raise ArtifactCorrupt(
                f"artifact {digest} is damaged in {self.url}: {error.message}; run the step that made it again, "
                f"which replaces {self.url}/{_path(digest)}"
            ) from error

    def _read(self, digest: Digest) -> Iterator[Buffer]:
        path = _path(digest)
        try:
            for data in self._objects.read(path):
                self._count(len(data))
                yield data
        except FileNotFoundError:
            raise self._missing(digest) from None
        except StoreUnavailable as error:
            if self._objects.find(path) is None:
                raise
            raise ArtifactCorrupt(f"the store answers, but cannot read it: {error.message}") from error

    def peek(self, digest: Digest, count: int) -> bytes:
        """The first bytes, not verified; see ``ports.artifacts.ArtifactStore``."""
        path = _path(digest)
        try:
            return self._cache.peek(digest, count)
        except ArtifactMissing:
            pass
        try:
            return self._objects.head(path, count)
        except FileNotFoundError:
            raise self._missing(digest) from None

    def exists(self, digest: Digest) -> bool:
        """True if the artifact is there (its bytes are not checked)."""
        return self._objects.find(_path(digest)) is not None

    def list(self) -> Iterator[ArtifactInfo]:
        """All artifacts, in no order."""
        for path, size, modified_at in self._objects.list():
            if place := _PLACE.fullmatch(path):
                yield ArtifactInfo(place[1], size, modified_at)

    # ---- lifetime

    def delete(self, digest: Digest, modified_before: float | None = None) -> bool:
        """Remove an artifact; see ``ports.artifacts.ArtifactStore``."""
        path, mark = _path(digest), _doomed(digest)
        if not self._objects.create(mark, b""):
            self._lift_abandoned(mark)
            return False  # another collection is at it, or was killed; the next one decides
        marked_at = time.monotonic()
        found = self._objects.find(path)
        if time.monotonic() - marked_at > DOOMED_S / 4:
            return False  # this process was suspended: by now the mark may be that of another collection
        removed = found is not None and (modified_before is None or found.modified_at < modified_before)
        if removed:
            self._objects.remove(path)
        self._objects.remove(mark)
        self._cache.delete(digest)
        return removed

    def _lift_abandoned(self, mark: str) -> None:
        found = self._objects.find(mark)
        if found is not None and time.time() - found.modified_at >= DOOMED_S:
            self._objects.remove(mark)

    # ---- inside

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


def _path(digest: Digest) -> str:
    """The only way from a digest to a path: nothing that is no digest ever becomes one."""
    if not _DIGEST.fullmatch(digest):
        raise ArtifactMissing(f"{digest!r} is not the digest of an artifact")
    return f"{digest[:2]}/{digest[2:4]}/{digest}"


def _damaged(digest: Digest) -> str:
    return f"damaged/{digest}"


def _doomed(digest: Digest) -> str:
    return f"doomed/{digest}"


def _is_old(found: Stored) -> bool:
    return time.time() - found.modified_at >= REFRESH_S
