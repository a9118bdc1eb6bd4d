"""Port of the artifact store: immutable bytes under their digest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from orchestrator.types import Digest


class ArtifactInfo(NamedTuple):
    """One stored artifact; ``modified_at`` in wall-clock seconds, refreshed when it is written again."""

    digest: Digest
    size: int
    modified_at: float


class ArtifactStore(Protocol):
    """Content-addressed bytes. Writing is atomic: a reader sees all of an artifact or none."""

    def put(self, *parts: bytes | bytearray | memoryview) -> Digest:
        """Store bytes (the parts one after the other) durably and return their digest.

        Durable means fsynced, or acknowledged by the object store.

        Writing what is there already refreshes its modification time, so that collection spares it.

        Raises:
            StoreUnavailable: the disk is full or the store does not answer; nothing half-written is left.
        """
        ...

    def get(self, digest: Digest) -> memoryview:
        """The bytes, verified; a memory map where the store is a local directory.

        Raises:
            ArtifactMissing: there is no such artifact.
            ArtifactCorrupt: its bytes have another digest.
        """
        ...

    def exists(self, digest: Digest) -> bool:
        """True if the artifact is there (its bytes are not checked)."""
        ...

    def peek(self, digest: Digest, count: int) -> bytes:
        """The first ``count`` bytes, not verified; to tell what an artifact is without reading it.

        Raises:
            ArtifactMissing: there is no such artifact.
        """
        ...

    def refresh(self, digest: Digest) -> bool:
        """Set the modification time to now, because the artifact is used again; False if it is not there."""
        ...

    def delete(self, digest: Digest, modified_before: float | None = None) -> bool:
        """Remove an artifact; False if it is not there, or was modified since (no error).

        With ``modified_before`` (wall-clock seconds) the check and the removal are one step: a ``put`` or ``refresh``
        at the same moment either happens first and saves the artifact, or finds it gone and writes it again.
        """
        ...

    def list(self) -> Iterator[ArtifactInfo]:
        """All artifacts, in no order."""
        ...
