"""Nothing that a run still needs is left out of what collection starts from."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from orchestrator.errors import ArtifactMissing, JournalCorrupt
from orchestrator.graph.fact import BatchesProduced, NodeAdded, RunCreated
from orchestrator.graph.json import graph_to_json, node_to_json
from orchestrator.graph.node import Const, DictExpr, Graph, ListExpr, Node
from orchestrator.ports.journal import CacheEntry
from orchestrator.ports.values import Entry, digest_bytes, encode_cell, encode_chunk, encode_manifest
from orchestrator.store import SqlJournal
from tests.store.backend import Backend, append, completed, row


def artifact(name: str, codec: str = "pickle") -> Entry:
    """An entry whose bytes are an artifact."""
    return Entry(codec, "x:Y", 1, digest_bytes(name.encode()), None, None, name)


def container(*cells: Entry | int) -> Entry:
    """An inline list."""
    data = encode_manifest(None, list(cells))
    return Entry("list", "builtins:list", len(data), digest_bytes(data), True, len(cells), "", data)


def chunk(*cells: Entry | int) -> tuple[str, bytes]:
    data = encode_chunk([encode_cell(cell) for cell in cells])
    return digest_bytes(data), data


def load(*known: bytes) -> Callable[[str], bytes]:
    by_digest = {digest_bytes(data): data for data in known}

    def get(digest: str) -> bytes:
        if digest not in by_digest:
            raise ArtifactMissing(digest)
        return by_digest[digest]

    return get


def named(*names: str) -> set[str]:
    return {digest_bytes(name.encode()) for name in names}


def graph_bytes(*nodes: Node, output: Const | None = None, params: dict[str, Const] | None = None) -> bytes:
    return json.dumps(graph_to_json(Graph("p", nodes, output or Const(1), params or {}))).encode()


def sealed(name: str) -> Const:
    return Const(cell=encode_cell(container(3, artifact(name))))


def test_everything_that_chunks_name_inside_out(journal: SqlJournal) -> None:
    digest, data = chunk(1, artifact("plain"), container(2, artifact("inner"), container(artifact("inmost", "list"))))
    away = "a" * 64
    journal.create(row(), [completed(digest), completed(away), BatchesProduced("s", 0, 1, "b" * 64)], {digest: data})
    expected = {digest, away, "b" * 64, *named("plain", "inner", "inmost")}
    assert set(journal.live_digests(load())) == expected


@pytest.mark.parametrize("inline", [True, False])
def test_constants_of_the_graph_and_the_capsule(journal: SqlJournal, inline: bool) -> None:
    nodes = [
        Node("a", "pack", args={"value": ListExpr((sealed("in a list"), DictExpr({"cell": sealed("in a dict")})))}),
        Node("b", "pack", args={"cell": sealed("argument")}, fallback=sealed("fallback")),
    ]
    data = graph_bytes(*nodes, output=sealed("output"), params={"x": sealed("parameter")})
    digest = digest_bytes(data)
    created = RunCreated("p", digest, "c" * 64, {})
    journal.create(row(), [created], {digest: data} if inline else {})
    found = set(journal.live_digests(load() if inline else load(data)))
    names = named("in a list", "in a dict", "argument", "fallback", "output", "parameter")
    assert found == {digest, "c" * 64, *names}


def test_a_lost_graph_takes_nothing_else_with_it(journal: SqlJournal) -> None:
    journal.create(row(), [RunCreated("p", "a" * 64, "b" * 64, {}), completed("c" * 64)], {})
    assert set(journal.live_digests(load())) == {"a" * 64, "b" * 64, "c" * 64}


def test_arguments_of_dynamic_calls(journal: SqlJournal) -> None:
    node = node_to_json(Node("d/f", "pack", args={"value": sealed("argument")}))
    journal.create(row(), [NodeAdded("d", 0, 0, "key", node)], {})
    assert set(journal.live_digests(load())) == named("argument")


def test_cache_entries_until_they_expire(journal: SqlJournal) -> None:
    digest, data = chunk(artifact("cached"))
    journal.create(row(), [], {digest: data})
    entries = {"ever": CacheEntry("r1", digest, 0, float("inf")), "old": CacheEntry("r1", "e" * 64, 0, 5.0)}
    journal.append(append(0, 0, cache=entries))
    assert set(journal.live_digests(load())) == {digest, *named("cached")}


def test_many_runs_and_pages(journal: SqlJournal) -> None:
    expected = set()
    for number in range(3):
        run = f"r{number}"
        chunks = dict(chunk(number * 1000 + index, artifact(f"{number} {index}")) for index in range(400))
        journal.create(row(run), [completed(digest) for digest in chunks], chunks)
        expected |= {*chunks, *named(*(f"{number} {index}" for index in range(400)))}
    assert set(journal.live_digests(load())) == expected


def test_damage_stops_a_collection(backend: Backend, journal: SqlJournal) -> None:
    digest, data = chunk(artifact("x"))
    journal.create(row(), [completed(digest)], {digest: data})
    backend.harm("UPDATE chunk SET data = ?", data[:-1])
    with pytest.raises(JournalCorrupt, match=f"run r1: chunk {digest}"):
        list(journal.live_digests(load()))


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"format": 1, "nodes": 3}', b"\xff", b'{"format": 99}'])
def test_an_unreadable_graph_stops_a_collection(journal: SqlJournal, data: bytes) -> None:
    journal.create(row(), [RunCreated("p", digest_bytes(data), "b" * 64, {})], {})
    with pytest.raises(JournalCorrupt, match="run r1: its graph"):
        list(journal.live_digests(load(data)))


def test_an_unreadable_chunk_stops_a_collection(journal: SqlJournal) -> None:
    digest = digest_bytes(b"junk")
    journal.create(row("r1"), [completed(digest)], {digest: b"junk"})
    with pytest.raises(JournalCorrupt, match=f"run r1: chunk {digest}"):
        list(journal.live_digests(load()))


def test_an_unreadable_dynamic_call_stops_a_collection(journal: SqlJournal) -> None:
    journal.create(row("r1"), [NodeAdded("d", 0, 0, "key", {"id": 1})], {})
    with pytest.raises(JournalCorrupt, match="run r1: the node of fact 1"):
        list(journal.live_digests(load()))
