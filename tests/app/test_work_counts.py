"""What a step costs, in work instead of time: a slow-down shows here on however noisy a machine.

The bounds are two to four times what a run takes now; what the clock adds (outcomes leave a worker at least every
20 ms, bundles grow with the pace) stays within that even on a machine that is ten times slower. Who makes the engine
do more for each step on purpose runs ``pytest -s`` on this file, which prints the counts, and moves the bound of that
graph together with a line in the change that says what the work buys. A bound may always be moved down.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from benchmarks import pipelines as graphs
from benchmarks.small_steps import layers_sum, successors_sum
from orchestrator.app.installation import Installation
from orchestrator.backends.cluster import Cluster
from orchestrator.graph.pipeline import Pipeline
from tests.app.marked_commits import BEGUN, DURABLE
from tests.app.test_killed import ROOT, environment
from tests.app.work import Accountant, Work

SALT = 2**59 + 12345


class Most(NamedTuple):
    """Upper bounds of one graph, each as a count per step of the graph."""

    facts: float
    transactions: float
    bundles: float
    to_workers: float
    from_workers: float


class Case(NamedTuple):
    """A graph, what it comes to and what it may cost."""

    graph: Pipeline[..., Any]
    params: dict[str, int]
    steps: int
    answer: int
    most: Most


FAN_OUT = Case(
    graphs.fan_out, {"n": 10_000}, 10_002, successors_sum(SALT, 10_000),
    Most(facts=0.02, transactions=0.006, bundles=0.006, to_workers=0.008, from_workers=0.016),
)  # fmt: skip
CHAIN = Case(
    graphs.chain, {"n": 1000}, 1000, SALT + 1000,
    Most(facts=0.03, transactions=0.02, bundles=0.004, to_workers=0.008, from_workers=0.02),
)  # fmt: skip
LAYERS = Case(
    graphs.layers, {"depth": 20, "width": 50}, 1001, layers_sum(SALT, 20, 50),
    Most(facts=0.12, transactions=0.05, bundles=0.05, to_workers=0.06, from_workers=0.07),
)  # fmt: skip
LOOP = Case(  # each call of a body is a fact of its own: what was called is known only then
    graphs.loop, {"n": 200}, 201, SALT + 200,
    Most(facts=1.2, transactions=0.15, bundles=0.04, to_workers=0.1, from_workers=0.12),
)  # fmt: skip


@pytest.fixture(autouse=True)
def two_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many processors there are: bundles grow in number with the slots."""
    monkeypatch.setenv("ORC_SLOTS", "2")


@pytest.fixture
def accountant(monkeypatch: pytest.MonkeyPatch) -> Iterator[Accountant]:
    """For runs on local workers."""
    made = Accountant(monkeypatch)
    yield made
    made.installation.close()


def check(case: Case, work: Work) -> None:
    """Compare with the bounds, and with what must hold at any speed."""
    print(f"\n{case.graph.name}: {work}")
    assert work.steps == case.steps
    counted = {
        "facts": work.facts.total(),
        "transactions": work.transactions,
        "bundles": work.bundles,
        "to_workers": work.to_workers.total(),
        "from_workers": work.from_workers.total(),
    }
    over = {name: count for name, count in counted.items() if count > getattr(case.most, name) * case.steps}
    assert not over, f"{over} of {case.steps} steps: more than {case.most} a step"
    completions = work.facts["StepsCompleted"] + work.facts["NodesCompleted"]
    assert work.to_workers["Run"] == work.bundles  # a bundle is sent once
    made_in_place = work.from_workers["Outcomes"] if work.facts["NodeAdded"] else 0  # such calls start with their frame
    assert work.facts["StepsStarted"] + work.facts["BundleStarted"] <= work.bundles + made_in_place
    assert completions <= work.from_workers["Outcomes"] + work.bundles  # one a frame, if it speaks of one map
    assert work.transactions <= work.from_workers.total() + work.bundles + 5  # nothing is committed twice
    assert work.puts == 2  # the graph and the capsule: small outputs travel inside the facts' chunks
    assert work.fsyncs <= 4 * work.puts  # a file and the folders that name it


@pytest.mark.parametrize("case", [FAN_OUT, CHAIN, LAYERS, LOOP], ids=lambda case: case.graph.name)
def test_work_on_local_workers(accountant: Accountant, case: Case) -> None:
    work, run = accountant.run(case.graph, salt=SALT, **case.params)
    assert run.result() == case.answer
    check(case, work)
    assert not work.ray


@pytest.mark.ray
@pytest.mark.parametrize("case", [FAN_OUT, CHAIN], ids=lambda case: case.graph.name)
def test_work_on_ray_is_the_same_and_ray_is_asked_for_workers_only(
    monkeypatch: pytest.MonkeyPatch, local_ray: Cluster, case: Case
) -> None:
    accountant = Accountant(monkeypatch, local_ray)
    work, run = accountant.run(case.graph, on="ray", salt=SALT, **case.params)
    assert run.result() == case.answer
    check(case, work)
    print(work.ray)
    workers = work.facts["WorkerStarted"]
    assert 1 <= workers <= 2
    # An actor, its one method and the task that holds its slot, whatever the number of steps; a slot may be given up
    # and taken again while a worker waits for the first bundle.
    assert work.ray["ActorClass"] <= 2
    assert work.ray["ActorMethod"] <= 2
    assert work.ray["RemoteFunction"] <= 4


def test_work_of_a_run_that_finds_everything_in_the_cache(accountant: Accountant) -> None:
    first, _ = accountant.run(graphs.stored_map, salt=SALT, n=1000)
    assert first.bundles > 0
    again, run = accountant.run(graphs.stored_map, salt=SALT, n=1000)
    print(f"\nall cached: {again}")
    assert run.result() == [SALT + i + 1 for i in range(1000)]
    assert again.steps == 1000
    assert again.bundles == 0
    assert not again.to_workers
    assert not again.from_workers
    assert again.facts.total() <= 8
    assert again.transactions <= 4
    assert again.fsyncs <= 2  # graph and capsule are there, but another writer may not have made that durable yet


def test_every_connection_of_the_journal_makes_commits_wait_for_the_disk() -> None:
    here = Installation()
    database: Any = here.journal._database  # type: ignore[attr-defined]
    with database.write() as connection, database.read() as other:
        for one in (connection, other):
            assert one.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2  # FULL: in WAL mode an fsync a commit
            assert one.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
            assert one.exec_driver_sql("PRAGMA fullfsync").scalar_one() == 1
    here.close()


def can_trace() -> bool:
    """Whether there is an ``strace`` that may trace here."""
    strace = shutil.which("strace")
    return strace is not None and subprocess.run([strace, "-f", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not can_trace(), reason="needs strace, and the right to trace")
def test_every_commit_was_fsynced_before_anybody_heard_of_it(tmp_path: Path) -> None:
    traces = tmp_path / "traces"
    traces.mkdir()
    command = ["strace", "-ff", "-y", "-e", "trace=fsync,fdatasync,?readlink,?readlinkat", "-o", str(traces / "of")]
    done = subprocess.run(
        [*command, sys.executable, "-m", "tests.app.marked_commits"], cwd=ROOT, env=environment(tmp_path / "home"),
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.stdout.strip() == str(successors_sum(0, 2_000)), done.stderr[-2000:]
    commits = [calls for trace in traces.iterdir() for calls in commits_of(trace.read_text())]
    unsynced = [
        calls for calls in commits if not any(re.search(r"sync\(\d+<[^>]*journal\.db-wal>\) += 0", c) for c in calls)
    ]
    syncs = [line for trace in traces.iterdir() for line in trace.read_text().splitlines() if "sync(" in line]
    of_journal = [line for line in syncs if "journal.db" in line]
    print(
        f"\n{len(commits)} commits; fsyncs: {len(of_journal)} of the journal, {len(syncs) - len(of_journal)} of files"
    )
    (row,) = Installation(Installation().settings.from_environment({"ORC_HOME": str(tmp_path / "home")})).journal.runs()
    assert row.state == "succeeded"
    assert len(commits) > 5
    assert not unsynced


def commits_of(trace: str) -> Iterator[list[str]]:
    """System calls of one thread within each of its write transactions."""
    calls: list[str] | None = None
    for line in trace.splitlines():
        if BEGUN in line:
            calls = []
        elif DURABLE in line:
            assert calls is not None
            yield calls
            calls = None
        elif calls is not None:
            calls.append(line)


def test_the_trace_would_show_a_commit_without_fsync() -> None:
    begun, durable = f'readlink("{BEGUN}", …) = -1', f'readlink("{DURABLE}", …) = -1'
    assert list(commits_of("\n".join([begun, "fdatasync(3</j>) = 0", durable, begun, durable]))) == [
        ["fdatasync(3</j>) = 0"],
        [],
    ]
