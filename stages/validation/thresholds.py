"""Where to draw the line between yes and no, from probabilities and what a mistake costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from orchestrator import stage
from orchestrator.errors import ConfigError
from stages.columns import require_choice
from stages.errors import DataRejected
from stages.validation.judging import AnyModel, judged, task_of

Goal = Literal["f1", "youden", "cost", "precision", "recall"]

GOALS: tuple[Goal, ...] = ("f1", "youden", "cost", "precision", "recall")


@dataclass(frozen=True)
class Threshold:
    """A line and what it does on the rows it was chosen on.

    Attributes:
        value: A row with at least this probability is a yes.
        chosen: Share of the rows that are a yes.
        cost: Mean cost of a row.
    """

    value: float
    precision: float
    recall: float
    chosen: float
    cost: float
    rows: int


@stage(cache="30d", timeout="10m")
def choose_threshold(
    model: AnyModel,
    table: pa.Table,
    goal: Goal = "f1",
    least: float | None = None,
    false_yes: float = 1.0,
    false_no: float = 1.0,
) -> Threshold:
    """Choose the threshold of a yes/no model on rows it has not seen; judge it on other rows again.

    Args:
        goal: Greatest ``f1`` or ``youden`` (recall of both classes), least ``cost``; or the greatest recall with at
            least so much ``precision``, or the greatest precision with at least so much ``recall``.
        least: The precision or recall wanted by the last two goals.
        false_yes, false_no: What the two mistakes cost.

    Raises:
        NotFound: a column is missing.
        DataRejected: the target cannot be judged by, or no threshold gives what is wanted.
        ConfigError: the model has other than two classes, the goal is not known, or ``least`` is missing.
    """
    require_choice(goal, GOALS, "The goal of a threshold")
    if task_of(model) != "binary":
        raise ConfigError(f"Only a yes/no model has a threshold; this one is {task_of(model)}")
    if (goal in ("precision", "recall")) == (least is None):
        raise ConfigError(f"The goal {goal!r} takes {'a' if least is None else 'no'} least=…")
    _, outcome = judged(model, table)
    order = np.argsort(-outcome.predictions, kind="stable")
    scores, labels = outcome.predictions[order], outcome.labels[order]
    ends = np.flatnonzero(np.append(np.diff(scores) != 0, True))
    yes = ends + 1.0
    hits, positives = np.cumsum(labels)[ends], labels.sum()
    precision, recall = hits / yes, hits / max(positives, 1)
    cost = (false_yes * (yes - hits) + false_no * (positives - hits)) / len(labels)
    specific = 1 - (yes - hits) / max(len(labels) - positives, 1)
    worth = {
        "f1": 2 * hits / (yes + positives),
        "youden": recall + specific,
        "cost": -cost,
        "precision": np.where(precision >= (least or 0), recall, -1.0),
        "recall": np.where(recall >= (least or 0), precision, -1.0),
    }[goal]
    best = int(np.argmax(worth))
    if goal in ("precision", "recall") and worth[best] < 0:
        reached = float((precision if goal == "precision" else recall).max())
        raise DataRejected(f"No threshold gives a {goal} of {least:g}; the most is {reached:.3f}.")
    return Threshold(
        value=float(scores[ends[best]]),
        precision=float(precision[best]),
        recall=float(recall[best]),
        chosen=float(yes[best] / len(labels)),
        cost=float(cost[best]),
        rows=len(labels),
    )
