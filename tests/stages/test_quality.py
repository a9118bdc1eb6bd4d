"""Rules: each finds its rows, takes bad tables as failures in words, and says what it compared with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from orchestrator import CheckResult
from orchestrator.errors import ConfigError
from orchestrator.graph.context import StepContext, active
from stages import quality

TABLE = pa.table(
    {"origin": ["EWR", None, "JFK", "XXX"], "delay": [5.0, float("nan"), 2000.0, None], "id": [1, 2, 1, 3]}
)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def look(rule: Any, output: Any = TABLE, **arguments: Any) -> CheckResult:
    found: CheckResult = rule.check(output, arguments)
    return found


@pytest.mark.parametrize(
    ("rule", "failing"),
    [
        (quality.matches("origin", "[A-W]+"), [3]),
        (quality.compares("id", "<", "delay"), []),
        (quality.compares("id", ">=", "delay"), [0, 2]),
        (quality.holds("short", lambda t: pc.less(t["delay"], 10)), [1, 2]),
        (quality.holds("first", lambda t: np.arange(4) < 2), [2, 3]),
        (quality.references("origin", to="airports", its=["code"]), [3]),
    ],
)
def test_a_rule_finds_its_rows(rule: Any, failing: list[int]) -> None:
    found = look(rule, airports=pa.table({"code": pa.array(["EWR", "JFK"], pa.large_string())}))
    assert (found.passed, found.failed, found.checked) == (not failing, len(failing), 4)
    assert ([] if found.rows is None else found.rows.column("__row__").to_pylist()) == failing


@pytest.mark.parametrize(
    ("rule", "output", "told"),
    [
        (quality.not_null("dely"), TABLE, "Did you mean 'delay'"),
        (quality.in_range("origin", 0, 3), TABLE, "does not suit column 'origin', which holds string"),
        (quality.not_null("x"), 3, "The output is a int, not a table"),
        (quality.not_null("id", part="trian"), {"train": TABLE}, "Did you mean 'train'"),
        (quality.references("id", to="others"), TABLE, "no argument 'others'"),
        (quality.keeps_rows("before"), TABLE, "no argument 'before'"),
        (quality.fresh("id", "1d"), TABLE, "times are needed"),
        (quality.holds("h", lambda t: [True]), TABLE, "one a row is needed"),
        (quality.distribution("id", "before"), TABLE, "no argument 'before'"),
        (quality.columns(id="string", orign=None, extra=False), TABLE, "Did you mean 'origin'"),
    ],
)
def test_a_table_that_a_rule_does_not_suit_fails_it_in_words(rule: Any, output: Any, told: str) -> None:
    found = look(rule, output)
    assert not found.passed
    assert told in found.message


def test_columns_have_types_and_may_be_all() -> None:
    assert look(quality.columns(TABLE.schema, extra=False)).passed
    assert "'id' holds int64, not string" in look(quality.columns(id="string")).message
    assert "'delay' is not expected" in look(quality.columns(id=None, origin=None, extra=False)).message
    twice = pa.table([[1], [2]], names=["a", "a"])
    assert "2 columns 'a'" in look(quality.columns(a=None), twice).message


def test_an_empty_table_breaks_no_rule_about_rows() -> None:
    empty = TABLE.slice(0, 0)
    for rule in (quality.not_null("id"), quality.unique("id"), quality.in_range("delay", 0), quality.row_count(0)):
        assert look(rule, empty).passed
    assert not look(quality.row_count(1), empty).passed
    assert not look(quality.distribution("id", TABLE), empty).passed


def test_volume_is_measured_against_an_argument_or_a_part() -> None:
    assert look(quality.keeps_rows("before", low=0.5), before=pa.concat_tables([TABLE, TABLE])).passed
    found = look(quality.keeps_rows(".all", part="kept"), {"kept": TABLE.slice(1), "all": TABLE})
    assert (found.passed, found.message) == (False, "3 rows of 4 (0.75)")


@pytest.mark.parametrize(
    ("newest", "passed"),
    [
        (NOW - timedelta(hours=1), True),
        ((NOW - timedelta(hours=1)).replace(tzinfo=None), True),
        (NOW - timedelta(days=3), False),
        (NOW.date(), True),
        (None, False),
    ],
)
def test_freshness_is_measured_by_the_clock_of_the_step(newest: Any, passed: bool) -> None:
    kind = None if newest is not None else pa.timestamp("s")
    with active(StepContext("run", "load", clock=NOW.timestamp)):
        assert look(quality.fresh("at", "2h"), pa.table({"at": pa.array([newest, None], kind)})).passed is passed


@pytest.mark.parametrize("by_argument", [True, False])
def test_a_distribution_is_compared_with_its_reference(by_argument: bool) -> None:
    random = np.random.default_rng(3)
    then = pa.table({"x": random.normal(size=5000), "c": random.choice(["a", "b"], 5000)})
    moved = pa.table({"x": random.normal(2, size=5000), "c": random.choice(["a", "z"], 5000)})
    for column in ("x", "c"):
        rule = quality.distribution(column, "known" if by_argument else then)
        assert look(rule, then, known=then).message == "PSI 0.000"
        found = look(rule, moved, known=then)
        assert not found.passed
        assert float(found.message.removeprefix("PSI ")) > 1


def test_frames_of_pandas_are_tables() -> None:
    found = look(quality.not_null("a", severity="warn"), pd.DataFrame({"a": [1.0, None]}))
    assert (found.passed, found.failed) == (False, 1)


def test_at_most_a_thousand_failing_rows_are_kept() -> None:
    found = look(quality.in_range("x", high=0), pa.table({"x": list(range(5000))}))
    assert (found.failed, found.rows.num_rows) == (4999, 1000)


@pytest.mark.parametrize(
    "make",
    [
        lambda: quality.not_null("a", share=2),
        lambda: quality.not_null("a", severity="loud"),
        lambda: quality.fresh("a", "soon"),
        lambda: quality.columns(),
        lambda: quality.columns(a="number"),
        lambda: quality.compares("a", "~", "b"),
        lambda: quality.references(to="b"),
        lambda: quality.distribution("a", "b", most=0),
    ],
)
def test_a_rule_without_sense_is_refused(make: Any) -> None:
    with pytest.raises(ConfigError):
        make()
