"""What collection starts from: every digest that the journal names, also in the chunks and graphs it names.

A chunk or container that is an artifact is named here and followed by the collector, which reads artifacts. A graph
is followed here, because only its facts tell that an artifact is one.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeAlias

import msgspec
from sqlalchemy import bindparam, or_, select

from orchestrator.errors import ArtifactMissing, JournalCorrupt, UserError
from orchestrator.graph.fact import (
    BatchesProduced,
    ChecksReported,
    CodeChanged,
    Fact,
    NodeAdded,
    NodesCompleted,
    RunCreated,
    StepsCompleted,
    TableProfiled,
)
from orchestrator.graph.json import graph_from_json, node_from_json
from orchestrator.graph.node import Const, DictExpr, Expr, ListExpr, Node
from orchestrator.ports.values import Cell, decode_cell, decode_chunk, digest_bytes, entries
from orchestrator.store.codec import decode_fact
from orchestrator.store.database import Database
from orchestrator.store.registry import cells_of_versions
from orchestrator.store.runs import batches
from orchestrator.store.schema import cache, chunk, fact
from orchestrator.types import Digest

Load: TypeAlias = Callable[[Digest], bytes | memoryview]
"""Reads an artifact."""

_PER_READ = 256
"""Facts at a time: with each of their chunks inline, some 16 MB."""

_NAMING = (
    RunCreated, CodeChanged, NodeAdded, StepsCompleted, NodesCompleted, BatchesProduced, ChecksReported, TableProfiled,
)  # fmt: skip
_FACTS = (
    select(fact)
    .where(
        fact.c.kind.in_([kind.__name__ for kind in _NAMING]),
        or_(fact.c.run > bindparam("run"), (fact.c.run == bindparam("run")) & (fact.c.seq > bindparam("seq"))),
    )
    .order_by(fact.c.run, fact.c.seq)
    .limit(_PER_READ)
)
_REUSABLE = (
    select(cache.c.key, cache.c.run, cache.c.chunk)
    .where(cache.c.key > bindparam("key"), cache.c.expires_at > bindparam("now"))
    .order_by(cache.c.key)
    .limit(_PER_READ)
)

_UNREADABLE = (msgspec.DecodeError, UserError, ValueError, KeyError, TypeError, AttributeError)
"""What the decoders of chunks and graphs raise on bytes that are something else."""


def live_digests(database: Database, now: float, load: Load, without: Collection[str] = ()) -> Iterator[Digest]:
    """Digests in no order, some more than once; see ``SqlJournal.live_digests``."""
    for run, facts in _facts(database):
        if run in without:
            continue
        chunks: set[Digest] = set()
        for seq, named in facts:
            match named:
                case StepsCompleted(chunk=digest) | NodesCompleted(chunk=digest) | BatchesProduced(chunk=digest):
                    chunks.add(digest)
                case ChecksReported(chunk=digest) | TableProfiled(chunk=digest) if digest:
                    chunks.add(digest)
                case NodeAdded(node=document):
                    yield from _in_added(run, seq, document)
                case RunCreated() | CodeChanged():
                    yield from (named.graph, named.capsule)
                    yield from _in_graph(database, run, named.graph, load)
        yield from _in_chunks(database, run, chunks)
    for run, chunks in _reusable(database, now):
        yield from _in_chunks(database, run, chunks)
    for address, cell in cells_of_versions(database):
        if address not in without:
            try:
                yield from _in_cells([decode_cell(cell)])
            except _UNREADABLE as error:
                raise JournalCorrupt(f"version {address} cannot be read: {error}", version=address) from error


def _facts(database: Database) -> Iterator[tuple[str, list[tuple[int, Fact]]]]:
    """Facts that name digests, a page at a time, by run."""
    run, seq = "", 0
    while True:
        with database.read() as connection:
            rows = connection.execute(_FACTS, {"run": run, "seq": seq}).all()
        if not rows:
            return
        found: dict[str, list[tuple[int, Fact]]] = defaultdict(list)
        for row in rows:
            found[row.run].append((row.seq, decode_fact(row.run, row.seq, row.kind, row.body)))
        yield from found.items()
        run, seq = rows[-1].run, rows[-1].seq


def _reusable(database: Database, now: float) -> Iterator[tuple[str, set[Digest]]]:
    """Chunks of unexpired cache entries, a page at a time, by run."""
    key = ""
    while True:
        with database.read() as connection:
            rows = connection.execute(_REUSABLE, {"key": key, "now": now}).all()
        if not rows:
            return
        found: dict[str, set[Digest]] = defaultdict(set)
        for row in rows:
            found[row.run].add(row.chunk)
        yield from found.items()
        key = rows[-1].key


def _in_chunks(database: Database, run: str, chunks: set[Digest]) -> Iterator[Digest]:
    """Chunks themselves, and what those of them that are inline name."""
    yield from chunks
    for digest, data in _inline(database, run, chunks).items():
        try:
            yield from _in_cells(decode_chunk(data))
        except _UNREADABLE as error:
            raise JournalCorrupt(f"run {run}: chunk {digest} cannot be read: {error}", run=run) from error


def _in_graph(database: Database, run: str, digest: Digest, load: Load) -> Iterator[Digest]:
    """What the constants of a graph name; nothing if the graph is lost, which whoever resumes the run is told."""
    data: bytes | memoryview | None = _inline(database, run, {digest}).get(digest)
    try:
        graph = graph_from_json(json.loads(bytes(load(digest) if data is None else data)))
        for node in graph.nodes:
            yield from _in_node(node)
        for expr in (graph.output, *graph.params.values()):
            yield from _in_expr(expr)
    except ArtifactMissing:
        return
    except _UNREADABLE as error:
        raise JournalCorrupt(f"run {run}: its graph {digest} cannot be read: {error}", run=run) from error


def _inline(database: Database, run: str, digests: set[Digest]) -> dict[Digest, bytes]:
    """Those of a run's digests that are chunks in the journal, verified."""
    found = {}
    with database.read() as connection:
        for some in batches(digests):
            query = select(chunk.c.digest, chunk.c.data).where(chunk.c.run == run, chunk.c.digest.in_(some))
            found.update({row.digest: row.data for row in connection.execute(query)})
    for digest, data in found.items():
        if digest_bytes(data) != digest:
            raise JournalCorrupt(f"run {run}: chunk {digest} is damaged; restore the journal from a backup", run=run)
    return found


def _in_added(run: str, seq: int, document: Mapping[str, Any]) -> Iterator[Digest]:
    try:
        yield from _in_node(node_from_json(document))
    except _UNREADABLE as error:
        raise JournalCorrupt(f"run {run}: the node of fact {seq} cannot be read: {error}", run=run, seq=seq) from error


def _in_node(node: Node) -> Iterator[Digest]:
    for expr in node.args.values():
        yield from _in_expr(expr)
    for const in (node.fallback, node.checks):
        if const is not None:
            yield from _in_expr(const)


def _in_expr(expr: Expr) -> Iterator[Digest]:
    match expr:
        case Const(cell=bytes(cell)):
            yield from _in_cells([decode_cell(cell)])
        case ListExpr(items=items):
            for item in items:
                yield from _in_expr(item)
        case DictExpr(items=named):
            for item in named.values():
                yield from _in_expr(item)


def _in_cells(cells: list[Cell]) -> Iterator[Digest]:
    return (entry.digest for entry in entries(cells) if entry.data is None)
