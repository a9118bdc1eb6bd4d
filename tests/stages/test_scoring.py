"""A table scored by a new model in growing shares, and by the old one where the guards or a row say so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from orchestrator.errors import ConfigError, NotFound
from stages.deployment import Canary, Scored, score_staged
from stages.errors import DataRejected
from stages.training import Model
from tests.stages.churners import customers, learn

STEPS = Canary(steps=(10, 50, 100), min_samples=100, min_outcomes=100)
ROWS = 4000


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return customers(ROWS, seed=7)


@pytest.fixture(scope="module")
def good() -> Model:
    return learn(customers(600, seed=2))


@pytest.fixture(scope="module")
def old() -> Model:
    return learn(customers(300, seed=1), 0.8)


def by(scored: Scored) -> list[str | None]:
    return scored.table.column("scored_by").to_pylist()


def agree(scored: Scored, who: str | None, model: Model) -> None:
    """What a model is said to have scored is what it predicts."""
    rows = np.flatnonzero(np.array(by(scored), dtype=object) == who)
    mine = scored.table.take(pa.array(rows))
    assert mine.column("prediction").to_numpy() == pytest.approx(model.predict(mine.drop_columns(["prediction"])))


def test_a_good_model_takes_over_in_growing_shares(table: pa.Table, good: Model, old: Model) -> None:
    limits = replace(STEPS, rollback_if="squared_error > 0.4")
    scored = score_staged(table, good, old, canary=limits, target="left", batch_rows=500)
    assert (scored.passed, scored.record.cause) == (True, "baked"), scored.record.text()
    assert [moment.weight for moment in scored.record.trail.moments][:4] == [10, 10, 10, 50] or scored.record.step == 2
    assert scored.table.select(table.column_names).equals(table)
    new, first = scored.record.candidate, scored.record.stable
    assert set(by(scored)) == {new, first}
    assert 0.5 < by(scored).count(new) / ROWS < 0.9
    agree(scored, new, good)
    agree(scored, first, old)
    again = score_staged(table, good, old, canary=limits, target="left", batch_rows=500)
    assert again.table.equals(scored.table)


def test_a_worse_model_is_found_by_what_happened_and_none_of_its_rows_stay(
    table: pa.Table, good: Model, old: Model
) -> None:
    turned = table.set_column(4, "left", pa.array(1 - table.column("left").to_numpy()))
    contrary = learn(turned)
    limits = replace(STEPS, rollback_if="squared_error > 0.3")
    scored = score_staged(table, contrary, old, canary=limits, target="left", batch_rows=500)
    assert (scored.passed, scored.record.cause) == (False, "guard")
    assert "squared_error > 0.3" in scored.record.why
    assert scored.record.samples < ROWS / 2
    assert set(by(scored)) == {scored.record.stable}
    agree(scored, scored.record.stable, old)


def test_a_model_that_fails_is_found_at_once(table: pa.Table, old: Model) -> None:
    for text in ("no coefficients", old.text.replace('"intercept":', '"intercept": NaN, "was":')):
        broken = replace(old, text=text)
        scored = score_staged(table, broken, old, canary=STEPS, batch_rows=200)
        assert (scored.passed, scored.record.cause) == (False, "guard"), scored.record.text()
        assert scored.record.samples <= 60
        assert set(by(scored)) == {scored.record.stable}


def test_rows_that_the_candidate_cannot_score_are_the_baselines(table: pa.Table, good: Model, old: Model) -> None:
    patient = replace(STEPS, compare=())
    income = table.column("income").to_numpy().copy()
    income[::400] = np.nan  # neither model has an answer without an income
    gaps = table.set_column(0, "income", pa.array(income))
    scored = score_staged(gaps, good, old, canary=patient, batch_rows=500)
    assert scored.passed, scored.record.text()
    assert np.flatnonzero([who is None for who in by(scored)]).tolist() == list(range(0, ROWS, 400))
    assert scored.table.column("prediction").null_count == ROWS // 400


def test_rows_of_one_key_go_to_one_model_and_a_small_table_promotes_nothing(
    table: pa.Table, good: Model, old: Model
) -> None:
    keyed = table.append_column("customer", pa.array([f"c{row // 20}" for row in range(ROWS)]))
    once = replace(STEPS, steps=(50, 100), min_samples=10_000)
    small = score_staged(keyed, good, old, canary=once, key="customer", batch_rows=500)
    assert (small.passed, small.record.cause) == (False, "no_data")
    assert "rows at step 1 when the table ended" in small.record.why
    assert set(by(small)) == {small.record.stable}
    half = score_staged(keyed, good, old, canary=replace(once, min_samples=500), key="customer", batch_rows=ROWS // 2)
    assert half.passed, half.record.text()
    order = np.random.default_rng(0).permutation(ROWS)[: ROWS // 2]
    models: dict[int, set[str | None]] = {}
    for row in order:
        models.setdefault(row // 20, set()).add(by(half)[row])
    assert {len(who) for who in models.values()} == {1}


def test_an_empty_table_and_what_cannot_be_compared(table: pa.Table, good: Model, old: Model) -> None:
    empty = score_staged(table.slice(0, 0), good, old, canary=STEPS)
    assert (empty.table.num_rows, empty.record.cause) == (0, "no_data")
    with pytest.raises(ConfigError, match="the same model"):
        score_staged(table, old, old)
    with pytest.raises(ConfigError, match="about single requests"):
        score_staged(table, good, old, canary=Canary(rollback_if="p95_ms > 80"))
    with pytest.raises(ConfigError, match="a column 'left' already"):
        score_staged(table, good, old, prediction="left")
    with pytest.raises(NotFound, match="income"):
        score_staged(table.drop_columns(["income"]), good, old)
    with pytest.raises(DataRejected, match="income"):
        score_staged(table.set_column(0, "income", pa.array(["much"] * ROWS)), good, old)
