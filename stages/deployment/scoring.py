"""Scoring a table with a new model as far as it does no worse than the old one: a canary over rows instead of requests.

Nothing is handed out before all rows are scored, so rows of a model that is sent back are scored once more, by the old.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from orchestrator import stage, step
from orchestrator.errors import ConfigError
from orchestrator.serving import Canary, ClientTally, OutcomeTally, Release, StagedScoring, Tally, staged_scoring
from stages.columns import require_columns
from stages.deployment.predictor import model_to_payload
from stages.training import Model, ModelFile

AnyModel: TypeAlias = Model | ModelFile
Mask: TypeAlias = NDArray[np.bool_]


DEFAULT = Canary(steps=(10, 50, 100), min_samples=1000)
"""Rows are cheap, and at 100 % there is nothing left to compare with: more samples than a canary of requests takes."""

CANDIDATE, BASELINE, NOBODY = 0, 1, -1


@dataclass(frozen=True)
class Scored:
    """A scored table.

    Attributes:
        table: The rows in their order with two columns more: the prediction, and the version of the model that made
            it; both are null where neither model gave a number.
        record: What the guards saw, and what it came to.
    """

    table: pa.Table
    record: Release

    @property
    def passed(self) -> bool:
        """True if the candidate did as well as the baseline, to the end of the table."""
        return self.record.passed


@stage(timeout="6h")
def score_staged(
    table: pa.Table,
    candidate: Model | ModelFile,
    baseline: Model | ModelFile,
    canary: Canary | None = None,
    target: str | None = None,
    metric: str = "squared_error",
    key: str | None = None,
    batch_rows: int = 1000,
    prediction: str = "prediction",
    scored_by: str = "scored_by",
) -> Scored:
    """Score rows with a candidate in growing shares, and with the baseline where it may not or cannot.

    Rows come in an order that is random and always the same, so that a share is a sample of the table. A row that the
    candidate has no finite number for counts as its error, and is scored by the baseline. If a guard objects, or the
    table ends before the last step has its samples, the baseline scores all rows of the candidate again.

    Args:
        canary: Shares in percent, ``min_samples`` rows of the candidate for each step, limits; if not given,
            ``DEFAULT``. There is no time to bake, and nothing about single requests to limit.
        target: Column with what happened, where that is known: the squared error of each prediction is then the
            business metric that ``rollback_if="squared_error > 0.3"`` judges by.
        metric: What that metric is called.
        key: Column that says which rows belong together, such as a customer's: they go to the same model, and
            evidence counts them as far as they are worth.
        batch_rows: Rows between two looks of the guards.
        prediction, scored_by: What the new columns are called.

    Raises:
        ConfigError: both models are the same, a column is there already, or a condition is about single requests.
        NotFound, DataRejected: the table lacks an input of a model, the key or the target, or has one of the wrong
            type.
    """
    versions = [hashlib.blake2b(model_to_payload(model), digest_size=6).hexdigest() for model in (candidate, baseline)]
    if versions[0] == versions[1]:
        raise ConfigError("candidate and baseline are the same model, so there is nothing to compare")
    if batch_rows < 1:
        raise ConfigError(f"batch_rows={batch_rows} has to be 1 or more")
    _check_columns(table, candidate, baseline, [name for name in (target, key) if name], (prediction, scored_by))
    work = _Work(table, candidate, baseline, target, metric, key)
    state, here = staged_scoring(canary or DEFAULT), step()
    began_at = here.now()
    order = np.random.default_rng(0).permutation(table.num_rows)
    for start in range(0, table.num_rows, batch_rows):
        state = work.batch(state, order[start : start + batch_rows], here.now)
    id = hashlib.blake2b(here.key.encode(), digest_size=6).hexdigest()
    record = state.record(id, here.node, versions[0], versions[1], began_at, here.now())
    if not record.passed:
        work.take_back()
    by = pa.array([None if who < 0 else versions[who] for who in work.who], pa.string())
    values = pa.array(work.values, pa.float64(), mask=work.who < 0)
    return Scored(table.append_column(prediction, values).append_column(scored_by, by), record)


def _check_columns(
    table: pa.Table, candidate: AnyModel, baseline: AnyModel, needed: Sequence[str], new: Sequence[str]
) -> None:
    where = "The table given to score_staged"
    for model in (candidate, baseline):
        require_columns(table.column_names, model.features.inputs, where)
    require_columns(table.column_names, needed, where)
    taken = [name for name in new if name in table.column_names]
    if taken:
        raise ConfigError(f"{where} has a column {taken[0]!r} already; give the new one another name")


class _Work:
    """What is scored so far.

    Attributes:
        values: By row of the table.
        who: Which model made it: ``CANDIDATE``, ``BASELINE`` or ``NOBODY``.
    """

    def __init__(
        self, table: pa.Table, candidate: AnyModel, baseline: AnyModel, target: str | None, metric: str, key: str | None
    ) -> None:
        self._table, self._models, self._metric = table, (candidate, baseline), metric
        self.values = np.full(table.num_rows, np.nan)
        self.who = np.full(table.num_rows, NOBODY, dtype=np.int8)
        happened = None if target is None else pc.cast(table.column(target), pa.float64()).to_numpy()
        self._happened = happened
        self._keys = None if key is None else [str(value) for value in table.column(key).to_pylist()]
        named = [str(row) for row in range(table.num_rows)] if self._keys is None else self._keys
        self._places = np.array([_place(name) for name in named])

    def batch(self, state: StagedScoring, rows: NDArray[np.int64], now: Any) -> StagedScoring:
        """Score rows, and let the guards look."""
        began = perf_counter()
        chosen: Mask = self._places[rows] < state.share
        tallies = [self._score(model, rows[chosen == (model == CANDIDATE)]) for model in (CANDIDATE, BASELINE)]
        self._score_rest(rows)
        return state if state.why else state.after(tallies[0], tallies[1], now(), perf_counter() - began)

    def take_back(self) -> None:
        """The baseline scores what the candidate has scored."""
        rows = np.flatnonzero(self.who == CANDIDATE)
        self.who[rows] = NOBODY
        self._score_rest(rows)

    def _score_rest(self, rows: NDArray[np.int64]) -> None:
        """What the candidate could not score is the baseline's; that counts for neither."""
        left = rows[self.who[rows] == NOBODY]
        baseline = self._models[BASELINE]
        if len(left) and not self._keep(BASELINE, left, _predicted(baseline, self._table, left)).any():
            baseline.predict(self._table.take(pa.array(left)))  # fails for all of them: that is no matter of rows

    def _score(self, model: int, rows: NDArray[np.int64]) -> Tally:
        values = _predicted(self._models[model], self._table, rows)
        good = self._keep(model, rows, values)
        bad = int(len(rows) - good.sum())
        outcomes: dict[str, OutcomeTally] = {}
        if self._happened is not None:
            squares = (values - self._happened[rows]) ** 2
            known = squares[np.isfinite(squares)]
            if len(known):
                total, squared = float(known.sum()), float((known**2).sum())
                outcomes[self._metric] = OutcomeTally(
                    len(known), total, squared, float(known.min()), float(known.max())
                )
        return Tally(len(rows), bad, broken=bad, clients=self._clients(rows, good), outcomes=outcomes)

    def _clients(self, rows: NDArray[np.int64], good: Mask) -> dict[str, ClientTally]:
        found: dict[str, ClientTally] = {}
        for row, fine in zip(rows, good, strict=True) if self._keys is not None else ():
            name = self._keys[row] if self._keys is not None else ""
            had = found.get(name, ClientTally(0, 0, 0))
            found[name] = ClientTally(had.requests + 1, had.errors + (not fine), 0)
        return found

    def _keep(self, model: int, rows: NDArray[np.int64], values: NDArray[np.float64]) -> Mask:
        good: Mask = np.isfinite(values)
        self.values[rows[good]] = values[good]
        self.who[rows[good]] = model
        return good


def _predicted(model: AnyModel, table: pa.Table, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Predictions for rows; NaN for those that the model fails for, found by halving."""
    if not len(rows):
        return np.empty(0)
    try:
        values = np.asarray(model.predict(table.take(pa.array(rows))), dtype=np.float64)
    except Exception:  # whatever a model raises about a row is its failure to score it
        if len(rows) == 1:
            return np.array([np.nan])
        middle = len(rows) // 2
        return np.concatenate([_predicted(model, table, half) for half in (rows[:middle], rows[middle:])])
    if values.shape != (len(rows),):
        raise ConfigError(f"score_staged takes models that give one number for a row, not {values.shape[1:]}")
    return values


def _place(name: str) -> float:
    """Where rows of this key stand between 0 and 1; the candidate scores those below its share."""
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=7).digest(), "big") / 2**56
