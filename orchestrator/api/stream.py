"""Facts of a run as server-sent events: one reader of the journal for all who watch a run, from any sequence number.

What costs grows with the facts, not with the clients: new facts are read once and encoded once. Who comes from further
back reads the older ones from the journal. Events carry the number of their fact as id, so that a browser that was cut
off goes on where it was.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from hashlib import blake2b
from typing import NamedTuple

from orchestrator.api.describing import facts_of
from orchestrator.app.installation import Installation
from orchestrator.errors import OrchestratorError
from orchestrator.graph.fact import FINISHED, Recorded

_POLL_S = 0.25
_LIST_POLL_S = 1.0
_ALIVE_S = 15.0
_KEPT = 4096
_PER_READ = 512
_WATCHED_RUNS = 100


class Line(NamedTuple):
    """An encoded event and the number of the fact behind it."""

    seq: int
    data: bytes


def encode(recorded: Recorded) -> bytes:
    """A fact as events."""
    return b"".join(
        f"id: {one.seq}\nevent: fact\ndata: {one.model_dump_json(exclude_defaults=True)}\n\n".encode()
        for one in facts_of(recorded)
    )


def _event(name: str, data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


class _Feed:
    """What is new in one run (or in the list of runs), for all who watch it."""

    def __init__(self) -> None:
        self.lines: deque[Line] = deque(maxlen=_KEPT)
        self.seq = 0
        self.state = b""
        self.ended = False
        self.clients = 0
        self.changed = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def tell(self) -> None:
        """Wake everybody up."""
        self.changed.set()
        self.changed = asyncio.Event()

    def since(self, seq: int) -> list[Line] | None:
        """Events after a number; None if they are not all here."""
        if seq >= self.seq:
            return []
        if not self.lines or self.lines[0].seq > seq + 1:
            return None
        return [line for line in self.lines if line.seq > seq]


class Streams:
    """Event streams of an installation; belongs to one event loop."""

    def __init__(self, installation: Installation) -> None:
        self._here = installation
        self._feeds: dict[str, _Feed] = {}

    async def run(self, run: str, after: int) -> AsyncIterator[bytes]:
        """Facts of a run behind ``after``, as they come, until it has ended; between them who drives it."""
        feed = self._join(run, lambda feed: self._follow(run, feed))
        seq, state = after, b""
        try:
            yield b"retry: 1000\n\n"
            while True:
                changed = feed.changed
                lines = feed.since(seq)
                if lines is None:
                    lines = await asyncio.to_thread(self._older, run, seq)
                if lines:
                    seq = lines[-1].seq
                    yield b"".join(line.data for line in lines)
                    continue
                if feed.state != state:
                    state = feed.state
                    yield state
                if feed.ended and seq >= feed.seq:
                    yield _event("end", {"seq": seq})
                    return
                try:
                    await asyncio.wait_for(changed.wait(), _ALIVE_S)
                except TimeoutError:
                    yield b": still here\n\n"
        finally:
            self._leave(run, feed)

    async def runs(self, seen: str) -> AsyncIterator[bytes]:
        """An event whenever something about the newest runs has changed since ``seen``, the id of an event."""
        async for event in self.changes("runs", self._list_state, _LIST_POLL_S, seen):
            yield event

    async def changes(self, name: str, state: Callable[[], bytes], poll_s: float, seen: str) -> AsyncIterator[bytes]:
        """An event ``name`` whenever ``state``, looked at once for all who listen, is not what it was.

        Args:
            seen: Id of the last event that the client has; empty if it has none.
        """
        key = f" {name}"  # no run is called so
        feed = self._join(key, lambda feed: self._watch(feed, state, poll_s))
        known = seen
        try:
            yield b"retry: 1000\n\n"
            while True:
                changed = feed.changed
                now = feed.state.decode()
                if now and now != known:
                    known = now
                    yield f"id: {now}\nevent: {name}\ndata: {{}}\n\n".encode()
                try:
                    await asyncio.wait_for(changed.wait(), _ALIVE_S)
                except TimeoutError:
                    yield b": still here\n\n"
        finally:
            self._leave(key, feed)

    def _join(self, key: str, work: Callable[[_Feed], Coroutine[None, None, None]]) -> _Feed:
        feed = self._feeds.get(key)
        if feed is None:
            feed = self._feeds[key] = _Feed()
            feed.task = asyncio.get_running_loop().create_task(work(feed))
        feed.clients += 1
        return feed

    def _leave(self, key: str, feed: _Feed) -> None:
        feed.clients -= 1
        if not feed.clients and feed.task is not None:
            feed.task.cancel()
            if self._feeds.get(key) is feed:
                del self._feeds[key]

    async def _follow(self, run: str, feed: _Feed) -> None:
        while not feed.ended:
            try:
                row, driver, fresh = await asyncio.to_thread(self._fresh, run, feed.seq)
            except OrchestratorError as error:  # the store is away, perhaps not for long
                feed.state = _event("trouble", {"code": error.code, "detail": error.message})
                feed.tell()
                await asyncio.sleep(_POLL_S * 4)
                continue
            feed.lines.extend(fresh)
            feed.seq = max(feed.seq, fresh[-1].seq if fresh else row)
            state, ended = driver
            feed.ended = ended
            if fresh or state != feed.state:
                feed.state = state
                feed.tell()
            await asyncio.sleep(_POLL_S)
        feed.tell()

    def _fresh(self, run: str, seq: int) -> tuple[int, tuple[bytes, bool], list[Line]]:
        """New facts; at first the last of those that are there."""
        row = self._here.journal.run(run)
        lines: list[Line] = []
        if row.seq > seq:
            seq = max(seq, row.seq - _KEPT)
            lines = [Line(one.seq, encode(one)) for one in self._here.journal.facts(run, seq)]
        ended = row.state in FINISHED
        driver = None if ended else self._here.journal.owner(run)
        return row.seq, (_event("state", {"state": row.state, "driver": driver}), ended), lines

    def _older(self, run: str, seq: int) -> list[Line]:
        found: list[Line] = []
        for recorded in self._here.journal.facts(run, seq):
            found.append(Line(recorded.seq, encode(recorded)))
            if len(found) == _PER_READ:
                break
        return found

    async def _watch(self, feed: _Feed, look: Callable[[], bytes], poll_s: float) -> None:
        while True:
            try:
                state = await asyncio.to_thread(look)
            except OrchestratorError:  # as above; what was known stays
                state = feed.state
            if state != feed.state:
                feed.state = state
                feed.tell()
            await asyncio.sleep(poll_s)

    def _list_state(self) -> bytes:
        rows = self._here.journal.runs(limit=_WATCHED_RUNS)
        told = [
            (row.id, row.state, None if row.state in FINISHED else self._here.journal.owner(row.id)) for row in rows
        ]
        return blake2b(repr(told).encode(), digest_size=8).hexdigest().encode()
