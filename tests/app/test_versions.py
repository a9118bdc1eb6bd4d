"""Named versions: published with the outcome, read back, given to pipelines, kept and removed."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from orchestrator import RunFailed, approve, pipeline, stage, step, version
from orchestrator.app.run import Run
from orchestrator.app.upkeep import collect
from orchestrator.app.versions import Versions
from orchestrator.config.retention import Policy, Retention
from orchestrator.errors import ConfigError, InvalidStage, MapError, NotFound
from orchestrator.testing import InProcess


@dataclass
class Fitted:
    model: Any
    auc: float


@stage(publish="data:rows")
def load(n: int, shift: float = 0.0) -> pa.Table:
    chance = random.Random(n)
    return pa.table({"x": [chance.random() + shift for _ in range(n)], "kind": ["ab"[i % 2] for i in range(n)]})


@stage(publish="model:mean")
def fit(rows: pa.Table) -> Fitted:
    auc = rows.num_rows / 100_000
    step().report(auc=auc)
    return Fitted({"mean": sum(rows["x"].to_pylist())}, auc)


@stage
def count(rows: pa.Table, answer: bool = True) -> int:
    return int(rows.num_rows)


@pipeline
def making(n: int, shift: float = 0.0) -> Fitted:
    return fit(load(n, shift))


@pipeline
def using(name: str = "data:rows") -> int:
    return count(version(name))


@pipeline
def asking() -> int:
    return count(version("data:rows"), approve("go on?"))


@pytest.fixture
def here(tmp_path: Path) -> InProcess:
    return InProcess(tmp_path / "home")


@pytest.fixture
def known(here: InProcess) -> Versions:
    return Versions(here.installation)


def parked(here: InProcess) -> Run:
    """A run that waits for a person, and that nobody drives."""
    run = here.start(asking)
    while run.state != "waiting":
        time.sleep(0.01)
    run.stop()
    return run


def test_each_new_content_is_a_version_that_can_be_read_back(here: InProcess, known: Versions) -> None:
    first = here.run(making, n=10)
    here.run(making, n=10)
    here.run(making, n=20_000)
    assert [found.address for found in known.list()] == [
        "data:rows@v2",
        "data:rows@v1",
        "model:mean@v2",
        "model:mean@v1",
    ]
    assert known["data:rows@v1"].value().num_rows == 10
    assert known["data:rows"].value().num_rows == 20_000
    assert known["model:mean@v2"].value().auc == 0.2
    assert known["model:mean@v2"].metrics == {"auc": 0.2}
    row = known["data:rows@v1"].row
    assert (row.run, row.node) == (first.id, "load")


def test_a_pipeline_takes_a_version_as_it_was_when_the_run_was_made(here: InProcess, known: Versions) -> None:
    with pytest.raises(NotFound, match="nothing has been published yet"):
        here.run(using)
    here.run(making, n=10)
    known.tag("data:rows@v1", "prod")
    waiting = parked(here)
    here.run(making, n=30)
    assert here.run(using).result() == 30
    assert here.run(using, name="data:rows@prod").result() == 10
    assert here.run(using, name="data:rows@v1").result() == 10
    waiting.approve("approve")
    assert here.resume(waiting.id).result() == 10
    created = here.installation.created(waiting.id)
    assert created.versions == {"data:rows@latest": "data:rows@v1"}


def test_other_code_for_a_run_reads_the_version_that_the_run_began_with(here: InProcess) -> None:
    here.run(making, n=10)
    run = parked(here)
    here.run(making, n=30)
    comparison = run.compare(asking)
    assert {change.action for change in comparison.changes} <= {"keep", "run"}
    run.approve("approve")
    assert here.resume(run.id, code=asking).result() == 10


@pipeline
def failing(n: int) -> int:
    return count(load(n), broken())


@stage
def broken() -> bool:
    raise ValueError("no")


def test_a_version_stands_with_its_step_whatever_becomes_of_the_run(here: InProcess, known: Versions) -> None:
    with pytest.raises(RunFailed):
        here.run(failing, n=5)
    assert len(known.list("data:rows")) <= 1  # the load may not have started
    run = here.run(making, n=7)
    published = [recorded.seq for recorded in run.events() if type(recorded.fact).__name__ == "VersionPublished"]
    assert len(published) == 2
    here.runner.rerun(here.runner.renewal(run.id, verify=True)).wait()
    assert known["data:rows"].row.run == run.id


def test_differences_of_tables_and_models(here: InProcess, known: Versions) -> None:
    here.run(making, n=4000)
    here.run(making, n=5000, shift=10.0)
    found = known["data:rows@v1"].diff(known["data:rows@v2"])
    assert (found.equal, found.rows) == (False, (4000, 5000))
    x, kind = found.columns
    assert x.distance == 1.0
    assert x.after is not None
    assert x.before is not None
    assert x.after.mean is not None
    assert x.before.mean is not None
    assert 9.9 < x.after.mean - x.before.mean < 10.1
    assert (kind.name, kind.distance, kind.before and kind.before.distinct) == ("kind", 0.0, 2)
    model = known["model:mean@v1"].diff(known["model:mean@v2"])
    assert {part.name for part in model.parts} == {"model", "auc"}
    assert model.metrics == {"auc": (0.04, 0.05)}
    assert known["data:rows@v1"].diff(known["data:rows@v1"]).equal


def test_collection_keeps_what_versions_need_and_retention_keeps_tags(here: InProcess, known: Versions) -> None:
    for n in (20_000, 20_001, 20_002, 20_003):
        here.run(making, n=n)
    known.tag("data:rows@v1", "prod")
    retention = Retention(Policy(keep_last=1), versions={"data:rows": Policy(keep_last=2)})
    planned = collect(here.installation, 0.0, True, retention)
    assert [row.address for row in planned.versions] == ["data:rows@v2"]
    done = collect(here.installation, 0.0, False, retention)
    assert [info.digest for info in done.artifacts.removed] == [info.digest for info in planned.artifacts.removed]
    assert len(done.runs) == 3
    assert [found.row.number for found in known.list("data:rows")] == [4, 3, 1]
    assert [found.value().num_rows for found in known.list("data:rows")] == [20_003, 20_002, 20_000]
    assert known["model:mean@v1"].value().auc == 0.2
    assert known["model:mean@v1"].metrics == {}
    assert here.run(using, name="data:rows@prod").result() == 20_000


@stage
def inner(rows: pa.Table) -> int:
    return count(version("data:rows"))


@pipeline
def too_late(n: int) -> int:
    return inner(load(n))


def test_what_cannot_be_a_version_is_refused(here: InProcess) -> None:
    with pytest.raises(InvalidStage, match="names no data set or model"):
        load.options(publish="rows")
    with pytest.raises(InvalidStage, match="no one version"):
        stage(lambda: iter(()), streaming=True, publish="data:rows", name="stream")
    with pytest.raises(MapError, match="once for each item"):
        pipeline(lambda: load.map([1, 2]), name="mapped").graph()
    with pytest.raises(ConfigError, match="names no version"):
        version("rows@v1")
    with pytest.raises(RunFailed, match="settled when a run is made"):
        here.run(too_late, n=3)
    with pytest.raises(ConfigError, match="cannot be a tag"):
        Versions(here.installation).tag("data:rows", "v3")


def test_a_version_in_a_plain_call_is_its_value(
    here: InProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here.run(making, n=6)
    monkeypatch.setenv("ORC_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("orchestrator.app.versions.versions", Versions())
    assert count(version("data:rows")) == 6
    assert using() == 6
