"""Collection: removing artifacts that nothing in the journal reaches any more.

Marking starts at the digests that facts, chunks, graphs, capsules and unexpired cache entries name, and goes down
through chunks and containers that are artifacts themselves. What is younger than the grace period stays, whoever may be
about to name it: writing an artifact that is there already makes it young again. Before anything is removed the journal
is read a second time, and every removal checks the age once more in the same step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from orchestrator.errors import ArtifactMissing
from orchestrator.ports.artifacts import ArtifactInfo, ArtifactStore
from orchestrator.ports.values import CONTAINERS, Cell, decode_chunk, decode_manifest, entries
from orchestrator.types import Digest

LiveDigests: TypeAlias = Callable[[Callable[[Digest], memoryview]], Iterable[Digest]]
"""Gives the digests that the journal names; it reads graphs through its argument."""

GRACE_S = 24 * 3600.0

_NPY = b"\x93NUMPY"


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection did, or would do.

    Attributes:
        kept: Artifacts that are reached, or younger than the grace period.
        removed: Digests of those that are neither; with ``dry_run`` they are still there.
        freed_bytes: Their size.
    """

    kept: int
    removed: tuple[Digest, ...]
    freed_bytes: int
    dry_run: bool


def collect(
    store: ArtifactStore,
    live_digests: LiveDigests,
    now: float,
    grace_s: float = GRACE_S,
    dry_run: bool = False,
) -> Collected:
    """Remove artifacts that nothing reaches and that are older than the grace period.

    Args:
        store: Where the artifacts are.
        live_digests: Gives the roots; ``Journal.live_digests``. Called twice.
        now: Wall-clock seconds.
        grace_s: Age up to which everything stays. It has to be longer than any run may take between writing or reusing
            an artifact and committing the fact that names it.

    Raises:
        ArtifactCorrupt: a container that is reached cannot be read, so what it reaches is unknown; nothing was removed.
        StoreUnavailable: the store does not answer; what was removed by then stays removed.
    """
    before = now - grace_s
    reached = reach(store, live_digests(store.get))
    everything = list(store.list())
    old = [info for info in everything if info.digest not in reached and info.modified_at < before]
    if old:
        reached = reach(store, live_digests(store.get))
        old = [info for info in old if info.digest not in reached]
    removed = old if dry_run else [info for info in old if store.delete(info.digest, before)]
    return _report(everything, removed, dry_run)


def reach(store: ArtifactStore, roots: Iterable[Digest]) -> set[Digest]:
    """All digests that roots lead to, themselves included."""
    reached: set[Digest] = set()
    open_: list[tuple[Digest, bool]] = []
    for root in roots:
        if root not in reached:
            reached.add(root)
            open_.append((root, _may_name_others(store, root)))
        while open_:
            digest, look = open_.pop()
            for entry in entries(_cells(store, digest)) if look else ():
                if entry.data is None and entry.digest not in reached:
                    reached.add(entry.digest)
                    open_.append((entry.digest, entry.codec in CONTAINERS))
    return reached


def _report(everything: list[ArtifactInfo], removed: list[ArtifactInfo], dry_run: bool) -> Collected:
    return Collected(
        kept=len(everything) - len(removed),
        removed=tuple(info.digest for info in removed),
        freed_bytes=sum(info.size for info in removed),
        dry_run=dry_run,
    )


def _may_name_others(store: ArtifactStore, digest: Digest) -> bool:
    """Whether an artifact of unknown kind could be a chunk or a manifest: both are msgpack arrays.

    A root that is no artifact is an inline chunk; the journal names what is in those by itself.
    """
    try:
        head = store.peek(digest, len(_NPY))
    except ArtifactMissing:
        return False
    return bool(head) and (head[0] & 0xF0 == 0x90 or head[0] in (0xDC, 0xDD)) and head != _NPY


def _cells(store: ArtifactStore, digest: Digest) -> list[Cell]:
    """Cells of a chunk or manifest; none for other bytes that only begin like one."""
    try:
        data = store.get(digest)
    except ArtifactMissing:
        return []
    found: list[Cell] = []
    for decode in (decode_chunk, lambda data: decode_manifest(data).cells):
        try:
            found += decode(data)
        except msgspec.DecodeError:
            continue
    return found
