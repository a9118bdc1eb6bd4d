"""Releases as steps of a pipeline, with real models of real flights behind real HTTP, in this process."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from orchestrator import pipeline, when
from orchestrator.errors import RunFailed
from orchestrator.testing import InProcess, LocalServing
from stages.deployment import Canary, Release, release, rollback
from stages.features import Features, transform
from stages.pipelines.flights import TARGET
from stages.training import Fitted, Model, train_boosted

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


class Crowd:
    """Asks for predictions of later flights, and reports how good they were, until it is told to stop."""

    def __init__(self, url: str, flights: pa.Table, inputs: Sequence[str]) -> None:
        rows = flights.filter(pc.is_valid(flights[TARGET])).slice(0, 400).select([*inputs, TARGET]).to_pylist()
        self._rows = [{name: _plain(value) for name, value in row.items()} for row in rows]
        self._url = urlsplit(url)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.failed: list[Any] = []
        self.versions: set[str] = set()

    def __enter__(self) -> Crowd:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection(str(self._url.hostname), self._url.port, timeout=120)
        at = 0
        while not self._over.is_set():
            row = self._rows[at % len(self._rows)]
            at += 1
            answer = self._post(connection, self._url.path, {"rows": [row]})
            if answer is not None:
                error = answer[1]["predictions"][0]["probability"] - row[TARGET]
                outcome = {"id": answer[0]["X-Answer-Id"], "metric": "brier", "value": error * error}
                self.versions.add(answer[0]["X-Model-Version"])
                self._post(connection, f"{self._url.path}/outcomes", {"outcomes": [outcome]})
        connection.close()

    def _post(self, connection: http.client.HTTPConnection, path: str, document: Any) -> tuple[Any, Any] | None:
        connection.request("POST", path, json.dumps(document))
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            self.failed.append((response.status, body))
            return None
        return response.headers, json.loads(body)


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value


@pytest.fixture
def crowd(months: Sequence[pa.Table], fitted: Fitted) -> Callable[[str], Crowd]:
    return lambda url: Crowd(url, months[2], list(fitted.model.features.inputs))


@pytest.fixture
def baseline(fitted: Fitted, months: Sequence[pa.Table], features: Features) -> Model:
    encoded = transform(months[0], features, keep=[TARGET])
    return train_boosted(encoded, features, TARGET, trees=30, learning_rate=0.1).model


@pytest.mark.timeout(950)
def test_a_good_model_goes_out_and_a_bad_one_comes_back(
    here: InProcess, serving: LocalServing, baseline: Model, fitted: Fitted, upside_down: Model,
    crowd: Callable[[str], Crowd],
) -> None:  # fmt: skip
    first: Release = here.run(send_out, model=baseline).result()
    assert (first.passed, first.cause) == (True, "first")
    with crowd(first.url) as asking:
        good = here.run(send_out, model=fitted.model)
        bad = here.run(send_out, model=upside_down)
    assert asking.failed == []
    assert (good.result().outcome, good.result().cause) == ("promoted", "baked"), good.result().text()
    sent_back: Release = bad.result()
    assert (sent_back.outcome, sent_back.cause, sent_back.stable) == ("rolled_back", "guard", good.result().candidate)
    assert "brier" in sent_back.why
    assert asking.versions == {first.candidate, good.result().candidate, sent_back.candidate}
    traffic = serving.traffic("flights")
    assert traffic is not None
    assert traffic.weights == {good.result().candidate: 100.0}
    assert here.run(send_out, model=fitted.model).result().cause == "same"
    curve = [metrics["weight"] for metrics in good["release"].metrics]
    assert curve[-1] == 100.0
    back = here.run(go_back).result()
    assert back["version"] == first.candidate


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
