"""Folds for cross-validation: at random, by class, by group, or forward in time; the same seed gives the same folds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.errors import ConfigError
from stages.columns import require_choice, require_columns, require_rows
from stages.errors import DataRejected
from stages.rows import Codes, group_codes

Folding = Literal["random", "stratified", "group", "time"]

FOLDINGS: tuple[Folding, ...] = ("random", "stratified", "group", "time")

Fold = tuple[Codes, Codes]
"""Positions of the rows to fit on, and of those to judge by."""


def make_folds(
    table: pa.Table, kind: Folding = "random", folds: int = 5, by: Sequence[str] = (), gap: int = 0, seed: int = 0
) -> list[Fold]:
    """Positions of training and test rows of each fold.

    Args:
        kind: ``random``; ``stratified`` keeps the shares of the values of ``by``; ``group`` keeps rows with equal
            ``by`` together; ``time`` orders rows by ``by``, fits on what came before and judges by the part after it.
        folds: Number of folds, 2 or more.
        by: Columns that ``stratified``, ``group`` and ``time`` need.
        gap: Rows left out between training and test of ``time``, so that lags do not reach over.

    Raises:
        NotFound: a column is missing.
        DataRejected: there are too few rows or groups, or the time column has gaps.
        ConfigError: the kind is not known, or its columns are missing.
    """
    where = "The table to fold"
    require_choice(kind, FOLDINGS, "The kind of folds")
    require_columns(table.column_names, by, where)
    require_rows(table, where)
    if folds < 2 or (kind != "random") != bool(by) or (kind == "time" and len(by) != 1):
        needs = {"random": "no column", "time": "one column"}.get(kind, "at least one column")
        raise ConfigError(f"{kind} folds need {needs} in by=…, and 2 folds or more, not {list(by)} and {folds}")
    if kind == "time":
        return _forward(table, by[0], folds, gap)
    codes = group_codes(table, by, where) if by else np.arange(table.num_rows)
    random = np.random.default_rng(seed)
    if kind == "stratified":
        shuffled = random.permutation(table.num_rows)
        ranked = shuffled[np.argsort(codes[shuffled], kind="stable")]
        assigned = np.empty(table.num_rows, dtype=np.int64)
        assigned[ranked] = np.arange(table.num_rows) % folds
    else:
        assigned = _balanced(np.bincount(codes), folds, random)[codes]
    if len(np.unique(assigned)) < folds:
        what = "groups" if kind == "group" else "rows"
        raise DataRejected(f"{where} has too few {what} for {folds} folds: {int(codes.max()) + 1}.")
    return [(np.flatnonzero(assigned != fold), np.flatnonzero(assigned == fold)) for fold in range(folds)]


def _balanced(sizes: Codes, folds: int, random: np.random.Generator) -> Codes:
    """Groups to folds, the largest first into the fold with the fewest rows."""
    order = random.permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    fold_of = np.empty(len(sizes), dtype=np.int64)
    if len(sizes) and sizes.max() == 1:
        fold_of[order] = np.arange(len(sizes)) % folds
        return fold_of
    filled = np.zeros(folds, dtype=np.int64)
    for group in order:
        fold_of[group] = int(np.argmin(filled))
        filled[fold_of[group]] += sizes[group]
    return fold_of


def _forward(table: pa.Table, column: str, folds: int, gap: int) -> list[Fold]:
    times = table.column(column)
    if times.null_count:
        raise DataRejected(f"{column!r} is missing in {times.null_count} rows; drop or fill them.", column=column)
    order = pc.sort_indices(times).to_numpy().astype(np.int64)
    rank = pc.rank(times, tiebreaker="min").to_numpy().astype(np.int64) - 1
    edges = [round(table.num_rows * (part + 1) / (folds + 1)) for part in range(folds + 1)]
    starts = [int(rank[order[min(edge, table.num_rows - 1)]]) for edge in edges[:-1]] + [table.num_rows]
    result = []
    for start, end in pairwise(starts):
        if start - gap < 1 or end <= start:
            raise DataRejected(f"{table.num_rows} rows in time are too few for {folds} folds with a gap of {gap}.")
        result.append((np.sort(order[: start - gap]), np.sort(order[start:end])))
    return result
