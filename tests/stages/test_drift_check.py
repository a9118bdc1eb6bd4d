"""Drift as a check: summer against September is found, halves of the same rows are not, small or large."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from orchestrator import Run, pipeline
from orchestrator.errors import ConfigError, NotFound
from orchestrator.graph import fact as f
from orchestrator.testing import InProcess
from stages.errors import DataRejected
from stages.monitoring import DriftCheck, NoDrift, check_drift
from stages.pipelines.flights import NUMBERS, OUTCOMES, SCHEDULE

COLUMNS = ["carrier", "origin", "distance", *OUTCOMES]


@pipeline
def watched(september: pa.Table, july: pa.Table) -> DriftCheck:
    return check_drift(september, july, columns=COLUMNS, name="September")


@pipeline
def guarded(september: pa.Table, july: pa.Table) -> DriftCheck:
    check = check_drift.options(checks=[NoDrift(severity="block")])
    return check(september, july, columns=COLUMNS, name="September")


def test_september_has_drifted_from_july(months: Sequence[pa.Table]) -> None:
    july, september = months[3], months[4]
    found = check_drift(september, july, columns=[*SCHEDULE, *NUMBERS, *OUTCOMES], name="September")
    moved = {finding.size.column: finding for finding in found.moved}
    assert found.drifted
    assert {"dep_delay", "arr_delay", "temp"} <= set(moved)
    assert moved["dep_delay"].size.mean_reference == pytest.approx(21.7, abs=1)
    assert moved["dep_delay"].size.mean_current == pytest.approx(6.7, abs=1)
    assert moved["dep_delay"].p_value < 1e-100
    assert {"carrier", "origin", "distance"}.isdisjoint(moved)  # other flights, but hardly so
    assert [finding.drifted for finding in found.findings] == sorted(
        (one.drifted for one in found.findings), reverse=True
    )
    assert "dep_delay" in str(found)


def drawn(generator: np.random.Generator, rows: int) -> pa.Table:
    """Numbers of several shapes, with ties and gaps, categories of which many are rare, and flags."""
    delays: Any = np.round(generator.exponential(20, rows) - 10)
    gaps = generator.random(rows) < 0.1
    return pa.table({
        "normal": generator.normal(size=rows),
        "delay": pa.array(delays, mask=gaps),
        "heavy": generator.standard_cauchy(rows),
        "zeros": np.where(generator.random(rows) < 0.7, 0.0, generator.random(rows)),
        "flag": generator.random(rows) < 0.03,
        "place": [f"p{value}" for value in np.minimum(generator.zipf(1.6, rows), 400)],
    })  # fmt: skip


@pytest.mark.parametrize("rows", [60, 250, 2_000])
def test_rows_of_one_distribution_pass_as_often_as_promised(rows: int) -> None:
    generator, tables, certainty = np.random.default_rng(rows), 150, 0.95
    alarms = certain = 0
    for _ in range(tables):
        then, now = drawn(generator, rows), drawn(generator, rows * 2 // 3)
        found = check_drift(now, then, certainty=certainty)
        certain += min(one.p_value for one in found.findings) <= 1 - certainty  # however small what moved
        alarms += found.drifted
    assert alarms <= certain <= stats.binom.isf(1e-4, tables, 1 - certainty)


def test_halves_of_real_rows_pass(months: Sequence[pa.Table]) -> None:
    generator, july = np.random.default_rng(7), months[3]
    alarms = 0
    for size in (40, 300, july.num_rows // 2) * 10:
        order = generator.permutation(july.num_rows)
        now, then = july.take(order[:size]), july.take(order[size : 2 * size])
        alarms += check_drift(now, then, columns=[*SCHEDULE, *NUMBERS, *OUTCOMES]).drifted
    assert alarms <= stats.binom.isf(1e-4, 30, 0.01)


@pytest.mark.parametrize("change", ["mean", "spread", "gaps", "category", "flag"])
def test_each_kind_of_change_is_found_in_its_column_alone(change: str) -> None:
    generator = np.random.default_rng(3)
    then, now = drawn(generator, 1_000), drawn(generator, 1_000)
    rows = np.arange(1_000)
    column: Any
    name, column = {
        "mean": ("normal", pa.array(generator.normal(0.5, 1, 1_000))),
        "spread": ("normal", pa.array(generator.normal(0, 2, 1_000))),
        "gaps": ("delay", pa.array(np.round(generator.exponential(20, 1_000) - 10), mask=rows % 2 == 0)),
        "category": ("place", pa.array(["new" if row % 5 == 0 else f"p{row % 3}" for row in rows])),
        "flag": ("flag", pa.array(rows % 4 == 0)),
    }[change]
    now = now.set_column(now.column_names.index(name), name, column)
    assert [finding.size.column for finding in check_drift(now, then).moved] == [name]


def test_what_moved_is_a_warning_of_the_run(months: Sequence[pa.Table], tmp_path: Path) -> None:
    run = InProcess(tmp_path).run(watched, september=months[4], july=months[3])
    assert run.state == "succeeded"
    (outcome,) = _outcomes(run)
    assert (outcome.name, outcome.kind, outcome.state) == ("no drift", "drift", "warned")
    assert (outcome.checked, outcome.failed) == (len(COLUMNS), 2)
    assert outcome.message.startswith("September: 2 of 5 columns drifted: ")
    assert re.search(r"dep_delay \(PSI 0\.\d\d, KS 0\.\d\d, mean 2\d\.\d+ → 6\.\d+\)", outcome.message)
    (report,) = run["check_drift"].checks
    assert report.rows.column("column").to_pylist() == ["arr_delay", "dep_delay"]
    calm = InProcess(tmp_path).run(watched, september=months[3], july=months[3])
    assert [one.state for one in _outcomes(calm)] == ["passed"]


def test_drift_can_stop_a_run(months: Sequence[pa.Table], tmp_path: Path) -> None:
    run = InProcess(tmp_path).start(guarded, september=months[4], july=months[3])
    run.wait()
    assert run.state == "failed"
    assert [one.state for one in _outcomes(run)] == ["failed"]


def _outcomes(run: Run) -> list[Any]:
    return [one for event in run.events() if isinstance(event.fact, f.ChecksReported) for one in event.fact.results]


def test_what_cannot_be_compared_is_refused() -> None:
    one = pa.table({"a": [1], "at": pa.array([0], pa.timestamp("s"))})
    with pytest.raises(NotFound, match="The table 'July' of check_drift has no column 'b'"):
        check_drift(one, pa.table({"b": [1]}), name="July")
    with pytest.raises(DataRejected, match="0 columns of numbers or text"):
        check_drift(one, one.select(["at"]))
    with pytest.raises(ConfigError, match="certainty=1"):
        check_drift(one, one, certainty=1)
    assert [finding.size.column for finding in check_drift(one, one).findings] == ["a"]
