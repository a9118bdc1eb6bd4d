"""Lines of a step as they are written, as server-sent events that go on where they were cut off."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Header, Query
from starlette.responses import StreamingResponse

from orchestrator.api.place import Place, number_cursor
from orchestrator.api.routes import EVENTS, PREFIX, PROBLEM, Address, RunId, streaming
from orchestrator.app.step_log import LogRange, log_ranges, read_log, still_writes
from orchestrator.errors import ConfigError, OrchestratorError

_POLL_S = 0.4
_ALIVE_S = 15.0
_BATCH = 500


class _Seen(NamedTuple):
    """What a step has written: ``lines`` is None if it is as before."""

    ranges: list[LogRange]
    lines: list[str] | None
    ended: bool


def router(place: Place) -> APIRouter:
    """The route."""
    routes = APIRouter(prefix=PREFIX, responses=PROBLEM)

    @routes.get("/runs/{run}/log-events/{address:path}", responses=EVENTS, response_class=StreamingResponse,
                tags=["steps"])  # fmt: skip
    async def events(
        run: RunId,
        address: Address,
        after: Annotated[int, Query(ge=0, description="only lines with a greater number")] = 0,
        last_event_id: Annotated[str | None, Header(max_length=20)] = None,
    ) -> StreamingResponse:
        """Events `lines` with [number, text] of each, as a step writes them, and `end` when it is over."""
        first = await asyncio.to_thread(_look, place, run, address, None)
        return streaming(_lines(place, run, address, number_cursor(last_event_id) or after, first))

    return routes


def _look(place: Place, run: str, address: str, before: _Seen | None) -> _Seen:
    with place.records.reading(run) as record:
        state, index = record.find(address)
        if index is None and state.node.is_map:
            raise ConfigError(f"{address} is a map: each item has logs of its own; name one, such as …[0]")
        node, item = state.node.id, index or 0
        ended = not still_writes(record, node, item)
        ranges = log_ranges(record, node, item)
        if before is not None and ranges == before.ranges:
            return _Seen(ranges, None, ended)
        return _Seen(ranges, read_log(place.here.settings.logs_dir, ranges).splitlines(), ended)


async def _lines(place: Place, run: str, address: str, sent: int, seen: _Seen) -> AsyncIterator[bytes]:
    yield b"retry: 1000\n\n"
    said = time.monotonic()
    while True:
        for start in range(sent, len(seen.lines or ()), _BATCH):
            batch = [(number + 1, text) for number, text in enumerate(seen.lines or ())][start : start + _BATCH]
            sent, said = batch[-1][0], time.monotonic()
            yield f"id: {sent}\nevent: lines\ndata: {json.dumps(batch)}\n\n".encode()
        if seen.ended:
            yield f"event: end\ndata: {json.dumps({'lines': sent})}\n\n".encode()
            return
        if time.monotonic() - said > _ALIVE_S:
            said = time.monotonic()
            yield b": still here\n\n"
        await asyncio.sleep(_POLL_S)
        try:
            seen = await asyncio.to_thread(_look, place, run, address, seen)
        except OrchestratorError as error:  # the store is away, perhaps not for long
            yield f"event: trouble\ndata: {json.dumps({'code': error.code, 'detail': error.message})}\n\n".encode()
            await asyncio.sleep(4 * _POLL_S)
            seen = _Seen(seen.ranges, None, False)
