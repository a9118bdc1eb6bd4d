"""A model against the champion on the same rows: the gain with its interval, and McNemar's test for decisions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from orchestrator import stage
from orchestrator.errors import ConfigError
from stages.columns import Floats
from stages.metrics import Judged
from stages.rows import rows_digest
from stages.validation.judging import RESAMPLES, AnyModel, draw_indexes, judged, metric_for, percentiles, task_of
from stages.validation.record import Finding, found


@dataclass(frozen=True)
class Duel:
    """Both models on the same rows.

    Attributes:
        gain: How much better the challenger is, in units of the metric; above 0 is better whatever its direction.
        low, high: 95 % interval of the gain, by resampling rows (or groups of them) for both at once.
        only_challenger, only_champion: Rows that only one of them decides rightly; None for a regression.
        p_value: McNemar's exact test that the two decide rightly equally often; None for a regression.
    """

    metric: str
    challenger: float | None
    champion: float | None
    gain: float | None
    low: float | None
    high: float | None
    only_challenger: int | None
    only_champion: int | None
    p_value: float | None
    finding: Finding


@stage(cache="30d", timeout="30m")
def duel(
    challenger: AnyModel,
    champion: AnyModel,
    table: pa.Table,
    metric: str | None = None,
    margin: float = 0.0,
    cluster: Sequence[str] = (),
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Duel:
    """Compare two models of one target; the finding wants the whole interval of the gain above the margin.

    Args:
        metric: What to compare by; the main one of the task when not given.
        margin: Least gain; negative to accept a model that is not worse by more.
        cluster: Columns of rows that belong together.

    Raises:
        NotFound: a column is missing.
        DataRejected: the target cannot be judged by, or an input is of the wrong type.
        ConfigError: the models predict different things, or the metric is not known.
    """
    if (challenger.target, task_of(challenger)) != (champion.target, task_of(champion)):
        raise ConfigError(
            f"The challenger predicts {challenger.target!r} ({task_of(challenger)}) and the champion "
            f"{champion.target!r} ({task_of(champion)}); they cannot be compared."
        )
    of = metric_for(challenger, metric)
    rows, mine = judged(challenger, table, cluster)
    others = judged(champion, table, cluster)[1]
    sign = 1.0 if of.greater_better else -1.0
    gains = []
    for index, groups in draw_indexes(mine.labels, mine.groups, of.stratified, resamples, seed):
        values = [of.function(Judged(m.labels[index], m.predictions[index], groups)) for m in (mine, others)]
        if values[0] is not None and values[1] is not None:
            gains.append(sign * (values[0] - values[1]))
    low, high = percentiles(gains)
    own, other = of.function(mine), of.function(others)
    gain = None if own is None or other is None else sign * (own - other)
    counts, p_value = _decisions(task_of(challenger), mine, others)
    name = f"gain in {of.name} over the champion, surely"
    finding = found(name, low, ">", margin, rows.num_rows, rows_digest(rows), low, high)
    return Duel(of.name, own, other, gain, low, high, *counts, p_value, finding)


def _decisions(task: str, mine: Judged, others: Judged) -> tuple[tuple[int | None, int | None], float | None]:
    if task == "regression":
        return (None, None), None
    right, other_right = (_decided(task, rows.predictions) == rows.labels for rows in (mine, others))
    only, only_other = int((right & ~other_right).sum()), int((other_right & ~right).sum())
    return (only, only_other), mcnemar(only, only_other)


def _decided(task: str, predictions: Floats) -> Floats:
    chosen = predictions >= 0.5 if task == "binary" else np.argmax(predictions, axis=1)
    return np.asarray(chosen, dtype=np.float64)


def mcnemar(one: int, other: int) -> float:
    """The two-sided exact p-value of McNemar's test from the numbers of rows that only one side got right."""
    total = one + other
    logs = [
        math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1) for k in range(min(one, other) + 1)
    ]
    return min(1.0, 2 * math.fsum(math.exp(value - total * math.log(2)) for value in logs))
