"""A stage with ``scope=`` on one table: the table divided, the function called on the parts, the results put together.

The parts depend on the table alone, so the result is the same whether they are worked off here, by Ray Data, or came
as batches. Rows are cut by number. Groups are sorted by key (missing ones last) and keep their rows' order; no cut
goes through a group.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.errors import TableRejected
from orchestrator.graph.context import current
from orchestrator.graph.policy import Policy, Scope
from orchestrator.ports.data import Data, PartCall

PART_CELLS = 4_000_000
"""Values in a part: about 32 MB of numbers."""

PART_ROWS = (1_024, 262_144)
"""Fewest and most rows of a part, whatever number of columns the table has."""


class Divided:
    """The function of a stage with ``scope=``, to be called in its place.

    Args:
        function: The author's; its first parameter is the table.
        reference: Where the run's code has it; for Ray Data.
        merge: Makes one result of those of all parts; without one they are tables.
        data: Ray Data; None to work off the parts here.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        policy: Policy,
        reference: str = "",
        merge: Callable[[list[Any]], Any] | None = None,
        data: Data | None = None,
    ) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._policy = policy
        self._reference = reference
        self._merge = merge
        self._data = data

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The result for a table, or one in parts: a list of tables, or an iterator."""
        bound = inspect.signature(self._function).bind(*args, **kwargs)
        context = current()
        step = self._function.__name__ if context is None else context.address
        call = PartCall(
            self._reference, bound.args[1:], bound.kwargs, self._policy.scope, self._policy.by, step,
            self._policy.resources.num_cpus,
        )  # fmt: skip
        given = bound.args[0]
        if hasattr(type(given), "__next__") and call.scope == "rows" and self._merge is None:
            return (self._whole(table, call) for table in given)  # as they come
        if not isinstance(given, list | tuple) and not hasattr(type(given), "__next__"):
            return self._whole(_table(given, step), call)
        if call.scope != "rows":
            return self._whole(joined([_table(one, step) for one in given], f"{step} got"), call)
        results = [outcome for one in given for outcome in self._outcomes(_table(one, step), call)]
        return self._together(results, call)

    def _whole(self, table: pa.Table, call: PartCall) -> Any:
        return self._together(list(self._outcomes(table, call)), call)

    def _outcomes(self, table: pa.Table, call: PartCall) -> Iterator[Any]:
        parts = divided(table, call.scope, call.by, call.step)
        if self._data is not None and call.scope != "table":
            return self._data.map_parts(list(parts), call)
        return (outcome_of(self._function, part, call) for part in parts)

    def _together(self, outcomes: list[Any], call: PartCall) -> Any:
        if self._merge is None:
            return outcomes[0] if len(outcomes) == 1 else joined(outcomes, f"{call.step} made")
        if not outcomes:
            raise TableRejected(f"{call.step} got no batch at all, so there is nothing to merge")
        states = [state for outcome in outcomes for state in outcome] if call.scope == "groups" else outcomes
        return self._merge(states)


def outcome_of(function: Callable[..., Any], part: pa.Table, call: PartCall) -> Any:
    """What a call comes to on one part: the function's result, or for groups those of all groups.

    Raises:
        TableRejected: tables of several groups do not fit together.
    """
    if call.scope != "groups":
        return function(part, *call.rest, **call.named)
    found = [function(group, *call.rest, **call.named) for group in _groups(part, call.by, call.step)]
    return joined(found, f"{call.step} made") if all(isinstance(one, pa.Table) for one in found) else found


def divided(table: pa.Table, scope: Scope, by: Sequence[str], step: str) -> Iterator[pa.Table]:
    """Parts of a table; a table without rows is one.

    Raises:
        TableRejected: a key is missing, or is of a type that has no order.
    """
    rows = min(max(PART_CELLS // max(table.num_columns, 1), PART_ROWS[0]), PART_ROWS[1])
    if scope == "table" or (scope == "rows" and table.num_rows <= rows):
        yield table
        return
    if scope == "rows":
        for start in range(0, table.num_rows, rows):
            yield table.slice(start, rows)
        return
    codes = _key_codes(table, by, step)
    order = np.argsort(codes, kind="stable")
    if table.num_rows <= rows:
        yield _taken(table, order, step)
        return
    edges = [*_first_rows(codes[order]).tolist(), table.num_rows]
    start = 0
    for stop, following in zip(edges[1:], [*edges[2:], None], strict=True):
        if following is None or following - start > rows:
            yield _taken(table, order[start:stop], step)
            start = stop


def _taken(table: pa.Table, rows: Any, step: str) -> pa.Table:
    try:
        return table.take(pa.array(rows))
    except pa.ArrowNotImplementedError as error:  # views, which Parquet files of some writers come with
        raise TableRejected(f"{step} cannot put its table in order: {error}; cast such columns to string") from None


def _groups(part: pa.Table, by: Sequence[str], step: str) -> Iterator[pa.Table]:
    """Groups of a part, whose rows are in order of the key."""
    if not part.num_rows:
        yield part  # its columns tell those of the result
        return
    edges = [*_first_rows(_key_codes(part, by, step)).tolist(), part.num_rows]
    for start, stop in itertools.pairwise(edges):
        yield part.slice(start, stop - start)


def _first_rows(codes: Any) -> Any:
    """Positions at which a new group begins."""
    return np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]]))


def _key_codes(table: pa.Table, by: Sequence[str], step: str) -> Any:
    """A number for each row that orders the keys: by the first column, then the next, missing ones last."""
    codes = np.zeros(table.num_rows, dtype=np.int64)
    for name in by:
        ranks, count = _ranks(_key(table, name, step), name, step)
        codes = codes * count + ranks
        codes = np.unique(codes, return_inverse=True)[1] if len(by) > 1 else codes
    return codes


def _key(table: pa.Table, name: str, step: str) -> Any:
    found = [place for place, other in enumerate(table.column_names) if other == name]
    if len(found) != 1:
        close = get_close_matches(name, table.column_names, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise TableRejected(
            f"{step} goes by {name!r}, and its table has {'no' if not found else 'several'} such column"
            f"{'' if not found else 's'}.{hint} It has: {', '.join(table.column_names[:30])}.",
            column=name,
        )
    return table.column(found[0])


def _ranks(column: Any, name: str, step: str) -> tuple[Any, int]:
    """The place of each value among the different ones, and how many those are."""
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    if pa.types.is_floating(column.type):
        column = pc.add(pc.cast(column, pa.float64()), 0.0)  # -0.0 is 0.0
    try:
        encoded = pc.dictionary_encode(column.combine_chunks(), null_encoding="encode")
        order = pc.sort_indices(encoded.dictionary)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowTypeError):
        raise TableRejected(
            f"{step} goes by {name!r}, which holds {column.type}: that has no order. Go by numbers, text or times.",
            column=name,
        ) from None
    places = np.empty(len(order), dtype=np.int64)
    places[order.to_numpy()] = np.arange(len(order))
    indices = encoded.indices.to_numpy(zero_copy_only=False)
    return places[indices] if len(indices) else np.zeros(0, dtype=np.int64), max(len(order), 1)


def joined(tables: Sequence[Any], where: str) -> pa.Table:
    """Tables one after the other; a column that holds nothing but nulls takes the type that it has elsewhere.

    Args:
        where: Beginning of a message: ``clean[0] made``.

    Raises:
        TableRejected: there is none, one is no table, or their columns differ; names part, column and types.
    """
    for place, table in enumerate(tables):
        if not isinstance(table, pa.Table):
            raise TableRejected(
                f"{where} a {type(table).__name__} as part {place}; without merge= a stage with scope= returns tables"
            )
    if not tables:
        raise TableRejected(f"{where} no batch at all: what columns there would be is not known")
    first = tables[0]
    types = {field.name: field.type for field in first.schema}
    for place, table in enumerate(tables):
        if table.column_names != first.column_names:
            raise TableRejected(f"{where} parts with different columns: {_difference(first, table, place)}")
        for field in table.schema:
            known = types[field.name]
            if pa.types.is_null(known):
                types[field.name] = field.type
            elif field.type != known and not pa.types.is_null(field.type):
                raise TableRejected(
                    f"{where} column {field.name!r} as {known} first and as {field.type} in part {place}; cast it to "
                    "one type in the stage",
                    column=field.name,
                )
    schema = pa.schema([(name, types[name]) for name in first.column_names], first.schema.metadata)
    return pa.concat_tables([table if table.schema == schema else table.cast(schema) for table in tables])


def _difference(first: pa.Table, other: pa.Table, place: int) -> str:
    missing = [name for name in first.column_names if name not in other.column_names]
    added = [name for name in other.column_names if name not in first.column_names]
    told = [f"{word} {', '.join(map(repr, names))}" for word, names in (("lacks", missing), ("adds", added)) if names]
    return f"part {place} {' and '.join(told) or 'has them in another order'}, compared with part 0"


def _table(value: Any, step: str) -> pa.Table:
    if not isinstance(value, pa.Table):
        raise TableRejected(f"{step} divides a pyarrow.Table, and its first argument is a {type(value).__name__}")
    return value
