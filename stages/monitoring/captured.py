"""What a served model was asked and what it answered, as tables: the input of drift, of monitoring, of training anew.

Reads the parts that ``Capture`` has replicas write. Nothing here needs the application to be up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from orchestrator import Retry, stage
from orchestrator.errors import ConfigError, NotFound
from stages.errors import DataRejected
from stages.ingestion.places import place_of

_PART = re.compile(r"(rows|apart)-(\d{8}T\d{6})-[0-9a-f]+-\d+\.parquet")
_COUNTS = re.compile(r"counts-[0-9a-f]+\.json")
_ORDER = [("answer_at", "ascending"), ("answer_id", "ascending"), ("answer_row", "ascending")]


@dataclass(frozen=True)
class Captured:
    """Captured requests of an application.

    Attributes:
        rows: The inputs under their own names, with ``answer_id``, ``answer_row``, ``answer_at``, ``answer_version``,
            ``answer_model`` (of many), ``answer_ms`` (in the replica), ``answer_value``, ``answer_label`` and
            ``answer_json``; by time.
        apart: Rows that do not match the signature, and requests that were not answered, with ``answer_status``,
            ``error`` and ``asked``.
        requests, sampled, dropped: How many there were in all, since the folder was begun; of those how many were to be
            kept; and of those how many were lost because they could not be written in time.
    """

    rows: pa.Table
    apart: pa.Table
    requests: int
    sampled: int
    dropped: int

    def __str__(self) -> str:
        kept = f"{self.rows.num_rows} rows, {self.apart.num_rows} apart"
        return f"{kept}; of {self.requests} requests {self.sampled} were sampled and {self.dropped} of those dropped"


@stage(retries=Retry(attempts=4, on=(OSError,)), timeout="1h")
def captured(
    folder: str, app: str, version: str | None = None, since: str | None = None, until: str | None = None
) -> Captured:
    """Read what an application was asked and what it answered.

    Args:
        folder: Of the ``Capture``.
        app: Name of the application.
        version: Only answers of this version.
        since, until: Only answers at or after, and before, this ISO time; UTC if it names no zone.

    Raises:
        NotFound: nothing was captured there, or nothing in that time.
        DataRejected: versions with other inputs of the same name; choose one.
        ConfigError: nothing here reaches such a folder, or a time is none.
    """
    begin, end = _time("since", since), _time("until", until)
    filesystem, root = place_of(f"{folder.rstrip('/')}/{app}" + (f"/{version}" if version else ""))
    filesystem.invalidate_cache()
    names = sorted(filesystem.find(root))
    what = f"{app} {version}" if version else app
    counts = [json.loads(filesystem.cat_file(name)) for name in names if _COUNTS.fullmatch(_last(name))]
    tables: dict[str, list[pa.Table]] = {"rows": [], "apart": []}
    for name in names:
        part = _PART.fullmatch(_last(name))
        if part and (begin is None or _written(part[2]) >= begin.replace(microsecond=0)):
            with filesystem.open(name, "rb") as file:
                tables[part[1]].append(_between(pq.read_table(file), begin, end))
    rows, apart = (_joined(tables[kind], what) for kind in ("rows", "apart"))
    if not rows.num_rows and not apart.num_rows:
        when = "" if since is None and until is None else f" from {since or 'the beginning'} to {until or 'now'}"
        raise NotFound(
            f"nothing of {what} was captured in {folder}{when}; deploy or release it with capture=Capture(…)"
        )
    requests, sampled, dropped = (sum(one[key] for one in counts) for key in ("requests", "sampled", "dropped"))
    return Captured(rows, apart, requests, sampled, dropped)


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _written(stamp: str) -> datetime:
    return datetime.strptime(stamp, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)


def _time(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"captured: {name}={text!r} is no ISO time, such as 2026-03-01T12:00") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def _between(table: pa.Table, begin: datetime | None, end: datetime | None) -> pa.Table:
    at = table.column("answer_at")
    wanted: Any = pc.is_valid(at)
    if begin is not None:
        wanted = pc.and_(wanted, pc.greater_equal(at, pa.scalar(begin, at.type)))
    if end is not None:
        wanted = pc.and_(wanted, pc.less(at, pa.scalar(end, at.type)))
    return table.filter(wanted)


def _joined(tables: Sequence[pa.Table], what: str) -> pa.Table:
    if not tables:
        return pa.table({})
    try:
        return pa.concat_tables(tables, promote_options="default").sort_by(_ORDER)
    except pa.ArrowInvalid as error:
        raise DataRejected(
            f"The versions of {what} have inputs of one name and several types ({error}); choose one with version=."
        ) from None
