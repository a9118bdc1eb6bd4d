"""Schemas of pandera as checks: the output in the form that the schema wants, and its report as a result.

Nothing is imported: who made the schema has loaded its library.
"""

from __future__ import annotations

from typing import Any

from orchestrator.backends.bundles.tables import as_table
from orchestrator.graph.quality import CheckResult, Conforms

KEPT_ROWS = 1_000
_SHOWN = 3


def conforms(check: Conforms, output: object) -> CheckResult:
    """Validate an output lazily, so that all that is wrong is found at once."""
    table = as_table(output)
    if table is None:
        return CheckResult(False, message=f"the output is a {type(output).__name__}, not a table")
    try:
        check.schema.validate(_frame(check.schema, table), lazy=True)
    except Exception as error:
        cases = getattr(error, "failure_cases", None)
        if cases is None:
            raise
        return _failed(table, cases)
    return CheckResult(True, table.num_rows)


def _frame(schema: Any, table: Any) -> Any:
    """The table as the kind of frame that a schema is for."""
    cls = schema if isinstance(schema, type) else type(schema)
    return table if any(".pyarrow" in base.__module__ for base in cls.__mro__) else table.to_pandas()


def _failed(table: Any, cases: Any) -> CheckResult:
    found = as_table(cases)
    if found is None:
        return CheckResult(False, table.num_rows, message=str(cases))
    entries = found.to_pylist()
    places = sorted({entry["index"] for entry in entries if isinstance(entry.get("index"), int)})
    said = [f"{_place(entry)}{entry.get('check')} ({entry.get('failure_case')!r})" for entry in entries[:_SHOWN]]
    more = f" and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else ""
    columns = {str(entry["column"]) for entry in entries if entry.get("column")}
    rows = table.take([place for place in places if place < table.num_rows][:KEPT_ROWS]) if places else None
    return CheckResult(
        False, table.num_rows, len(places), "; ".join(said) + more, columns.pop() if len(columns) == 1 else "", rows
    )


def _place(entry: dict[str, Any]) -> str:
    column = f"{entry['column']}: " if entry.get("column") else ""
    return f"{column}row {entry['index']}: " if isinstance(entry.get("index"), int) else column
