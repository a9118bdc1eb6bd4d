"""Models in the registry: what their runs say for and against them, what they were made of, and promotions of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator import pipeline, stage, step, when
from orchestrator.app.models import Models
from orchestrator.app.upkeep import collect
from orchestrator.app.versions import Versions
from orchestrator.config.retention import Policy, Retention
from orchestrator.errors import ConfigError, NotFound, PromotionRefused
from orchestrator.ports.promotion import GateCheck
from orchestrator.testing import InProcess


@dataclass
class Finding:
    check: str
    why: str


@dataclass
class Record:
    passed: bool
    findings: list[Finding]


@stage
def rows(n: int) -> list[int]:
    return list(range(n))


@stage
def other_rows() -> list[int]:
    return [1, 2, 3]


@stage
def fit(learned: list[int]) -> dict[str, Any]:
    step().report(auc=len(learned) / 10)
    return {"mean": sum(learned) / len(learned)}


@stage
def judge(model: dict[str, Any], held: list[int], least: float) -> Record:
    passed = model["mean"] >= least
    return Record(passed, [Finding("mean", "" if passed else f"mean {model['mean']} is below {least}")])


@stage(publish="model:mean")
def offer(model: dict[str, Any]) -> dict[str, Any]:
    return model


@pipeline
def making(n: int, least: float = 0.0) -> Any:
    model = fit(rows(n))
    offered = offer(model)
    judged = judge(model, other_rows(), least)
    return when(judged.passed, then=lambda: offered, otherwise=lambda: judged)


@pipeline
def careless(n: int) -> Any:
    return offer(fit(rows(n)))


@pytest.fixture
def here(tmp_path: Path) -> InProcess:
    return InProcess(tmp_path / "home")


@pytest.fixture
def models(here: InProcess) -> Models:
    return Models(here.installation)


def promote(models: Models, address: str, to: str, **given: Any) -> None:
    version, wanted = models.wanted(address, to, "ann", **given)
    models.promote(replace(wanted, checks=version.gates))


def test_a_version_goes_up_by_the_gates_of_its_run(here: InProcess, models: Models) -> None:
    good = here.run(making, n=4)
    here.run(making, n=6, least=99.0)
    here.run(careless, n=8)
    assert [(one.address, one.stage) for one in models.list("mean")] == [
        ("model:mean@v3", "dev"), ("model:mean@v2", "dev"), ("model:mean@v1", "dev"),
    ]  # fmt: skip
    assert models["mean@v1"].gates == [
        GateCheck("run", True, f"{good.id} succeeded"), GateCheck("judge", True, "mean"),
    ]  # fmt: skip
    promote(models, "mean@v1", "staging")
    promote(models, "mean@v1", "production", alias="champion", why="the first")
    with pytest.raises(PromotionRefused, match=r"v2 stays in dev: judge: mean 2\.5 is below 99\.0"):
        promote(models, "mean@v2", "staging")
    with pytest.raises(PromotionRefused, match=r"v3 stays in dev: gate: run .* has no gate"):
        promote(models, "mean@v3", "staging")
    with pytest.raises(PromotionRefused, match="is in production already"):
        models.wanted("mean@champion", "production", "ann")
    with pytest.raises(ConfigError, match="there is no stage 'prod'"):
        models.wanted("mean@v2", "prod", "ann")
    with pytest.raises(ConfigError, match="takes a reason"):
        models.wanted("mean@v2", "staging", "ann", force=True)
    promote(models, "mean@v2", "staging", force=True, why="a fire")
    assert [(one.number, one.to, one.forced, one.why) for one in models.promotions("mean")] == [
        (2, "staging", True, "a fire"), (1, "production", False, "the first"), (1, "staging", False, ""),
    ]  # fmt: skip
    assert models["mean@production"].row.tags == ("champion", "production")


def test_a_version_knows_what_it_was_made_of(here: InProcess, models: Models) -> None:
    run = here.run(making, n=4)
    found = models["mean"]
    assert found.metrics == {"auc": 0.4}  # of the step before
    made = found.lineage
    assert made is not None
    assert (made.run, made.pipeline, made.step, made.state) == (run.id, "making", "offer", "succeeded")
    assert made.params["n"] == "4"
    assert [(source.step, source.rows) for source in made.sources] == [("rows", 4)]  # not what it was judged by
    assert made.capsule
    assert len(made.hosts) == 1
    assert found.card_cell() is None


def test_what_outlives_its_run_stays_where_it_is_and_says_so(here: InProcess, models: Models) -> None:
    for n in (4, 6, 8):
        here.run(making, n=n)
        promote(models, "mean", "staging")
        promote(models, "mean", "production")
    assert models["mean@previous"].row.number == 2
    collect(here.installation, 0.0, False, Retention(Policy(keep_last=1), versions={"model:mean": Policy(keep_last=1)}))
    assert [one.row.number for one in models.list("mean")] == [3, 2]
    back = models["mean@previous"]
    assert (back.lineage, back.metrics) == (None, {})
    assert "was removed" in back.gates[0].said
    _, wanted = models.wanted("mean@previous", "production", "ann", why="v3 is slow")
    assert models.promote(wanted).replaced == 3
    assert [one.number for one in models.promotions("mean")] == [2, 3, 3, 2, 2, 1, 1]


def test_stages_are_no_tags_to_be_moved_by_hand(here: InProcess, models: Models) -> None:
    here.run(making, n=4)
    versions = Versions(here.installation)
    for tag in ("staging", "production", "previous", "dev"):
        with pytest.raises(ConfigError, match="only a promotion moves"):
            versions.tag("model:mean", tag)
        with pytest.raises(ConfigError, match="only a promotion moves"):
            versions.untag("model:mean", tag)
        with pytest.raises(ConfigError, match="only a promotion moves"):
            models.wanted("mean", "staging", "ann", alias=tag)
    assert versions.tag("model:mean", "champion").row.tags == ("champion",)
    with pytest.raises(NotFound, match="model:mean has v1"):
        models["mean@v7"]
    with pytest.raises(ConfigError, match="is a data set"):
        models["data:mean"]
