"""Collection: removes what nothing reaches, and nothing else, also while runs write and start."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from orchestrator.artifacts import Collected, LocalStore, StoredValues, collect
from orchestrator.artifacts.gc import Amount
from orchestrator.errors import ArtifactCorrupt
from orchestrator.ports.artifacts import ArtifactStore
from orchestrator.ports.values import INLINE_BYTES, Entry, decode_cell, encode_chunk
from orchestrator.types import Digest
from tests.artifacts import samples
from tests.artifacts.test_local_store import file_of, flip_byte

DAY_S = 86_400.0
LONG = "x" * (INLINE_BYTES + 1)


def long(salt: int) -> str:
    return f"{salt}" + LONG


def naming(*digests: Digest) -> Callable[[Any], Iterable[Digest]]:
    return lambda load: iter(digests)


def digests_in(store: ArtifactStore) -> set[Digest]:
    return {info.digest for info in store.list()}


def later(store: ArtifactStore, *roots: Digest, **options: Any) -> Collected:
    """Collect when everything is older than the grace period."""
    return collect(store, naming(*roots), time.time() + 2 * DAY_S, **options)


def test_what_nothing_names_goes_after_the_grace_period(store: ArtifactStore) -> None:
    kept, gone = store.put(b"named"), store.put(b"nameless")
    collected = collect(store, naming(kept), time.time() + DAY_S / 2)
    assert collected == Collected((), reached=Amount(1, 5), young=Amount(1, 8), dry_run=False)
    collected = later(store, kept)
    assert ([info.digest for info in collected.removed], collected.freed_bytes) == ([gone], 8)
    assert (collected.reached, collected.young) == (Amount(1, 5), Amount())
    assert digests_in(store) == {kept}


def test_a_dry_run_says_the_same_and_removes_nothing(store: ArtifactStore) -> None:
    gone = store.put(b"nameless")
    collected = later(store, dry_run=True)
    assert ([info.digest for info in collected.removed], collected.freed_bytes, collected.dry_run) == ([gone], 8, True)
    assert digests_in(store) == {gone}


def test_children_of_containers_are_reached_through_every_level(values: StoredValues, local: LocalStore) -> None:
    deep = {"a": [samples.Plain((long(1), [long(2), {"b": long(3)}])), *range(200)]}
    wide = [(long(4), i) for i in range(1000)]
    inline_in_chunk = decode_cell(values.encode(samples.Slotted(long(5))))
    stored = local.put(encode_chunk([values.encode(deep), values.encode(wide), values.encode(7)]))
    assert isinstance(inline_in_chunk, Entry)
    assert inline_in_chunk.data is not None
    chunk = local.put(encode_chunk([values.encode(samples.Slotted(long(5)))]))
    everything = digests_in(local)
    assert len(everything) == 8
    local.put(b"nameless")
    later(local, stored, chunk)
    assert digests_in(local) == everything
    later(local, stored)
    later(local, stored)
    assert len(everything - digests_in(local)) == 2


def test_roots_may_be_of_any_kind(values: StoredValues, local: LocalStore) -> None:
    import numpy as np

    roots = [
        local.put(b"PK\3\4 a capsule"),
        local.put(b'{"a": "graph"}'),
        local.put(b""),
        local.put(b"\x93 begins like an array"),
        local.put(b"\xdd\xff\xff\xff\xff"),
        decode_cell(values.encode(np.zeros(20_000))).digest,  # type: ignore[union-attr]
        decode_cell(values.encode([[1.5, "x"]] * 20_000)).digest,  # type: ignore[union-attr]
        "0" * 64,
    ]
    later(local, *roots)
    assert digests_in(local) == set(roots[:-1])


def test_opaque_roots_are_not_read_whole(values: StoredValues, local: LocalStore) -> None:
    import numpy as np

    digest = decode_cell(values.encode(np.zeros(20_000))).digest  # type: ignore[union-attr]
    flip_byte(file_of(local, digest), 50_000)
    later(local, digest)
    assert digests_in(local) == {digest}


def test_nothing_goes_while_a_container_cannot_be_read(values: StoredValues, local: LocalStore) -> None:
    root = decode_cell(values.encode([(long(i),) for i in range(220)]))
    assert isinstance(root, Entry)
    before = digests_in(local)
    flip_byte(file_of(local, root.digest), 500)
    with pytest.raises(ArtifactCorrupt, match=root.digest):
        later(local, root.digest)
    assert digests_in(local) == before


def test_what_a_run_names_meanwhile_stays(store: ArtifactStore) -> None:
    """A run that starts between marking and sweeping reuses an old artifact: the second look at the journal sees it."""
    old = store.put(b"old")
    looks: list[list[Digest]] = [[], [old]]
    collected = collect(store, lambda load: iter(looks.pop(0)), time.time() + 2 * DAY_S)
    assert collected.removed == ()
    assert digests_in(store) == {old}


@pytest.mark.parametrize("way", ["put", "refresh"])
def test_what_is_written_or_reused_meanwhile_stays(local: LocalStore, way: str) -> None:
    """Even after the second look at the journal: writing or refreshing makes the artifact young."""
    data = b"old but wanted again"
    digest = local.put(data)
    os.utime(file_of(local, digest), (1, 1))

    def roots(load: Any) -> Iterator[Digest]:
        looks.append(1)
        if len(looks) == 2:
            local.put(data) if way == "put" else local.refresh(digest)
        return iter(())

    looks: list[int] = []
    collected = collect(local, roots, time.time())
    assert len(looks) == 2
    assert collected == Collected((), reached=Amount(), young=Amount(1, len(data)), dry_run=False)
    assert bytes(local.get(digest)) == data


def test_an_empty_store_is_collected_too(store: ArtifactStore) -> None:
    assert later(store) == Collected((), reached=Amount(), young=Amount(), dry_run=False)


def test_the_journal_is_read_before_each_batch(store: ArtifactStore) -> None:
    """What is named while the first batch goes is spared by the second."""
    old = sorted(store.put(bytes([i])) for i in range(4))
    looks: list[set[Digest]] = []

    def roots(load: Any) -> Iterator[Digest]:
        looks.append(digests_in(store))
        return iter(looks[-1] if len(looks) == 3 else ())

    collected = collect(store, roots, time.time() + 2 * DAY_S, batch=2)
    assert [len(seen) for seen in looks] == [4, 4, 2]
    assert len(collected.removed) == 2
    assert digests_in(store) == looks[-1] < set(old)
