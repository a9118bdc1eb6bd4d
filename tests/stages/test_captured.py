"""What a served model was asked, from real HTTP requests to a table that drift can be looked for in."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

from orchestrator import pipeline
from orchestrator.errors import ConfigError, NotFound
from orchestrator.ports.traffic import Traffic
from orchestrator.testing import InProcess, LocalServing
from stages.deployment import Capture, Deployment, deploy, deploy_many
from stages.deployment.serving import plain_rows
from stages.monitoring import DriftReport, captured, drift
from stages.training import ModelFile
from tests.stages.churners import customers, trained

INPUTS = ["income", "plan", "since"]
ROWS = plain_rows(customers(40).select(INPUTS))


@pipeline
def send_out(model: ModelFile, folder: str) -> Deployment:
    return deploy(model, "churn", capture=Capture(folder, share=1.0))


@pipeline
def look_back(folder: str, reference: Any) -> DriftReport:
    seen = captured(folder, "churn")
    return drift(seen.rows, reference, columns=["income", "plan"])


def ask(url: str, rows: list[Any], model: str = "") -> tuple[int, str]:
    asked = urllib.request.Request(url, json.dumps({"rows": rows}).encode(), {"X-Model": model} if model else {})
    try:
        with urllib.request.urlopen(asked, timeout=120) as answer:
            return answer.status, answer.headers["X-Answer-Id"]
    except urllib.error.HTTPError as error:
        return error.code, error.headers["X-Answer-Id"]


@pytest.mark.parametrize("place", ["directory", "s3"])
def test_requests_become_rows_that_drift_is_looked_for_in(
    place: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = str(tmp_path / "captures") if place == "directory" else str(request.getfixturevalue("s3"))
    with LocalServing() as serving:
        here = InProcess(tmp_path, ports={"serving": serving, "routing": serving})
        deployment: Deployment = here.run(send_out, model=trained(), folder=folder).result()
        of_version = [ask(deployment.url, [row]) for row in ROWS[:20]]
        routed = serving.route("churn", Traffic(1, {deployment.version: 100.0}, deployment.version))
        of_router = [ask(routed.url, [row]) for row in ROWS[20:]]
        refused = ask(routed.url, [ROWS[0], {**ROWS[1], "income": "much"}])
    assert refused[0] == 422
    seen = captured(folder, "churn", version=deployment.version)
    assert str(seen) == "40 rows, 1 apart; of 41 requests 41 were sampled and 0 of those dropped"
    assert seen.rows["answer_id"].to_pylist() == [answer for _, answer in of_version + of_router]
    assert seen.rows.select(["income", "plan"]).to_pylist() == customers(40).select(["income", "plan"]).to_pylist()
    assert all(0 < value < 1 for value in seen.rows["answer_value"].to_pylist())
    (apart,) = seen.apart.to_pylist()
    assert (apart["answer_id"], apart["answer_status"]) == (refused[1], 422)
    assert "must be a finite number, not 'much'" in apart["error"]

    report: DriftReport = here.run(look_back, folder=folder, reference=customers(40)).result()
    assert (report.rows, report.drifted) == (40, False)

    middle = seen.rows["answer_at"].to_pylist()[30]
    later = captured(folder, "churn", since=middle.isoformat())
    assert later.rows.num_rows == 10
    assert captured(folder, "churn", until=middle.isoformat()).rows.num_rows == 30
    with pytest.raises(NotFound, match=r"nothing of churn was captured in .* from 2100-01-01"):
        captured(folder, "churn", since="2100-01-01")
    with pytest.raises(NotFound, match="nothing of shop"):
        captured(folder, "shop")
    with pytest.raises(ConfigError, match="since='yesterday' is no ISO time"):
        captured(folder, "churn", since="yesterday")


@pipeline
def send_out_many(models: dict[str, ModelFile], folder: str) -> Deployment:
    return deploy_many(models, "shops", capture=Capture(folder, share=1.0))


def test_many_models_behind_one_address_answer_as_each_alone(tmp_path: Path) -> None:
    folder = str(tmp_path / "captures")
    models = {"left": trained("left"), "spent": trained("spent", "sklearn.linear_model.Ridge")}
    with LocalServing() as serving:
        here = InProcess(tmp_path, ports={"serving": serving, "routing": serving})
        deployment: Deployment = here.run(send_out_many, models=models, folder=folder).result()
        again: Deployment = here.run(send_out_many, models=dict(reversed(models.items())), folder=folder).result()
        assert again == deployment
        routed = serving.route("shops", Traffic(1, {deployment.version: 100.0}, deployment.version))
        for url in (deployment.url, routed.url):
            assert [ask(url, ROWS[:2], model)[0] for model in ("left", "other", "")] == [200, 404, 404]
            assert [ask(f"{url}/models/{model}", ROWS[:2], "left")[0] for model in ("spent", "other")] == [200, 404]
    seen = captured(folder, "shops")
    expected = {name: model.predict(customers(40).slice(0, 2)) for name, model in models.items()}
    for name, values in expected.items():
        rows = seen.rows.filter(pc.equal(seen.rows["answer_model"], name))
        assert rows["answer_value"].to_pylist() == pytest.approx([*values, *values])
    assert seen.apart.num_rows == 6
