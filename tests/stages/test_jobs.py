"""The shipped jobs on all their real data: what they score beside their baselines, and what their gates say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from orchestrator.config.job import load_job
from orchestrator.errors import ConfigError
from orchestrator.testing import InProcess
from stages.columns import set_column
from stages.errors import DataRejected
from stages.ingestion import dataset
from stages.pipelines.demand import add_clock, with_past
from stages.pipelines.outcome import Outcome
from stages.pipelines.reviews import add_tone
from stages.training import ColumnModel
from stages.validation import check_bias

CONFIGS = Path(__file__).parents[2] / "configs"


def run(name: str, datasets: Path, *changes: str) -> Outcome:
    job = load_job(str(CONFIGS / f"{name}.yaml"), [f"directory={datasets}", *changes])
    result: Outcome = job.pipeline(**job.params)
    return result


def beside(outcome: Outcome) -> dict[str, tuple[float, float]]:
    return {score.metric: (round(score.model or -1, 2), round(score.baseline or -1, 2)) for score in outcome.scores}


def test_credit_beats_income_and_debts_in_every_large_purpose_and_state(datasets: Path) -> None:
    outcome = run("credit", datasets)
    assert outcome.gate.passed, outcome.gate.reasons
    assert outcome.rows == 3_000
    assert beside(outcome)["auc"] == (0.80, 0.62)
    judged = [finding.check for finding in outcome.gate.findings if finding.check.startswith("auc of")]
    assert {"auc of loan_purpose debt_consolidation", "auc of state CA"} <= set(judged)
    assert {next(iter(piece.where)) for piece in outcome.slices} == {"loan_purpose", "state"}
    assert sum(piece.measured.rows for piece in outcome.slices) == 2 * outcome.rows
    assert "gain +0.18" in str(outcome)


def test_mortgages_are_denied_three_times_as_often_and_the_model_is_refused(datasets: Path, tmp_path: Path) -> None:
    here = InProcess(tmp_path)
    job = load_job(str(CONFIGS / "mortgages.yaml"), [f"directory={datasets}"])
    refused = here.run(job.pipeline, **job.params)
    (fact,) = [entry.fact for entry in refused.events() if type(entry.fact).__name__ == "RunFinished"]
    assert (fact.state, fact.outcome) == ("succeeded", "refused")
    outcome = refused.result()
    assert beside(outcome)["auc"] == (0.82, 0.65)
    data, decisions = outcome.bias.data, outcome.bias.decisions
    assert (round(data.group, 3), round(data.others, 3)) == (0.283, 0.093)
    assert decisions.difference > data.difference, "the model has no column for it, and makes it worse"
    assert decisions.ratio is not None
    assert 0.7 < decisions.ratio < 0.8
    assert outcome.gate.reasons == [f"ratio of afam yes to others in good decisions {decisions.ratio:.3f} is below 0.8"]
    assert here.installation.registry.versions("model:mortgages") == []

    passed = here.run(job.pipeline, **{**job.params, "min_ratio": None})
    assert passed.result().gate.passed
    assert [version.number for version in here.installation.registry.versions("model:mortgages")] == [1]


@pytest.mark.parametrize(("name", "rows", "mae"), [("demand", 4_416, (0.22, 0.27)), ("calls", 4_901, (15.69, 21.16))])
def test_demand_beats_the_same_time_last_week(name: str, rows: int, mae: tuple[float, float], datasets: Path) -> None:
    outcome = run(name, datasets)
    assert outcome.gate.passed, outcome.gate.reasons
    assert outcome.rows == rows
    assert beside(outcome)["mae"] == mae
    (late,) = [finding for finding in outcome.gate.findings if "in time" in finding.check]
    assert (late.measured, late.passed) == (0.0, True)


def test_no_forecast_knows_the_day_before_it(datasets: Path) -> None:
    series = add_clock(dataset("fpp2", "elecdemand", directory=str(datasets)).slice(0, 4_000), None, "2014-01-01", 1800)
    observed = ["Temperature"]
    rows, columns = with_past(series, "Demand", 48, 336, observed)
    changed_from = 3_000
    later = np.arange(series.num_rows) >= changed_from
    changed = series
    for name in ("Demand", "Temperature"):
        other = pc.if_else(pa.array(later), pc.add(series.column(name), 100.0), series.column(name))
        changed = set_column(changed, name, other)
    others, _ = with_past(changed, "Demand", 48, 336, observed)
    known = changed_from + 48
    assert rows.select(columns).slice(0, known) == others.select(columns).slice(0, known)
    assert rows.select(columns).slice(known, 1) != others.select(columns).slice(known, 1), "this row may see the change"


def test_reviews_beat_a_list_of_plain_words(datasets: Path) -> None:
    outcome = run("reviews", datasets)
    assert outcome.gate.passed, outcome.gate.reasons
    assert beside(outcome) == {"accuracy": (0.79, 0.75), "auc": (0.86, 0.77), "brier": (0.15, 0.18)}
    assert {piece.name for piece in outcome.slices} == {"length short", "length medium", "length long"}


def test_a_gate_refuses_what_is_not_good_enough(datasets: Path) -> None:
    outcome = run("calls", datasets, "trees=1")
    assert not outcome.gate.passed
    assert any("saved" in reason for reason in outcome.gate.reasons)


def test_a_clock_needs_a_start_and_a_direction() -> None:
    table = pa.table({"x": [1.0, 2.0, 3.0], "at": ["a", "b", "c"]})
    times = add_clock(table, None, "2014-01-01T23:30:00", 1800)
    assert [str(time) for time in times.column("time").to_pylist()][-1] == "2014-01-02 00:30:00"
    assert [str(day) for day in times.column("day").to_pylist()] == ["2014-01-01", "2014-01-02", "2014-01-02"]
    with pytest.raises(ConfigError, match="'noon' is no time"):
        add_clock(table, None, "noon", 1800)
    with pytest.raises(ConfigError, match="every_s=0"):
        add_clock(table, None, "2014-01-01", 0)
    with pytest.raises(DataRejected, match="'at' holds string"):
        add_clock(table, "at")


def test_tone_counts_words_of_both_kinds() -> None:
    table = pa.table({"review": ["Great, great taste!", "awful", None, "it is tea"]})
    assert add_tone(table, "review", ["great"], ["awful"]).column("tone").to_pylist() == [
        0.75,
        pytest.approx(1 / 3),
        0.5,
        0.5,
    ]


def groups(**columns: Any) -> pa.Table:
    return pa.table({"who": ["a"] * 4 + ["b"] * 6, **columns})


def test_bias_is_the_difference_and_the_ratio_of_rates() -> None:
    table = groups(bad=[1, 1, 0, 0, 1, 0, 0, 0, 0, 0], said=[0.9, 0.8, 0.7, 0.1, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1])
    model = ColumnModel("said", "bad", [0.0, 1.0])
    bias = check_bias(model, table, by="who", group="a", min_ratio=0.8)
    assert (bias.name, bias.rows, bias.other_rows, bias.threshold) == ("who a", 4, 6, 0.7)
    assert (bias.data.group, round(bias.data.others, 4)) == (0.5, 0.1667)
    assert (bias.decisions.group, bias.decisions.others) == (0.75, 0.0)
    assert (bias.decisions.ratio, bias.wrongly.group, bias.wrongly.others) == (0.25, 0.5, 0.0)
    assert [finding.passed for finding in bias.findings] == [True, True, True, False]
    at_half = check_bias(model, table, by="who", group="a", threshold=0.95, max_difference=0.1)
    assert (at_half.decisions.difference, at_half.decisions.ratio) == (0.0, 1.0)
    assert all(finding.passed for finding in at_half.findings)


def test_bias_needs_two_outcomes_and_two_groups() -> None:
    table = groups(bad=[1, 0] * 5, said=[0.5] * 10)
    with pytest.raises(DataRejected, match="has no group 'c' beside others"):
        check_bias(ColumnModel("said", "bad", [0.0, 1.0]), table, by="who", group="c")
    with pytest.raises(ConfigError, match="yes/no decisions; this model is regression"):
        check_bias(ColumnModel("said", "bad"), table, by="who", group="a")


def test_predictions_of_a_column_have_no_gaps() -> None:
    with pytest.raises(DataRejected, match="'said' is to predict 'bad', and is missing in row 1"):
        ColumnModel("said", "bad").predict(pa.table({"said": [1.0, None], "bad": [1.0, 2.0]}))
