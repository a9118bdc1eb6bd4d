"""Capture of predictions: a request costs a hash and a place in a queue; a thread of its own does all the rest.

The queue is bounded in bytes. When the folder does not answer, the part that could not be written is tried again, the
queue fills, and what no longer fits is dropped and counted; requests notice nothing of it.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import NamedTuple

from orchestrator.errors import OrchestratorError
from orchestrator.ports.capture import Capture, Folder

_LOG = logging.getLogger(__name__)
_RANGE = 1 << 64
_RETRY_S = 1.0


class Sample(NamedTuple):
    """One request with its answer; ``at`` is when it was answered, in seconds since 1970."""

    request: str
    at: float
    took_ms: float
    status: int
    body: bytes
    answer: bytes
    model: str = ""


@dataclass(slots=True)
class CaptureCounts:
    """What became of the requests of one replica.

    Attributes:
        requests: Answered in all.
        sampled: Of those, in the sample.
        dropped: Of the sampled, lost because the queue was full.
        rows: Rows written.
        apart: Rows that do not match the signature and requests that were not answered, written apart.
        parts: Files written.
        failures: Attempts to write that failed.
    """

    requests: int = 0
    sampled: int = 0
    dropped: int = 0
    rows: int = 0
    apart: int = 0
    parts: int = 0
    failures: int = 0


def is_sampled(request: str, share: float) -> bool:
    """Whether the id of a request puts it into a sample; the same everywhere and always."""
    return int.from_bytes(blake2b(request.encode(), digest_size=8).digest(), "big") < share * _RANGE


class SampleQueue:
    """Samples that wait to be written. Thread-safe; nothing in it takes time."""

    def __init__(self, capture: Capture, due: threading.Event | None = None) -> None:
        self._capture = capture
        self._due = due or threading.Event()
        self._lock = threading.Lock()
        self._waiting: list[Sample] = []
        self._held = 0
        self._counts = CaptureCounts()

    def offer(self, sample: Sample) -> None:
        """Keep a sample if it is one and there is room."""
        sampled = is_sampled(sample.request, self._capture.share)
        size = len(sample.body) + len(sample.answer)
        with self._lock:
            self._counts.requests += 1
            if not sampled:
                return
            self._counts.sampled += 1
            if self._held + size > self._capture.queue_bytes:
                self._counts.dropped += 1
                return
            self._waiting.append(sample)
            self._held += size
            full = len(self._waiting) >= self._capture.part_requests
        if full:
            self._due.set()

    def take(self) -> list[Sample]:
        """All that wait."""
        with self._lock:
            taken, self._waiting, self._held = self._waiting, [], 0
        return taken

    def count(self, **more: int) -> None:
        """Add to the counts."""
        with self._lock:
            for name, number in more.items():
                setattr(self._counts, name, getattr(self._counts, name) + number)

    def counts(self) -> dict[str, int]:
        """What became of the requests so far."""
        with self._lock:
            return asdict(self._counts)


class Recorder:
    """Turns samples into parts in a folder; one turn at a time.

    Args:
        path: Of the version in the folder: ``APP/VERSION``.
        version: Stands in the rows and before the id of each answer.
    """

    def __init__(self, capture: Capture, path: str, version: str, folder: Folder, queue: SampleQueue) -> None:
        self._capture = capture
        self._path = path
        self._version = version
        self._folder = folder
        self._queue = queue
        self._writer = secrets.token_hex(4)
        self._unwritten: list[tuple[str, bytes]] = []
        self._told = asdict(CaptureCounts())
        self._numbers = 0

    def record(self) -> bool:
        """Write what waits; False if the folder does not answer, and then the same is tried again in the next turn."""
        try:
            self._write()
            return True
        except (OrchestratorError, OSError) as error:
            self._queue.count(failures=1)
            _LOG.warning("captured requests of %s wait: %s", self._path, error)
            return False

    def _write(self) -> None:
        if not self._unwritten:
            self._encode(self._queue.take())
        while self._unwritten:
            path, data = self._unwritten[0]
            self._folder.create(path, data)
            del self._unwritten[0]
            self._queue.count(parts=1)
        counts = self._queue.counts()
        if counts != self._told:
            document = {"version": self._version, "at": time.time(), **counts}
            self._folder.replace(f"{self._path}/counts-{self._writer}.json", json.dumps(document).encode())
            if lost := counts["dropped"] - self._told["dropped"]:
                _LOG.warning("%s: %d requests were not captured because the queue was full", self._path, lost)
            self._told = counts

    def _encode(self, samples: list[Sample]) -> None:
        if not samples:
            return
        from orchestrator.backends.serve_parts import encoded, tables

        try:
            rows, apart = tables(samples, self._capture.inputs, self._version)
        except Exception:  # one request that cannot be kept must not end the capture of all later ones
            _LOG.exception("%d captured requests of %s cannot be kept", len(samples), self._path)
            self._queue.count(dropped=len(samples))
            return
        self._numbers += 1
        # the time comes first, so that a reader can leave out what was written before the time that it asks for
        name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{self._writer}-{self._numbers:06}.parquet"
        for kind, table in (("rows", rows), ("apart", apart)):
            if table.num_rows:
                self._unwritten.append((f"{self._path}/{kind}-{name}", encoded(table)))
        self._queue.count(rows=rows.num_rows, apart=apart.num_rows)


class Capturing:
    """The capture of one replica, with its thread; ``close`` it."""

    def __init__(self, capture: Capture, app: str, version: str, folder: Folder) -> None:
        self._capture = capture
        self._due = threading.Event()
        self._ended = False
        self._queue = SampleQueue(capture, self._due)
        self._recorder = Recorder(capture, f"{app}/{version}", version, folder, self._queue)
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._thread.start()

    def see(self, sample: Sample) -> None:
        """Take a request into account; never waits, never raises."""
        self._queue.offer(sample)

    def counts(self) -> dict[str, int]:
        """What became of the requests so far."""
        return self._queue.counts()

    def close(self, timeout_s: float = 1.5) -> None:
        """Write what waits, if that is possible within the time."""
        self._ended = True
        self._due.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._ended:
            self._due.wait(self._capture.every_s)
            self._due.clear()
            if not self._recorder.record() and not self._ended:
                time.sleep(_RETRY_S)
        self._recorder.record()
