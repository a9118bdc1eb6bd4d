"""How a model takes what real inputs do: noise, gaps, columns that are missing or have lost their meaning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from orchestrator import stage
from orchestrator.errors import ConfigError
from stages.columns import floats, set_column, set_numbers
from stages.errors import DataRejected
from stages.metrics import Judged, Metric
from stages.rows import rows_digest
from stages.training import Model, ModelFile
from stages.validation.judging import judged, metric_for
from stages.validation.record import Finding, found

Damage = Literal["noise", "nulls", "missing", "shuffled"]

DAMAGES: tuple[Damage, ...] = ("noise", "nulls", "missing", "shuffled")

_WORDS = {"noise": "noise on", "nulls": "nulls in", "missing": "without", "shuffled": "shuffled"}


@dataclass(frozen=True)
class Damaged:
    """The model on rows with one kind of damage.

    Attributes:
        column: The input damaged; ``all`` for all of them at once.
        value: The metric there; None if the model refused the rows, with ``refusal`` saying why.
        loss: How much worse that is than on the rows as they are, in units of the metric.
    """

    damage: Damage
    column: str
    value: float | None
    loss: float | None
    refusal: str | None


@dataclass(frozen=True)
class Robustness:
    """What ``stress`` returns: the worst of each kind first; its findings go to ``gate``."""

    metric: str
    undamaged: float | None
    cases: list[Damaged]
    findings: list[Finding]


@stage(cache="30d", timeout="30m")
def stress(
    model: Model | ModelFile,
    table: pa.Table,
    columns: Sequence[str] = (),
    damages: Sequence[Damage] = DAMAGES,
    noise: float = 0.1,
    nulls: float = 0.1,
    metric: str | None = None,
    max_loss: float | None = None,
    seed: int = 0,
) -> Robustness:
    """Damage the inputs and measure again.

    Args:
        columns: Inputs to damage one by one; all of the model's when not given.
        damages: ``noise`` on all numbers and ``nulls`` in all inputs at once; each input ``missing`` (null in every
            row) and ``shuffled`` (its values given to other rows).
        noise: Standard deviation of the noise, in standard deviations of the input.
        nulls: Share of the values that become null.
        max_loss: How much worse the metric may become; only measured when not given.

    Raises:
        NotFound: a column is missing.
        DataRejected: the target cannot be judged by, or an input is of the wrong type.
        ConfigError: a kind of damage, a column or the metric is not known.
    """
    if unknown := [damage for damage in damages if damage not in DAMAGES]:
        raise ConfigError(f"There is no damage {unknown}; there are {', '.join(DAMAGES)}")
    inputs = list(model.features.inputs)
    if strange := [name for name in columns if name not in inputs]:
        raise ConfigError(f"{strange} are no inputs of the model; these are {', '.join(inputs)}")
    of = metric_for(model, metric)
    rows, outcome = judged(model, table)
    before = of.function(outcome)
    random = np.random.default_rng(seed)
    cases = []
    for damage in damages:
        if damage in ("noise", "nulls"):
            damaged = _noisy(model, rows, noise, random) if damage == "noise" else _gappy(rows, inputs, nulls, random)
            cases.append(_case(model, damaged, damage, "all", of, outcome, before))
            continue
        for name in columns or inputs:
            column = rows.column(name)
            if damage == "missing":
                damaged = set_column(rows, name, pa.nulls(rows.num_rows, column.type))
            else:
                damaged = set_column(rows, name, column.take(pa.array(random.permutation(rows.num_rows))))
            cases.append(_case(model, damaged, damage, name, of, outcome, before))
    cases.sort(key=lambda case: (DAMAGES.index(case.damage), -np.inf if case.loss is None else -case.loss))
    digest = rows_digest(rows)
    findings = [_finding(cases, damage, of, max_loss, rows.num_rows, digest) for damage in dict.fromkeys(damages)]
    return Robustness(of.name, before, cases, findings)


def _noisy(model: Model | ModelFile, rows: pa.Table, noise: float, random: np.random.Generator) -> pa.Table:
    for name, kind in model.features.inputs.items():
        if kind == "number":
            values = floats(rows.column(name), name)
            spread = float(np.nanstd(values)) if not np.isnan(values).all() else 0.0
            rows = set_numbers(rows, name, values + random.normal(size=len(values)) * noise * spread)
    return rows


def _gappy(rows: pa.Table, inputs: Sequence[str], share: float, random: np.random.Generator) -> pa.Table:
    for name in inputs:
        column = rows.column(name).combine_chunks()
        kept = np.arange(rows.num_rows)
        rows = set_column(rows, name, column.take(pa.array(kept, mask=random.random(rows.num_rows) < share)))
    return rows


def _case(
    model: Model | ModelFile,
    rows: pa.Table,
    damage: Damage,
    column: str,
    of: Metric,
    outcome: Judged,
    before: float | None,
) -> Damaged:
    try:
        predictions = model.predict(rows)
    except DataRejected as error:
        return Damaged(damage, column, None, None, error.message)
    value = of.function(Judged(outcome.labels, predictions, outcome.groups))
    if value is None or before is None:
        return Damaged(damage, column, value, None, None)
    return Damaged(damage, column, value, (before - value) if of.greater_better else (value - before), None)


def _finding(
    cases: Sequence[Damaged], damage: Damage, of: Metric, limit: float | None, rows: int, digest: str
) -> Finding:
    own = [case for case in cases if case.damage == damage]
    refused = [case for case in own if case.refusal]
    worst = own[0] if own else None
    name = f"loss of {of.name}, {_WORDS[damage]} {worst.column if worst else 'nothing'}"
    why = f"the model refuses rows with {damage} {refused[0].column}: {refused[0].refusal}" if refused else None
    loss = None if refused or worst is None else worst.loss
    return found(name, loss, "<=", limit, rows, digest, why=why)
