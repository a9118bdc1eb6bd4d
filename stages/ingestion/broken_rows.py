"""Files with broken rows: what can be read is, and what cannot is kept beside it, with line and reason."""

from __future__ import annotations

import csv
import json
from codecs import BOM_UTF8
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.csv
import pyarrow.json

from orchestrator import File, Retry, stage, step
from orchestrator.errors import ConfigError, NotFound
from stages.errors import DataRejected
from stages.ingestion.contents import content_of
from stages.ingestion.files import format_of

SHOWN_CHARS = 1_000
"""Characters kept of a rejected line."""

Fault = Callable[[str], str]
"""What is wrong with a line; empty if nothing is."""


@dataclass(frozen=True)
class Salvaged:
    """What became of a file.

    Attributes:
        rows: Those that could be read, in their order.
        rejected: The others: ``line`` of the file, counted from 1, ``reason``, and the ``text`` that stands there.
    """

    rows: pa.Table
    rejected: pa.Table


@stage(cache="30d", retries=Retry(attempts=4, on=(OSError,)), timeout="1h")
def salvage(path: File, delimiter: str = "", max_rejected: int = 1_000) -> Salvaged:
    """Read a CSV file or JSON lines in UTF-8 of which some lines are broken.

    Rejected, each alone, are lines with too many or too few values, with a quote that is not closed (so values with
    line breaks too), with bytes of another encoding, and those that are no JSON object. Their number is reported as
    the metric ``rejected_rows``.

    Args:
        path: Path or fsspec URL.
        delimiter: Of a CSV file; a tab for ``.tsv`` and a comma otherwise when not given.
        max_rejected: More broken lines are an error: the file is probably something else.

    Raises:
        NotFound: no such file.
        DataRejected: too many lines are broken, or nothing is there to read; names the first such line.
        ConfigError: the file is neither CSV nor JSON lines.
    """
    kind = format_of(path)
    if kind not in ("csv", "json"):
        raise ConfigError(f"{path!r} is {kind}, which has no lines that could be broken alone; use read.")
    try:
        lines = content_of(path).removeprefix(BOM_UTF8).split(b"\n")
    except FileNotFoundError:
        raise NotFound(f"There is no file {path!r}.", path=path) from None
    if kind == "csv":
        delimiter = delimiter or ("\t" if path.endswith(".tsv") else ",")
        width = _width(lines[0].decode(errors="replace").rstrip("\r"), delimiter)
        good, rejected = _sorted_out(lines, lambda line: _csv_fault(line, delimiter, width))
    else:
        good, rejected = _sorted_out(lines, _json_fault)
    if rejected.num_rows > max_rejected:
        first = rejected.slice(0, 1).to_pylist()[0]
        raise DataRejected(
            f"{path!r}: {rejected.num_rows} of {len(lines)} lines are broken, more than {max_rejected}; the first is "
            f"line {first['line']}: {first['reason']}. Is it what it is said to be? Else raise max_rejected.",
            path=path,
        )
    rows = _read(good, kind, delimiter, path)
    step().report(rejected_rows=rejected.num_rows)
    return Salvaged(rows, rejected)


def _sorted_out(lines: list[bytes], fault: Fault) -> tuple[list[bytes], pa.Table]:
    """Lines that can be read, and a table of those that cannot."""
    good: list[bytes] = []
    rejected: dict[str, list[int | str]] = {"line": [], "reason": [], "text": []}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            reason = fault(line.decode().rstrip("\r"))
        except UnicodeDecodeError as error:
            reason = f"bytes that are not UTF-8, from the {error.start + 1}th on"
        if not reason:
            good.append(line)
            continue
        shown = line.decode(errors="backslashreplace").rstrip("\r")[:SHOWN_CHARS]
        for name, value in (("line", number), ("reason", reason), ("text", shown)):
            rejected[name].append(value)
    schema = pa.schema([("line", pa.int64()), ("reason", pa.string()), ("text", pa.string())])
    return good, pa.table(rejected, schema)


def _read(lines: list[bytes], kind: str, delimiter: str, path: str) -> pa.Table:
    source = pa.BufferReader(b"\n".join(lines))
    try:
        if kind == "json":
            return pyarrow.json.read_json(source)
        return pyarrow.csv.read_csv(source, parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter))
    except pa.ArrowInvalid as error:
        raise DataRejected(f"{path!r} cannot be read as {kind}: {error}", path=path) from None


def _csv_fault(line: str, delimiter: str, width: int) -> str:
    if line.count('"') % 2:
        return "a quote that is not closed"
    found = _width(line, delimiter)
    return "" if found == width else f"{found} values instead of {width}"


def _width(line: str, delimiter: str) -> int:
    if '"' not in line:
        return line.count(delimiter) + 1
    return len(next(csv.reader([line], delimiter=delimiter)))


def _json_fault(line: str) -> str:
    try:
        found = json.loads(line)
    except ValueError as error:
        return f"no JSON: {error}"
    return "" if isinstance(found, dict) else f"a {type(found).__name__} instead of an object"
