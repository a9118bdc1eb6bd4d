"""``orc ab``: an experiment that real requests of this process went through, found in the journal and drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from orchestrator import pipeline, stage, step
from orchestrator.app.installation import Installation
from orchestrator.app.run import Run
from orchestrator.app.runner import Runner
from orchestrator.cli.main import main
from orchestrator.config.settings import Settings
from orchestrator.errors import RunFailed
from orchestrator.graph.pipeline import RunOptions
from orchestrator.ports.traffic import Traffic
from orchestrator.serving import begin
from orchestrator.testing import InProcess, LocalServing
from stages.deployment import AB, Canary, release
from stages.training import Model
from tests.cli.conftest import Done
from tests.stages.churners import customers, learn
from tests.stages.users import Users

EXPERIMENT = AB(
    metric="conversion", bake="4s", horizon="5s", min_outcomes=20, min_samples=20, min_effect=0.05, slices=("plan",),
    compare=(),
)  # fmt: skip


@pipeline
def compare(model: Model) -> Any:
    return release(model, "churn", strategy=EXPERIMENT)


@pipeline
def first(model: Model, app: str) -> Any:
    return release(model, app, canary=Canary())


@stage(effects=True)
def interrupted(app: str) -> int:
    """As far as a release comes whose worker dies after it stored its first state."""
    step().checkpoint(begin("r1", app, "v2", EXPERIMENT, Traffic(3, {"v1": 100.0}, "v1"), step().now()).to_json())
    raise OSError("the worker is gone")


@pipeline
def half_way(app: str) -> Any:
    return interrupted(app)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ab")


@pytest.fixture(scope="module")
def run(home: Path) -> Run:
    """The run of an experiment that has ended; there is one of another kind, too."""
    table = customers()
    with LocalServing() as serving:
        here = InProcess(home, ports={"serving": serving, "routing": serving})
        url = here.run(first, model=learn(table), app="churn").result().url
        here.run(first, model=learn(table), app="other")
        with Users(url):
            return here.run(compare, model=learn(table, 0.5))


def orc(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Done:
    monkeypatch.setenv("ORC_HOME", str(home))
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    return Done(int(str(ended.value.code)), captured.out, captured.err)


@pytest.mark.timeout(120)
def test_an_experiment_is_found_told_and_drawn(
    run: Run, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = orc(home, capsys, monkeypatch, "ab", "churn")
    assert (told.code, told.err) == (0, "")
    assert f"run {run.id}, step release: ended" in told.out
    assert "slice       candidate" in told.out
    document = orc(home, capsys, monkeypatch, "ab", "churn", "--run", run.id, "--json").document("ab")
    assert document["outcome"] in ("reported", "promoted", "rolled_back")
    assert [one["role"] for one in document["versions"]] == ["candidate", "stable"]
    assert document["effect"]["low"] < document["effect"]["difference"] < document["effect"]["high"]
    assert document["trail"][-1]["effect"] == document["effect"]
    assert [one["name"] for one in document["slices"]] == ["plan=basic", "plan=plus", "plan=pro"]
    for side in ("candidate", "stable"):
        values = sum(one[f"{side}_values"] for one in document["slices"])
        all_of_them = next(one["values"] for one in document["versions"] if one["role"] == side)
        assert all_of_them - 10 <= values <= all_of_them  # answers before the split stood belong to no slice
    page, drawn = tmp_path / "page.html", tmp_path / "chart.svg"
    assert orc(home, capsys, monkeypatch, "ab", "churn", "--html", str(page), "--svg", str(drawn)).out == ""
    assert "plan=pro" in page.read_text()
    ElementTree.fromstring(drawn.read_text())


def test_what_is_no_experiment_is_refused_in_one_line(
    run: Run, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = orc(home, capsys, monkeypatch, "ab", "other")
    assert (other.code, "is of the kind canary" in other.err) == (4, True), other.err
    unknown = orc(home, capsys, monkeypatch, "ab", "nowhere")
    assert (unknown.code, "no release of nowhere was found" in unknown.err) == (4, True), unknown.err


def test_one_that_has_not_ended_is_told_from_its_last_state(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Installation(Settings.from_environment({"ORC_HOME": str(tmp_path)}))
    with pytest.raises(RunFailed):
        Runner(here).run(half_way, {"app": "third"}, RunOptions(on="local"))
    document = orc(tmp_path, capsys, monkeypatch, "ab", "third", "--json").document("ab")
    assert (document["state"], document["outcome"], document["effect"], document["power"]) == (
        "stopped", None, None, None,
    )  # fmt: skip
    assert "before each version has 20 values" in orc(tmp_path, capsys, monkeypatch, "ab", "third").out
