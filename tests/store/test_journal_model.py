"""Any sequence of calls leaves the journal as a plain model of dicts and lists says."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from orchestrator.errors import NotFound, RunOwned, StaleEpoch
from orchestrator.graph.fact import FINISHED, Fact, MapExpanded, Recorded, RunFinished
from orchestrator.ports.journal import CacheEntry, Journal, Ownership, RunRow, Snapshot
from tests.store.backend import BACKENDS, Backend, a_chunk, append, make_backend, row

RUNS = st.sampled_from(["a", "ab", "b"])
KEYS = st.sampled_from(["k1", "k2", "k3"])
FACTS = st.lists(st.builds(MapExpanded, st.sampled_from("xyz"), st.integers(0, 9)), max_size=4)
TIMES = st.integers(0, 9).map(float)
OFF_BY = st.sampled_from([0, 0, 0, 0, -1, 1])
CHUNKS = [a_chunk(number) for number in range(3)]


class ModelRun:
    """What a run should be."""

    def __init__(self, stored: RunRow) -> None:
        self.row = stored
        self.facts: list[Recorded] = []
        self.chunks: dict[str, bytes] = {}
        self.posted: set[str] = set()
        self.waiting: list[tuple[str, dict[str, Any], float]] = []
        self.snapshot: Snapshot | None = None
        self.ownership: Ownership | None = None

    def record(self, at: float, facts: list[Fact]) -> None:
        first = len(self.facts) + 1
        self.facts += [Recorded(seq, at, fact) for seq, fact in enumerate(facts, first)]
        self.row = replace(self.row, seq=len(self.facts))


class JournalModel(RuleBasedStateMachine):
    make: Callable[[Path], Backend]

    def __init__(self) -> None:
        super().__init__()
        self.runs: dict[str, ModelRun] = {}
        self.cache: dict[str, tuple[float, CacheEntry]] = {}

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.backend = self.make(self.folder)
        self.journal: Journal = self.backend.open()

    def teardown(self) -> None:
        self.backend.close()
        shutil.rmtree(self.folder)

    @rule(run=RUNS, facts=FACTS, at=TIMES, pipeline=st.sampled_from("pq"), chunks=st.sets(st.sampled_from(CHUNKS)))
    def create(self, run: str, facts: list[Fact], at: float, pipeline: str, chunks: set[tuple[str, bytes]]) -> None:
        stored = row(run, created_at=at, pipeline=pipeline, tags={"of": run})
        if run in self.runs:
            with pytest.raises(ValueError, match="already"):
                self.journal.create(stored, facts, dict(chunks))
            return
        self.journal.create(stored, facts, dict(chunks))
        self.runs[run] = ModelRun(stored)
        self.runs[run].record(at, facts)
        self.runs[run].chunks.update(chunks)

    @rule(run=RUNS)
    def own(self, run: str) -> None:
        model = self.runs.get(run)
        if model is None:
            with pytest.raises(NotFound):
                self.journal.own(run, "me")
        elif model.ownership is not None:
            with pytest.raises(RunOwned):
                self.journal.own(run, "me")
        else:
            model.ownership = self.journal.own(run, "me")
            model.row = replace(model.row, epoch=model.row.epoch + 1, driver="me")
            assert model.ownership.epoch == model.row.epoch

    @rule(run=RUNS)
    def release(self, run: str) -> None:
        model = self.runs.get(run)
        if model is not None and model.ownership is not None:
            model.ownership.release()
            model.ownership = None

    @precondition(lambda self: self.runs)
    @rule(
        run=RUNS,
        facts=FACTS,
        at=TIMES,
        end=st.sampled_from([None, None, None, *sorted(FINISHED)]),
        state=st.sampled_from([None, "running", "waiting"]),
        taken=st.sets(KEYS),
        chunks=st.sets(st.sampled_from(CHUNKS)),
        entries=st.dictionaries(KEYS, st.tuples(TIMES, st.sampled_from("st"))),
        epoch_off=OFF_BY,
        seq_off=OFF_BY,
    )
    def append(
        self,
        run: str,
        facts: list[Fact],
        at: float,
        end: Any,
        state: Any,
        taken: set[str],
        chunks: set[tuple[str, bytes]],
        entries: dict[str, tuple[float, str]],
        epoch_off: int,
        seq_off: int,
    ) -> None:
        model = self.runs.get(run)
        known = model.row if model else row(run)
        if end is not None:
            facts, state = [*facts, RunFinished(end)], end
        cache = {
            key: CacheEntry(run, CHUNKS[0][0], 0, ends, {"stage": stage}) for key, (ends, stage) in entries.items()
        }
        more = {"taken": sorted(taken), "chunks": dict(chunks), "cache": cache, "state": state}
        new = append(known.epoch + epoch_off, known.seq + seq_off, facts, run=run, at=at, **more)
        if model is None or epoch_off or seq_off or known.state in FINISHED:
            with pytest.raises(NotFound if model is None else StaleEpoch):
                self.journal.append(new)
            return
        assert self.journal.append(new) == known.seq + len(facts)
        model.record(at, facts)
        model.chunks.update(chunks)
        model.waiting = [request for request in model.waiting if request[0] not in taken]
        model.row = replace(model.row, state=state or known.state, finished_at=at if end else None)
        self.cache.update({key: (at, entry) for key, entry in cache.items()})

    @rule(run=RUNS, key=KEYS, body=st.dictionaries(st.text(max_size=3), st.integers(0, 9)), at=TIMES)
    def post(self, run: str, key: str, body: dict[str, Any], at: float) -> None:
        model = self.runs.get(run)
        if model is None:
            with pytest.raises(NotFound):
                self.journal.post(run, key, body, at)
            return
        assert self.journal.post(run, key, body, at) == (key not in model.posted)
        if key not in model.posted:
            model.posted.add(key)
            model.waiting.append((key, body, at))

    @rule(run=RUNS, seq=st.integers(0, 6), body=st.binary(max_size=3))
    def save_snapshot(self, run: str, seq: int, body: bytes) -> None:
        model = self.runs.get(run)
        saved = Snapshot(seq, body)
        if model is None or seq > model.row.seq:
            with pytest.raises(NotFound if model is None else ValueError, match=r"ahead|no run"):
                self.journal.save_snapshot(run, saved)
            return
        self.journal.save_snapshot(run, saved)
        if model.snapshot is None or seq >= model.snapshot.seq:
            model.snapshot = saved

    @rule()
    def reopen(self) -> None:
        self.journal.close()
        for model in self.runs.values():
            model.ownership = None
        self.journal = self.backend.open()

    @rule(now=TIMES, stage=st.sampled_from("stu"))
    def ask_cache(self, now: float, stage: str) -> None:
        valid = {key: entry for key, (_, entry) in self.cache.items() if entry.expires_at > now}
        assert self.journal.cached(["k1", "k2", "k3", "k4"], now) == valid
        of_stage = [
            (at, key) for key, (at, entry) in self.cache.items() if key in valid and entry.parts["stage"] == stage
        ]
        nearest = valid[max(of_stage)[1]] if of_stage else None
        assert self.journal.nearest_cached(stage, now) == nearest

    @rule(before=st.none() | TIMES, pipeline=st.none() | st.sampled_from("pq"), limit=st.integers(0, 3))
    def list_runs(self, before: float | None, pipeline: str | None, limit: int) -> None:
        matching = [
            model.row
            for model in self.runs.values()
            if (before is None or model.row.created_at < before) and pipeline in (None, model.row.pipeline)
        ]
        matching.sort(key=lambda stored: (stored.created_at, stored.id), reverse=True)
        assert self.journal.runs(pipeline, limit=limit, before=before) == matching[:limit]

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        for run, model in self.runs.items():
            assert self.journal.run(run) == model.row
            assert list(self.journal.facts(run)) == model.facts
            assert list(self.journal.facts(run, after=2)) == model.facts[2:]
            assert self.journal.inbox(run) == model.waiting
            assert self.journal.snapshot(run) == model.snapshot
            assert self.journal.owner(run) == ("me" if model.ownership else None)
            for digest, _ in CHUNKS:
                assert self.journal.chunk(run, digest) == model.chunks.get(digest)


@pytest.mark.parametrize("name", BACKENDS)
def test_the_journal_behaves_like_its_model(name: str, request: pytest.FixtureRequest) -> None:
    make = staticmethod(lambda folder: make_backend(request, name, folder))
    machine = type("Model", (JournalModel,), {"make": make})
    limits = settings(
        # Many on the one, where they cost little; what differs on the other is transactions, not the order of calls.
        max_examples=30 if name == "sqlite" else 6,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    run_state_machine_as_test(machine, settings=limits)
