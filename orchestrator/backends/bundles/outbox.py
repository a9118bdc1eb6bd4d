"""Outcomes on their way to the driver: gathered, put into frames, and held back if nobody reads.

A frame leaves after 20 ms, 256 outcomes or the size of an inline chunk, whichever comes first, and at once
when a bundle has no more to do. ``complete`` is on the path of every step and only appends.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from sys import byteorder

from msgspec.structs import replace as replace_in

from orchestrator.backends.bundles.failure import describe_failure, not_the_bodys
from orchestrator.backends.bundles.usage import EXACT_US, Usage, Used, shares
from orchestrator.graph.quality import CheckOutcome
from orchestrator.ports.frames import (
    Call,
    Checked,
    Completed,
    Failed,
    Logged,
    Made,
    Outcomes,
    Positioned,
    Reported,
    Singles,
    encode,
)
from orchestrator.ports.values import INLINE_BYTES, digest_bytes, encode_chunk
from orchestrator.types import Digest

FLUSH_S = 0.02
FLUSH_OUTCOMES = 256
FLUSH_BYTES = INLINE_BYTES * 3 // 4
UNREAD_FRAMES = 64
"""A worker runs at most this many frames ahead of a driver that does not read."""

FORCED_S = 1.0
"""How long the last flush before a worker ends waits for another one that is under way."""

POLL_S = 0.2
"""How often a step that waits for credit looks whether it has been interrupted."""

NOTHING = Used(0, 0)
"""In the place of what was used, where it is not known yet."""

_EMPTY_CHUNK = digest_bytes(encode_chunk([]))


class _Gathered:
    """Outcomes of one bundle since its last frame."""

    __slots__ = (
        "batches",
        "bytes",
        "cells",
        "checkpoints",
        "checks",
        "completed",
        "completed_us",
        "cursors",
        "elapsed",
        "failed",
        "lengths",
        "logs",
        "made",
        "metrics",
        "node",
        "nodes",
        "profiles",
        "singles",
        "singles_us",
        "start",
        "stop",
        "truths",
    )

    def __init__(self) -> None:
        self.cells: list[bytes] = []
        self.bytes = 0
        self.node = ""
        self.start = self.stop = 0
        self.elapsed = array("I")
        self.completed: list[Completed] = []
        self.nodes: list[str] = []
        self.truths: dict[int, bool] = {}
        self.lengths: dict[int, int] = {}
        self.singles: list[Singles] = []
        self.completed_us: list[int | None] = []  # time of the bodies; None where they have figures of their own
        self.singles_us: list[int | None] = []
        self.made: list[Made] = []
        self.failed: list[Failed] = []
        self.batches: list[Completed] = []
        self.checkpoints: list[Completed] = []
        self.cursors: list[Positioned] = []
        self.checks: list[Checked] = []
        self.profiles: list[Completed] = []
        self.metrics: list[Reported] = []
        self.logs: list[Logged] = []

    def close_range(self, used: Used = NOTHING) -> None:
        """End the range, or the list of single steps, that is being extended; ``used`` if that was measured for it."""
        count = len(self.elapsed)
        if not count:
            return
        spent_us = sum(self.elapsed) if used is NOTHING else None
        if byteorder == "big":
            self.elapsed.byteswap()
        at, elapsed = len(self.cells) - count, self.elapsed.tobytes()
        (self.singles_us if self.nodes else self.completed_us).append(spent_us)
        if self.nodes:
            self.singles.append(Singles(self.nodes, at, elapsed, self.truths, self.lengths, *used))
            self.nodes, self.truths, self.lengths = [], {}, {}
        else:
            done = Completed(self.node, self.start, self.stop, at, elapsed, None, None, *used)
            self.completed.append(done)
            self.start = self.stop = 0
        self.elapsed = array("I")

    @property
    def shares(self) -> list[int]:
        """Times of those bodies that have no figures of their own."""
        return [spent for spent in (*self.completed_us, *self.singles_us) if spent is not None]

    def share(self, used: Used) -> None:
        """Divide what was used among what has no figures of its own, by the time of the bodies."""
        parts, peak = iter(shares(used.cpu_us, self.shares)), used.peak_bytes
        self.completed = [
            done if spent is None else replace_in(done, cpu_us=next(parts), peak_bytes=peak)
            for done, spent in zip(self.completed, self.completed_us, strict=True)
        ]
        self.singles = [
            done if spent is None else replace_in(done, cpu_us=next(parts), peak_bytes=peak)
            for done, spent in zip(self.singles, self.singles_us, strict=True)
        ]

    def lose_outputs(self, cause: Exception) -> None:
        """The outputs could not be stored: every step they belong to has failed."""
        error = not_the_bodys(cause)
        for done in self.completed + self.batches:
            indexes = range(done.start, done.stop) if done in self.completed else (0,)
            self.failed += [describe_failure(done.node, index, error) for index in indexes]
        self.failed += [describe_failure(node, 0, error) for done in self.singles for node in done.nodes]
        self.made = [
            Made(one.call, one.at, one.elapsed_us, one.failed or describe_failure(one.call.node, one.call.index, error))
            for one in self.made
        ]
        self.completed, self.singles, self.batches, self.checkpoints, self.profiles = [], [], [], [], []
        self.cursors = []
        self.checks = [
            Checked(one.node, one.index, one.attempt, [replace(result, rows=None) for result in one.results])
            for one in self.checks
        ]


class Outbox:
    """Sends the outcomes of a worker's bundles.

    Args:
        send: Gives a frame to the transport; may block.
        put: Stores a chunk that is too large for a frame.
    """

    def __init__(self, send: Callable[[bytes], None], put: Callable[[bytes], Digest]) -> None:
        self._send = send
        self._put = put
        self._usage = Usage()
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._credit = threading.Condition()
        self._unread = 0
        self._gathered: dict[str, _Gathered] = {}
        self._pending = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._flush_late, name="outbox", daemon=True)

    def start(self) -> None:
        """Start the thread that sends what has waited for 20 ms."""
        self._thread.start()

    def begin(self) -> None:
        """A bundle starts, and no other is under way: from here on what is used is used by its steps."""
        self._usage.begin()

    # ---- gathering

    def complete(
        self,
        bundle: str,
        node: str,
        index: int,
        cell: bytes,
        elapsed_us: int,
        cursors: Mapping[str, str] | None = None,
    ) -> None:
        """A step of a map has its output; ``cursors`` are what it proposes if it has read some."""
        with self._lock:
            into = self._gathered.get(bundle)
            if into is None:
                into = self._open(bundle)
            long = elapsed_us >= EXACT_US
            if index != into.stop or node != into.node or into.nodes or long:
                into.close_range()
                into.node, into.start = node, index
            into.stop = index + 1
            if cursors is not None:
                into.cursors.append(Positioned(node, index, dict(cursors)))
            into.cells.append(cell)
            into.elapsed.append(elapsed_us)
            if long:
                into.close_range(self._usage.take())
            into.bytes += len(cell)
            full = into.bytes >= FLUSH_BYTES or len(into.cells) >= FLUSH_OUTCOMES
        if full:
            self.flush(bundle)

    def complete_single(
        self,
        bundle: str,
        node: str,
        cell: bytes,
        elapsed_us: int,
        truth: bool | None,
        length: int | None,
        cursors: Mapping[str, str] | None = None,
    ) -> None:
        """The only step of a node has its output; ``cursors`` as for ``complete``."""
        with self._lock:
            into = self._gathered.get(bundle) or self._open(bundle)
            long = elapsed_us >= EXACT_US
            if into.stop or long:
                into.close_range()
            if truth is not None:
                into.truths[len(into.nodes)] = truth
            if length is not None:
                into.lengths[len(into.nodes)] = length
            if cursors is not None:
                into.cursors.append(Positioned(node, 0, dict(cursors)))
            into.nodes.append(node)
            into.elapsed.append(elapsed_us)
            into.cells.append(cell)
            if long:
                into.close_range(self._usage.take())
            into.bytes += len(cell)
            full = into.bytes >= FLUSH_BYTES or len(into.cells) >= FLUSH_OUTCOMES
        if full:
            self.flush(bundle)

    def batch(self, bundle: str, node: str, index: int, cell: bytes) -> None:
        """A streaming step has one more batch; sent at once, without waiting for credit."""
        with self._lock:
            into = self._gathered.get(bundle) or self._open(bundle)
            into.close_range()
            into.batches.append(Completed(node, index, index + 1, len(into.cells)))
            into.cells.append(cell)
        self._flush(bundle)

    def checkpoint(self, bundle: str, node: str, index: int, cell: bytes) -> None:
        """A running step keeps something for its next attempt; sent at once."""
        with self._lock:
            into = self._gathered.get(bundle) or self._open(bundle)
            into.close_range()
            into.checkpoints.append(Completed(node, index, index + 1, len(into.cells)))
            into.cells.append(cell)
        self._flush(bundle)

    def called(self, bundle: str, call: Call, cell: bytes | None, elapsed_us: int, failed: Failed | None) -> bool:
        """A call of a ``@dynamic`` body was run here; True if it is time for ``flush_calls``."""
        with self._lock:
            into = self._gathered.get(bundle) or self._open(bundle)
            into.close_range()
            into.made.append(Made(call, len(into.cells), elapsed_us, failed))
            if cell is not None:
                into.cells.append(cell)
                into.bytes += len(cell)
            return failed is not None or into.bytes >= FLUSH_BYTES or len(into.made) >= FLUSH_OUTCOMES

    def flush_calls(self, bundle: str) -> None:
        """Send what a body has called so far, without waiting for credit."""
        self._flush(bundle)

    def fail(self, bundle: str, failed: Failed) -> None:
        """An attempt failed."""
        with self._lock:
            into = self._gathered.get(bundle) or self._open(bundle)
            into.failed.append(failed)
            self._usage.begin()
            full = len(into.failed) >= FLUSH_OUTCOMES
        if full:
            self.flush(bundle)

    def report(self, bundle: str, node: str, index: int, metrics: Mapping[str, float]) -> None:
        """A running step reported metrics."""
        with self._lock:
            into = self._gathered.get(bundle) or self._open(bundle)
            into.metrics.append(Reported(node, index, dict(metrics)))
            full = len(into.metrics) >= FLUSH_OUTCOMES
        if full:
            self._flush(bundle)

    def checked(
        self, bundle: str, node: str, index: int, attempt: int, results: Sequence[CheckOutcome], rows: Sequence[bytes]
    ) -> None:
        """What an attempt made was checked; ``rows`` are cells of failing rows, numbered by ``CheckOutcome.rows``."""
        with self._lock:
            into = self._gathered.get(bundle) or self._open(bundle)
            if rows:
                into.close_range()
            first = len(into.cells)
            placed = [one if one.rows is None else replace(one, rows=first + one.rows) for one in results]
            into.checks.append(Checked(node, index, attempt, placed))
            into.cells += rows
            into.bytes += sum(map(len, rows))

    def profiled(self, bundle: str, node: str, index: int, cell: bytes) -> None:
        """A table that a step made is described by this cell."""
        with self._lock:
            into = self._gathered.get(bundle) or self._open(bundle)
            into.close_range()
            into.profiles.append(Completed(node, index, index + 1, len(into.cells)))
            into.cells.append(cell)
            into.bytes += len(cell)

    def logged(self, bundle: str, node: str, index: int, start: int, stop: int) -> None:
        """A step wrote these bytes of the worker's log."""
        with self._lock:
            into = self._gathered.get(bundle) or self._open(bundle)
            last = into.logs[-1] if into.logs else None
            if last is not None and last.node == node and last.stop == index:
                last.offsets.extend((start, stop))
                into.logs[-1] = Logged(node, last.start, index + 1, last.offsets)
            else:
                into.logs.append(Logged(node, index, index + 1, [start, stop]))

    def _open(self, bundle: str) -> _Gathered:
        into = self._gathered[bundle] = _Gathered()
        self._pending.set()
        return into

    # ---- sending

    def flush(self, bundle: str, finished: bool = False) -> None:
        """Send what a bundle has gathered; waits while too many frames are unread."""
        self.await_credit()
        self._flush(bundle, finished)

    def await_credit(self) -> None:
        """Wait while too many frames are unread; may be interrupted."""
        with self._credit:
            while self._unread >= UNREAD_FRAMES and not self._closed:
                self._credit.wait(POLL_S)

    def _flush(self, bundle: str, finished: bool = False, forced: bool = False) -> None:
        if not self._sending.acquire(timeout=FORCED_S if forced else -1):
            return
        try:
            with self._lock:
                into = self._gathered.pop(bundle, None)
            if into is None and not finished:
                return
            self._send(encode(self._frame(bundle, into or _Gathered(), finished)))
        finally:
            self._sending.release()
        with self._credit:
            self._unread += 1

    def _frame(self, bundle: str, into: _Gathered, finished: bool) -> Outcomes:
        into.close_range()
        if into.shares:
            into.share(self._usage.take())
        chunk, data = _EMPTY_CHUNK, encode_chunk(into.cells) if into.cells else None
        if data is not None and len(data) > INLINE_BYTES:
            try:
                chunk, data = self._put(data), None
            except Exception as error:
                into.lose_outputs(error)
                data = None
        elif data is not None:
            chunk = digest_bytes(data)
        return Outcomes(
            bundle, chunk, data, into.completed, into.failed, into.batches, into.checkpoints, into.metrics, into.logs,
            finished, into.singles, into.made, into.cursors, into.checks, into.profiles,
        )  # fmt: skip

    def flush_last(self) -> None:
        """Send everything that has been gathered, before the process ends: without waiting for long."""
        with self._lock:
            waiting = list(self._gathered)
        for bundle in waiting:
            self._flush(bundle, forced=True)

    def acknowledge(self, frames: int) -> None:
        """The driver has read some more frames."""
        with self._credit:
            self._unread -= frames
            self._credit.notify_all()

    def close(self) -> None:
        """Let go of whoever waits for credit: nobody reads any more."""
        with self._credit:
            self._closed = True
            self._credit.notify_all()
        self._pending.set()

    def _flush_late(self) -> None:
        while not self._closed:
            self._pending.wait()
            self._pending.clear()
            time.sleep(FLUSH_S)
            with self._lock:
                waiting = list(self._gathered)
            for bundle in waiting:
                self.flush(bundle)
