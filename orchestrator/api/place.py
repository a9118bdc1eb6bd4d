"""What all routes work with: one installation, the records of its runs, streams of their facts, and actions on them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from blake3 import blake3
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from orchestrator.api.actions import Actions
from orchestrator.api.launches import Launches
from orchestrator.api.stream import Streams
from orchestrator.app.installation import Installation
from orchestrator.app.record import Records, RunRecord
from orchestrator.app.released import Releases
from orchestrator.app.step_log import log_ranges, read_log
from orchestrator.artifacts.preview import part as part_of
from orchestrator.engine.state import NodeState
from orchestrator.errors import ConfigError, NotFound
from orchestrator.ports.journal import RunRow
from orchestrator.ports.values import Cell

T = TypeVar("T")

_LOG_CHARS = 2_000_000


class Place:
    """One installation as its server sees it.

    Args:
        project: Directory whose pipelines may be started; none are if not given.
    """

    def __init__(self, installation: Installation, project: Path | None = None) -> None:
        self.here = installation
        self.project = project or installation.settings.home
        self.records = Records(installation)
        self.streams = Streams(installation)
        self.actions = Actions(installation)
        self.launches = Launches(installation, self.project)
        self.releases = Releases(installation)

    def runs(self, wanted: RunFilter, cursor: str | None, limit: int) -> tuple[list[RunRow], str | None]:
        """A page of runs and the cursor of the next; raises ConfigError for what is no cursor."""
        before, before_id = run_place(cursor) if cursor else (None, "")
        rows = self.here.journal.runs(
            wanted.pipeline or None, wanted.state or None, limit + 1, before, before_id, wanted.search
        )
        more = len(rows) > limit
        return rows[:limit], run_cursor(rows[limit - 1]) if more else None

    def driver(self, row: RunRow) -> str | None:
        """Who drives a run; None for one that has ended."""
        return None if row.finished_at is not None else self.here.journal.owner(row.id)

    def cell(self, record: RunRecord, state: NodeState, index: int | None, path: Sequence[str]) -> Cell:
        """Cell of an output, or of a part of it.

        Raises:
            NotFound: there is no output, or no such part.
        """
        if index is None and state.node.many:
            raise NotFound(f"run {record.row.id}: {state.node.id} has an output for each item; name one: …[0]")
        span = state.outputs.find(index or 0)
        if span is None:
            raise NotFound(f"run {record.row.id}: {state.node.id} has no output")
        cell = self.here.cells(record.row.id).at(span)
        if not path:
            return cell
        found = part_of(self.here.artifacts, cell, path)
        if found is None:
            raise NotFound(f"run {record.row.id}: the output of {state.node.id} has no part {'/'.join(path)!r}")
        return found

    def logs(self, record: RunRecord, state: NodeState, index: int | None) -> str:
        """What a step wrote, all attempts in order; the end of it if it is very much.

        Raises:
            ConfigError: it is a map, whose items have logs.
        """
        if index is None and state.node.is_map:
            raise ConfigError(f"{state.node.id} is a map: each item has logs of its own; name one, such as …[0]")
        text = read_log(self.here.settings.logs_dir, log_ranges(record, state.node.id, index or 0))
        return text if len(text) <= _LOG_CHARS else f"[the last {_LOG_CHARS:,} characters]\n{text[-_LOG_CHARS:]}"


class RunFilter(NamedTuple):
    """Which runs; empty texts for any."""

    pipeline: str = ""
    state: str = ""
    search: str = ""


def run_cursor(row: RunRow) -> str:
    """The place behind a run."""
    return base64.urlsafe_b64encode(f"{row.created_at!r} {row.id}".encode()).decode().rstrip("=")


def run_place(cursor: str) -> tuple[float, str]:
    """Inverse of ``run_cursor``; raises ConfigError."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        at, _, run = text.partition(" ")
        return float(at), run
    except (ValueError, binascii.Error):
        raise ConfigError(f"{cursor!r} is no cursor; take it from `next` of the page before") from None


def number_cursor(cursor: str | None) -> int:
    """A cursor that is a number, from 0; raises ConfigError."""
    if cursor is None or cursor == "":
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 16):
        raise ConfigError(f"{cursor!r} is no cursor; take it from `next` of the page before")
    return int(cursor)


def page(items: Sequence[T], start: int, limit: int) -> tuple[list[T], str | None]:
    """A page of something that is all there, and the cursor of the next."""
    stop = start + limit
    return list(items[start:stop]), str(stop) if stop < len(items) else None


def document(request: Request, found: BaseModel) -> Response:
    """A document with its ETag; 304 if the client has it."""
    return tagged(request, found.model_dump_json().encode(), "application/json")


def tagged(request: Request, body: bytes, media_type: str) -> Response:
    """An answer with its ETag; 304 if the client has it."""
    tag = f'"{blake3(body).hexdigest()[:24]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    known = {one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")}
    if tag in known or "*" in known:
        return Response(None, 304, headers)
    return Response(body, 200, headers, media_type)
