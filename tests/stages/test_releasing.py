"""Releases as steps of a pipeline, with real models of real flights behind real HTTP, in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from orchestrator import pipeline, when
from orchestrator.errors import ConfigError, RunFailed
from orchestrator.testing import InProcess, LocalServing
from stages.deployment import (
    Canary,
    Deployment,
    Release,
    Replay,
    deploy_versions,
    release,
    replay,
    retire,
    rollback,
)
from stages.features import Features, transform
from stages.pipelines.flights import TARGET
from stages.pipelines.flights_live import LiveResult
from stages.pipelines.releasing import send_out as by_hand
from stages.training import Fitted, Model, train_boosted
from tests.stages.churners import offer

QUICK = Canary(
    steps=(30, 100), bake="1s", min_samples=30, min_outcomes=100, patience="2m", rollback_if="brier > 0.28",
    compare=("errors", "broken"),
)  # fmt: skip


@pipeline
def send_out(model: Model, app: str = "flights", sample: pa.Table | None = None) -> Any:
    sent = release(model, app, canary=QUICK, sample=sample)
    return when(sent.passed, then=lambda: sent, otherwise=lambda: sent)


@pipeline
def go_back(app: str = "flights") -> Any:
    return rollback(app)


@pipeline
def end(app: str = "flights") -> Any:
    return retire(app)


@pytest.fixture(scope="module")
def upside_down(months: Sequence[pa.Table], features: Features) -> Model:
    """A model that has learned the contrary."""
    table = pa.concat_tables(months[:2])
    contrary = pc.invert(table[TARGET]) if pa.types.is_boolean(table[TARGET].type) else pc.subtract(1, table[TARGET])
    turned = table.set_column(table.column_names.index(TARGET), TARGET, contrary)
    return train_boosted(
        transform(turned, features, keep=[TARGET]), features, TARGET, trees=30, learning_rate=0.1
    ).model


@pytest.fixture
def serving() -> Iterator[LocalServing]:
    with LocalServing() as serving:
        yield serving


@pytest.fixture
def here(tmp_path: Path, serving: LocalServing) -> InProcess:
    return InProcess(tmp_path, ports={"serving": serving, "routing": serving})


@pytest.fixture
def baseline(fitted: Fitted, months: Sequence[pa.Table], features: Features) -> Model:
    encoded = transform(months[0], features, keep=[TARGET])
    return train_boosted(encoded, features, TARGET, trees=30, learning_rate=0.1).model


@pytest.mark.timeout(950)
def test_a_good_model_goes_out_and_a_bad_one_comes_back(
    here: InProcess, serving: LocalServing, baseline: Model, fitted: Fitted, upside_down: Model,
    months: Sequence[pa.Table],
) -> None:  # fmt: skip
    first: Release = here.run(send_out, model=baseline).result()
    assert (first.passed, first.cause) == (True, "first")
    with ThreadPoolExecutor(1) as users:
        asking = users.submit(replay.function, first.url, months[2], TARGET, releases=2, limit_s=300)
        good = here.run(send_out, model=fitted.model)
        bad = here.run(send_out, model=upside_down)
    asked: Replay = asking.result()
    assert (asked.failures, asked.first_failure, asked.releases) == (0, None, 2)
    assert (good.result().outcome, good.result().cause) == ("promoted", "baked"), good.result().text()
    sent_back: Release = bad.result()
    assert (sent_back.outcome, sent_back.cause, sent_back.stable) == ("rolled_back", "guard", good.result().candidate)
    assert "brier" in sent_back.why
    assert asked.answered.keys() == {first.candidate, good.result().candidate, sent_back.candidate}
    assert sum(asked.answered.values()) == asked.requests
    assert asked.errors[good.result().candidate] < 0.25 < asked.errors[sent_back.candidate]
    assert f"{asked.requests:,} requests over HTTP meanwhile, 0 failed" in str(asked)
    live = LiveResult(first, good.result(), sent_back, asked)
    assert live.passed
    assert f"wrong model  {sent_back.candidate} was sent back after" in str(live)
    assert not replace(live, asked=replace(asked, failures=1)).passed
    traffic = serving.traffic("flights")
    assert traffic is not None
    assert traffic.weights == {good.result().candidate: 100.0}
    assert here.run(send_out, model=fitted.model).result().cause == "same"
    curve = [metrics["weight"] for metrics in good["release"].metrics]
    assert curve[-1] == 100.0
    back = here.run(go_back).result()
    assert back["version"] == first.candidate
    assert here.run(end).result() == "flights"
    assert (serving.status(), serving.traffic("flights")) == ([], None)


@pipeline
def prepare(models: list[Model], app: str = "flights") -> list[Deployment]:
    return deploy_versions(models, app)


def test_versions_that_are_deployed_beforehand_are_those_that_a_release_asks_for(
    here: InProcess, serving: LocalServing, baseline: Model, fitted: Fitted
) -> None:
    deploy, asked = serving.deploy, []

    def recorded(**options: Any) -> Any:
        usual = {"replicas": 1, "num_cpus": 0.0, "num_gpus": 0.0, "load": None, "capture": None}
        asked.append(usual | {name: value for name, value in options.items() if name != "timeout_s"})
        return deploy(**options)

    serving.deploy = recorded  # type: ignore[assignment, method-assign]
    prepared = here.run(prepare, models=[baseline, fitted.model]).result()
    assert {one.endpoint.version for one in serving.status("flights")} == {one.version for one in prepared}
    released: Release = here.run(send_out, model=baseline).result()
    assert released.candidate == prepared[0].version
    assert asked[2] in asked[:2]  # Serve takes it for the same, and starts nothing


def test_without_anything_to_compare_with_nothing_is_asked(months: Sequence[pa.Table]) -> None:
    unknown = months[2].filter(pc.is_null(months[2][TARGET]))
    with pytest.raises(ConfigError, match="no row of the table has a 'late'"):
        replay("http://127.0.0.1:9/flights", unknown, TARGET)
    with pytest.raises(ConfigError, match="only endpoints on this machine"):
        replay("http://10.0.0.1/flights", months[2], TARGET)


def test_a_model_that_cannot_start_moves_no_request(
    here: InProcess, serving: LocalServing, baseline: Model, fitted: Fitted
) -> None:
    here.run(send_out, model=baseline)
    deploy = serving.deploy
    serving.deploy = lambda app, version, predictor, *args, **kwargs: deploy(  # type: ignore[method-assign]
        app, version, "tests.backends.predictors:Broken", *args, **kwargs
    )
    sent: Release = here.run(send_out, model=fitted.model).result()
    assert (sent.outcome, sent.cause) == ("rolled_back", "candidate")
    assert "the payload is no model: 42" in sent.why


def test_what_does_not_answer_a_sample_is_not_deployed(
    here: InProcess, serving: LocalServing, fitted: Fitted, months: Sequence[pa.Table]
) -> None:
    with pytest.raises(RunFailed):
        here.run(send_out, model=replace(fitted.model, text="no trees"), sample=months[2].slice(0, 5))
    assert serving.status() == []
    assert here.run(send_out, model=fitted.model, sample=months[2].slice(0, 5)).result().passed


@pipeline
def make(model: Model) -> Model:
    return offer(model)


def test_a_model_that_is_not_sound_goes_out_only_with_a_reason(
    here: InProcess, serving: LocalServing, fitted: Fitted, baseline: Model
) -> None:
    here.run(make, model=fitted.model)
    asked: dict[str, Any] = {"model": "model:churn@v1", "app": "churn", "max_p99_ms": 1e6}
    small = here.run(by_hand, **asked, max_size_bytes=10)
    assert (small.finished and small.finished.outcome, serving.status()) == ("refused", [])
    assert "size in bytes" in small.result()
    sent = here.run(by_hand, **asked, max_size_bytes=10, forced="a smaller one comes tomorrow")
    assert "forced   a smaller one comes tomorrow" in sent.result()
    assert here.run(by_hand, **asked).result().startswith("churn: ")
    deploy = serving.deploy
    serving.deploy = lambda app, version, predictor, *args, **kwargs: deploy(  # type: ignore[method-assign]
        app, version, "tests.backends.predictors:Broken", *args, **kwargs
    )
    here.run(make, model=baseline)
    back = here.run(by_hand, **{**asked, "model": "model:churn@v2"})
    assert (back.finished and back.finished.outcome, "the payload is no model" in back.result()) == ("refused", True)
