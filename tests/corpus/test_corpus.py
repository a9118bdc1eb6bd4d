"""What older releases wrote is read by this one, and comes to the same state."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import pytest

from orchestrator.engine.snapshot import decode_snapshot, encode_snapshot
from orchestrator.graph.fact import Fact
from orchestrator.graph.json import FORMAT, StoredNodes, graph_from_json, graph_to_json
from orchestrator.store import open_journal
from orchestrator.store.schema import HEAD
from tests.corpus.record import DIGESTS, HERE, Kept, digests, kept_runs, read_run, replay, state_of

DATABASES = sorted(HERE.glob("[0-9]*/journal.sql"))


def named(path: Path) -> str:
    return str(path.relative_to(HERE))


def missing(kept: Any, now: Any, place: str = "state") -> list[str]:
    """Where the state of now lacks or contradicts the kept one; what was added since is right."""
    if isinstance(kept, dict) and isinstance(now, dict):
        return [
            problem for key in kept
            for problem in ([f"{place}.{key} is gone"] if key not in now
                            else missing(kept[key], now[key], f"{place}.{key}"))
        ]  # fmt: skip
    return [] if kept == now else [f"{place}: {kept!r} is {now!r} now"]


@pytest.mark.parametrize("path", kept_runs(), ids=named)
def test_a_kept_run_comes_to_the_state_that_its_release_saw(path: Path) -> None:
    kept = read_run(path)
    fold = replay(kept)
    assert missing(kept.state, state_of(fold)) == []
    assert state_of(decode_snapshot(encode_snapshot(fold), graph_from_json(kept.graph))) == state_of(fold)


def test_a_contradiction_would_be_noticed() -> None:
    kept = read_run(kept_runs()[0])
    shorter = Kept(kept.run, kept.graph, kept.facts[:-1], kept.state)
    assert any("finished" in problem for problem in missing(kept.state, state_of(replay(shorter))))


def test_the_newest_generation_has_facts_of_every_kind() -> None:
    newest = max(path.parent.name for path in kept_runs())
    runs = [read_run(path) for path in kept_runs() if path.parent.name == newest]
    seen = {type(recorded.fact) for kept in runs for recorded in kept.facts}
    absent = sorted(kind.__name__ for kind in set(get_args(Fact)) - seen)
    assert absent == [], "write a new generation: python -m tests.corpus.write"


def test_nothing_of_the_corpus_was_rewritten() -> None:
    recorded = {file: digest for digest, file in (line.split() for line in DIGESTS.read_text().splitlines())}
    assert digests() == recorded


@pytest.mark.parametrize("path", DATABASES, ids=named)
def test_a_kept_database_is_upgraded_and_replays(path: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "journal.db")) as database:
        database.executescript(path.read_text())
    states = {kept.run: kept for kept in map(read_run, path.parent.glob("*.jsonl"))}
    journal = open_journal(f"sqlite:///{tmp_path / 'journal.db'}")
    rows = journal.runs()
    assert len(rows) >= 2
    for row in rows:
        kept = states[row.id]
        fold = replay(kept._replace(facts=list(journal.facts(row.id))))
        assert missing(kept.state, state_of(fold)) == []
        assert row.state == (fold.finished.state if fold.finished else "waiting")
    ownership = journal.own(rows[0].id, "this release")
    assert ownership.epoch == rows[0].epoch + 1
    ownership.release()
    journal.close()
    with closing(sqlite3.connect(tmp_path / "journal.db")) as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]


def test_a_graph_of_format_1_is_read_by_driver_and_workers() -> None:
    document = json.loads((HERE / "graph-format-1.json").read_text())
    assert document["format"] == 1 != FORMAT
    graph = graph_from_json(document)
    assert [node.id for node in graph.nodes] == [node["id"] for node in document["nodes"]]
    assert graph_from_json(json.loads(json.dumps(graph_to_json(graph)))) == graph
    stored = StoredNodes(document)
    assert [stored.node(name) for name in stored.ids] == list(graph.nodes)
