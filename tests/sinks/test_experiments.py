"""Runs in MLflow tracking, read back by its own client: parameters, curves, tags and models, once each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from orchestrator import RunFailed
from orchestrator.app.reading import Keeper
from orchestrator.app.signals import begin, sink_reader, tell_again
from orchestrator.testing.inprocess import InProcess
from tests.sinks import flow


@pytest.fixture
def data(tmp_path: Path) -> str:
    (tmp_path / "data.txt").write_text("1 2 3")
    return str(tmp_path / "data.txt")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database that MLflow makes, which takes some seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture
def mlflow(store: str, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("ORC_MLFLOW", store)
    return MlflowClient(tracking_uri=store)


def tracked(client: MlflowClient, pipeline: str, run: str) -> Any:
    experiment = client.get_experiment_by_name(pipeline)
    assert experiment is not None
    (found,) = client.search_runs([experiment.experiment_id], f"tags.`orc.run` = '{run}'")
    return found


def curve(client: MlflowClient, run: Any, key: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, key)]


def test_a_run_is_read_back_by_mlflow(mlflow: MlflowClient, data: str, tmp_path: Path) -> None:
    process = InProcess(tmp_path / "home")
    run = process.run(flow.learn, path=data, lr=0.3, tags={"team": "a"})
    found = tracked(mlflow, "learn", run.id)
    assert found.info.status == "FINISHED"
    assert found.data.params == {"path": repr(data), "lr": "0.3"}
    assert (found.data.tags["team"], found.data.tags["orc.state"]) == ("a", "succeeded")
    assert found.data.tags["orc.model.toy"].startswith("model:toy@v1 ")
    assert curve(mlflow, found, "train.loss") == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert curve(mlflow, found, "train.auc") == [(0, 0.75)]
    tell_again(process.installation, run.id, "mlflow")
    assert len(curve(mlflow, tracked(mlflow, "learn", run.id), "train.loss")) == 3


def test_a_failed_run_is_failed_there(mlflow: MlflowClient, data: str, tmp_path: Path) -> None:
    process = InProcess(tmp_path / "home")
    with pytest.raises(RunFailed):
        process.run(flow.failing, path=data)
    run = process.installation.journal.runs(limit=1)[0].id
    found = tracked(mlflow, "failing", run)
    assert found.info.status == "FAILED"
    assert "no good" in found.data.tags["orc.reason"]


def test_killed_anywhere_it_goes_on_without_doubling(
    mlflow: MlflowClient, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The teller dies after its first request to MLflow, the next one after its second, and so in turns."""
    process = InProcess(tmp_path / "home")
    here = process.installation
    begin(here)
    uri = mlflow.tracking_uri
    monkeypatch.delenv("ORC_MLFLOW")
    run = process.run(flow.learn, path=data)
    monkeypatch.setenv("ORC_MLFLOW", uri)
    left, deaths = 0, 0

    def dying(method: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            answer = method(*args, **kwargs)
            left -= 1
            if not left:
                raise KeyboardInterrupt
            return answer

        return call

    with monkeypatch.context() as patch:
        for name in ("create_run", "log_batch", "set_terminated"):
            patch.setattr(MlflowClient, name, dying(getattr(MlflowClient, name)))
        for left in (1, 2) * 10:  # noqa: B007
            try:
                Keeper(here, sink_reader(here, "mlflow")).round()
                break
            except KeyboardInterrupt:
                deaths += 1
    assert deaths == 4  # after the run, the parameters with the metrics, the end, and the end with the tags
    found = tracked(mlflow, "learn", run.id)
    assert found.info.status == "FINISHED"
    assert found.data.params == {"path": repr(data)}
    assert curve(mlflow, found, "train.loss") == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
