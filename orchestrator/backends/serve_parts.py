"""Captured requests as tables: typed rows of the inputs with what was answered, and apart what is no such row."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.backends.serve_capture import Sample
from orchestrator.backends.serve_choice import SEPARATOR

_TYPES: Mapping[str, pa.DataType] = {
    "text": pa.string(),
    "number": pa.float64(),
    "time": pa.timestamp("us"),
    "numbers": pa.list_(pa.float64()),
}
_WANTED = {
    "text": "text",
    "number": "a finite number",
    "time": "an ISO time without a zone",
    "numbers": "a list of finite numbers",
}
_ANSWER = pa.schema([
    ("answer_id", pa.string()),
    ("answer_row", pa.int32()),
    ("answer_at", pa.timestamp("us", "UTC")),
    ("answer_version", pa.string()),
    ("answer_model", pa.string()),
    ("answer_ms", pa.float64()),
])  # fmt: skip
_GIVEN = pa.schema([
    ("answer_value", pa.float64()), ("answer_label", pa.string()), ("answer_json", pa.string())
])  # fmt: skip
_APART = pa.schema([("answer_status", pa.int32()), ("error", pa.string()), ("asked", pa.string())])
_MOST_CHARS = 64 * 1024


def tables(samples: Sequence[Sample], inputs: Mapping[str, str], version: str) -> tuple[pa.Table, pa.Table]:
    """Rows that match the signature, each with its prediction; and whatever else was asked.

    Args:
        inputs: Kind of each input by name.
        version: Who answered.
    """
    rows: list[dict[str, Any]] = []
    apart: list[dict[str, Any]] = []
    for sample in samples:
        about = {
            "answer_id": f"{version}{SEPARATOR}{sample.request}",
            "answer_at": datetime.fromtimestamp(sample.at, UTC),
            "answer_version": version,
            "answer_model": sample.model or None,
            "answer_ms": sample.took_ms,
        }
        if sample.status != 200:
            apart.append(about | _refused(sample.status, _error(sample.answer), _text(sample.body)))
            continue
        asked, answers = json.loads(sample.body)["rows"], json.loads(sample.answer)["predictions"]
        for number, (row, answer) in enumerate(zip(asked, answers, strict=True)):
            numbered = about | {"answer_row": number}
            values, problem = _checked(row, inputs)
            if problem:
                apart.append(numbered | _refused(sample.status, problem, json.dumps(row)[:_MOST_CHARS]))
            else:
                rows.append(numbered | _given(answer) | values)
    columns = pa.schema([(name, _TYPES[kind]) for name, kind in inputs.items()])
    schema = pa.schema([*columns, *_ANSWER, *_GIVEN])
    return pa.Table.from_pylist(rows, schema), pa.Table.from_pylist(apart, pa.schema([*_ANSWER, *_APART]))


def encoded(table: pa.Table) -> bytes:
    """A table as a Parquet file."""
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


def _checked(row: Any, inputs: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    """The inputs of a row, or what is wrong with it."""
    if not isinstance(row, dict):
        return {}, f"a row must be an object, not {type(row).__name__}"
    values = {}
    for name, kind in inputs.items():
        if name not in row:
            return {}, f"the input {name!r} is missing"
        value = row[name]
        if value is not None:
            value = _value(value, kind)
            if value is None:
                return {}, f"the input {name!r} must be {_WANTED[kind]}, not {str(row[name])[:200]!r}"
        values[name] = value
    return values, ""


def _value(value: Any, kind: str) -> Any:
    """A value of a kind; None if it is none."""
    if kind == "text":
        return value if isinstance(value, str) and _plain(value) == value else None
    if kind == "number":
        return _number(value)
    if kind == "time":
        return _time(value)
    found = [_number(entry) for entry in value] if isinstance(value, list) else [None]
    return None if None in found else found


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _time(value: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo is None else None


def _given(answer: Any) -> dict[str, Any]:
    """A prediction: the number in it and the label, if it has them, and all of it."""
    parts = answer if isinstance(answer, dict) else {"value": answer}
    label = parts.get("label")
    return {
        "answer_value": _number(parts.get("value", parts.get("probability"))),
        "answer_label": None if label is None else _plain(str(label)),
        "answer_json": json.dumps(answer),
    }


def _refused(status: int, error: str, asked: str) -> dict[str, Any]:
    return {"answer_status": status, "error": error, "asked": asked}


def _error(answer: bytes) -> str:
    try:
        return _plain(str(json.loads(answer)["error"]))
    except (ValueError, KeyError, TypeError):
        return _text(answer)


def _plain(text: str) -> str:
    """Text without halves of characters, which JSON can spell and Parquet cannot hold."""
    return text.encode(errors="backslashreplace").decode()


def _text(data: bytes) -> str:
    return data[:_MOST_CHARS].decode(errors="replace")
