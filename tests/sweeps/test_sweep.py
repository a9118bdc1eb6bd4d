"""``sweep`` called in process and while tracing: what it finds, and what it refuses before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from orchestrator import dynamic, pipeline, stage, step, sweep
from orchestrator.errors import InvalidStage, MissingArgument, OrchestratorError, StepError, UnknownArgument, WrongType
from orchestrator.graph.node import Ref
from orchestrator.sweeps import Best


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5


@dataclass(frozen=True)
class Settings:
    lr: float = 0.1
    depth: int = 3
    inner: Inner = Inner()


@dataclass
class Fitted:
    loss: float
    settings: Settings


@stage
def rows(n: int) -> list[int]:
    return list(range(n))


@stage
def train(data: list[int], hp: Settings = Settings(), bias: float = 0.0, bad: int = -1) -> Fitted:
    step().report(curve=1.0)
    step().report(curve=hp.lr)
    if hp.depth == bad:
        raise ValueError(f"depth {hp.depth}")
    return Fitted(abs(hp.lr - 0.02) + hp.depth + hp.inner.rate + bias + len(data), hp)


def test_the_best_of_a_grid_in_process() -> None:
    over = {"hp.depth": [5, 2, 4], "hp.inner.rate": [0.25, 0.125]}
    best = sweep(train, over, fixed={"data": [1]}, metric="loss", mode="min")
    assert best.params == {"hp.depth": 2, "hp.inner.rate": 0.125}
    assert best.output.settings == Settings(0.1, 2, Inner(0.125))
    assert best.value == best.output.loss == best.trials[3].value
    assert [trial.params["hp.depth"] for trial in best.trials] == [5, 5, 2, 2, 4, 4]
    assert best.trials[0].reports == ({"curve": 1.0}, {"curve": 0.1})


def test_the_last_report_counts_before_the_output() -> None:
    best = sweep(train, {"hp.lr": [0.3, 0.1]}, fixed={"data": []}, metric="curve", mode="max")
    assert (best.value, best.params) == (0.3, {"hp.lr": 0.3})


@pytest.mark.parametrize("searcher", ["random", "optuna"])
def test_a_search_in_process(searcher: Any) -> None:
    over = {"hp.lr": (1e-4, 1.0, "log"), "bias": (0.0, 1.0)}
    best = sweep(train, over, fixed={"data": []}, metric="loss", mode="min", trials=9, searcher=searcher)
    values = [trial.value for trial in best.trials if trial.value is not None]
    assert len(values) == 9
    assert best.value == min(values)


def test_failed_trials_are_told_and_do_not_count() -> None:
    best = sweep(train, {"hp.depth": [2, 3]}, fixed={"data": [], "bad": 2}, metric="loss", mode="min")
    assert [trial.state for trial in best.trials] == ["failed", "finished"]
    assert best.trials[0].error == "ValueError: depth 2"
    with pytest.raises(StepError, match="depth 2"):
        sweep(train, {"hp.depth": [2]}, fixed={"data": [], "bad": 2}, metric="loss", mode="min")


def test_a_metric_that_nobody_gives() -> None:
    with pytest.raises(StepError, match="no metric 'auc'"):
        sweep(train, {"hp.depth": [2]}, fixed={"data": []}, metric="auc")


@pipeline
def searched(n: int = 3) -> float:
    best = sweep(train, {"bias": (0.0, 1.0)}, fixed={"data": rows(n)}, metric="loss", mode="min", trials=4)
    return best.output.loss


def test_a_sweep_is_a_step_of_the_graph_with_typed_parts() -> None:
    graph = searched.graph()
    node = graph.node("sweep")
    assert node.kind == "dynamic"
    assert graph.output == Ref("sweep", ("output", "loss"))
    assert searched() >= 3.0

    @pipeline
    def wrong() -> str:
        return sweep(train, {"bias": [0.0]}, fixed={"data": rows(1)}, metric="loss").output.colour  # type: ignore[attr-defined, no-any-return]

    with pytest.raises(WrongType, match="no attribute 'colour'"):
        wrong.graph()


def test_a_steered_sweep_is_one_step_that_drives_tune() -> None:
    @pipeline
    def steered() -> Best[Fitted]:
        return sweep(train, {"bias": [0.0, 1.0]}, fixed={"data": rows(1)}, metric="loss", scheduler="asha")

    traced = steered.trace()
    node = traced.graph.node("sweep")
    assert (node.kind, node.policy.uses) == ("stage", ("tune",))
    assert any(found.name == "train" for found in traced.stages.values())
    assert len(steered().trials) == 2  # as a function: in process, each to its end


@stage(streaming=True)
def stream(n: int) -> Any:
    yield n


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"over": {"bais": [1.0]}}, UnknownArgument, "bais"),
        ({"fixed": {}}, MissingArgument, "data"),
        ({"fixed": {"data": 5}}, WrongType, "data is to be a list"),
        ({"over": {"bias": ["x"]}}, WrongType, "bias is to be a float"),
        ({"over": {"hp.lrr": [1.0]}}, InvalidStage, "no dataclass with a field 'lrr'"),
        ({"over": {"data.x": [1.0]}}, InvalidStage, "no dataclass"),
        ({"over": {"hp": [Settings()], "hp.lr": [1.0]}}, InvalidStage, "and fields of it"),
        ({"fixed": {"data": [], "bias": 1.0}}, InvalidStage, "both in over= and in fixed="),
        ({"mode": "most"}, InvalidStage, "'max' or 'min'"),
        ({"trials": 0}, InvalidStage, "1 or more"),
        ({"concurrency": True}, InvalidStage, "concurrency"),
        ({"searcher": "magic", "trials": 1}, InvalidStage, "'random', 'grid', 'optuna'"),
        ({"searcher": "random"}, InvalidStage, "say how many trials="),
        ({"over": {"bias": (0.0, 1.0)}}, InvalidStage, "is a range; say how many trials="),
        ({"scheduler": "hyper"}, InvalidStage, "'asha', 'pbt'"),
        ({"scheduler": "pbt", "searcher": "optuna", "trials": 4}, InvalidStage, "chooses parameters itself"),
        ({"stage": stream}, InvalidStage, "yields a stream"),
        ({"stage": len}, InvalidStage, "only a @stage"),
    ],
)
def test_what_cannot_be_swept_is_refused_at_once(
    change: dict[str, Any], error: type[OrchestratorError], told: str
) -> None:
    asked: dict[str, Any] = {"stage": train, "over": {"bias": [1.0]}, "fixed": {"data": []}, "metric": "loss", **change}
    with pytest.raises(error) as caught:
        sweep(asked.pop("stage"), asked.pop("over"), **asked)
    assert told in str(caught.value)


def test_a_best_draws_itself_in_notebooks() -> None:
    best = sweep(train, {"bias": [0.5, 0.0]}, fixed={"data": []}, metric="loss", mode="min")
    html = best._repr_html_() or ""
    assert html.count("<polyline") == 4  # each trial across the axes, and its curve
    assert "best loss 3.58" in html


@dynamic
def island() -> float:
    return sweep(train, {"bias": [0.5]}, fixed={"data": []}, metric="loss").value


def test_in_process_an_island_may_sweep_too() -> None:
    assert island() == pytest.approx(4.08)
