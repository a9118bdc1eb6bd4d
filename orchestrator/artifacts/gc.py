"""Collection: removing artifacts that nothing in the journal reaches any more.

Marking starts at the digests that facts, chunks, graphs, capsules and unexpired cache entries name, and goes down
through chunks and containers that are artifacts themselves. What is younger than the grace period stays, whoever may be
about to name it: writing or reusing an artifact that is there already makes it young again. The journal is read once
more before each batch of removals, and every removal checks the age again in the same step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import msgspec

from orchestrator.errors import ArtifactMissing
from orchestrator.ports.artifacts import ArtifactInfo, ArtifactStore
from orchestrator.ports.values import CONTAINERS, Cell, decode_chunk, decode_manifest, entries
from orchestrator.types import Digest

LiveDigests: TypeAlias = Callable[[Callable[[Digest], memoryview]], Iterable[Digest]]
"""Gives the digests that the journal names; it reads graphs through its argument."""

GRACE_S = 24 * 3600.0
BATCH = 2000
"""Removals between two looks at the journal."""

_AT_ONCE = 8
_NPY = b"\x93NUMPY"


class Amount(NamedTuple):
    """Some artifacts."""

    number: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection did, or would do.

    Attributes:
        removed: Artifacts that nothing reaches and that are old; with ``dry_run`` they are still there.
        reached: Those that a run or a cache entry needs.
        young: Those that nothing reaches, but that were written or reused within the grace period.
    """

    removed: tuple[ArtifactInfo, ...]
    reached: Amount
    young: Amount
    dry_run: bool

    @property
    def freed_bytes(self) -> int:
        """Size of what was removed."""
        return sum(info.size for info in self.removed)


def collect(
    store: ArtifactStore,
    live_digests: LiveDigests,
    now: float,
    grace_s: float = GRACE_S,
    dry_run: bool = False,
    batch: int = BATCH,
    at_once: int = _AT_ONCE,
) -> Collected:
    """Remove artifacts that nothing reaches and that are older than the grace period.

    Args:
        store: Where the artifacts are.
        live_digests: Gives the roots; ``Journal.live_digests``. Called again before each batch.
        now: Wall-clock seconds.
        grace_s: Age up to which everything stays. It has to be longer than any run may take between writing or reusing
            an artifact and committing the fact that names it.
        batch: Removals between two looks at the journal.
        at_once: Removals at a time.

    Raises:
        ArtifactCorrupt: a container that is reached cannot be read, so what it reaches is unknown; nothing more was
            removed.
        StoreUnavailable: the store does not answer; what was removed by then stays removed.
    """
    before = now - grace_s
    reached = reach(store, live_digests(store.get))
    everything = list(store.list())
    old = [info for info in everything if info.digest not in reached and info.modified_at < before]
    removed: list[ArtifactInfo] = []
    with ThreadPoolExecutor(at_once) as pool:
        for some in [] if dry_run else _batches(old, batch):
            reached |= reach(store, live_digests(store.get))
            unreached = [info for info in some if info.digest not in reached]
            gone = pool.map(lambda info: store.delete(info.digest, before), unreached)
            removed += [info for info, went in zip(unreached, gone, strict=True) if went]
    return _report(everything, reached, old if dry_run else removed, dry_run)


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


def _batches(infos: list[ArtifactInfo], count: int) -> Iterator[list[ArtifactInfo]]:
    return (infos[start : start + count] for start in range(0, len(infos), count))


def _report(
    everything: list[ArtifactInfo], reached: set[Digest], removed: list[ArtifactInfo], dry_run: bool
) -> Collected:
    gone = {info.digest for info in removed}
    kept = [info for info in everything if info.digest not in gone]
    return Collected(
        removed=tuple(removed),
        reached=_amount(info for info in kept if info.digest in reached),
        young=_amount(info for info in kept if info.digest not in reached),
        dry_run=dry_run,
    )


def _amount(infos: Iterable[ArtifactInfo]) -> Amount:
    sizes = [info.size for info in infos]
    return Amount(len(sizes), sum(sizes))


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
