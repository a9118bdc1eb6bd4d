"""One worker as its pool sees it: what it has been told, what it owes, when it was last heard."""

from __future__ import annotations

import time
from collections.abc import Iterable

from orchestrator.backends.bundles.chunks import ChunkWindow, chunks_of, inputs_of
from orchestrator.backends.bundles.leave import PARTS
from orchestrator.backends.bundles.transport import Channel, WorkerNeeds
from orchestrator.ports import frames
from orchestrator.ports.executor import Bundle, RunCode
from orchestrator.types import Digest

QUEUED = 2
"""Bundles a worker has at most: one it runs, and the next so that it does not wait."""

SILENT_S = 5.0
"""A worker that has said nothing for a step's time-out and this long is killed."""

CANCEL_S = 5.0
ACKNOWLEDGE_FRAMES = 16

GROWTH_BYTES = 512 * 1024 * 1024
GROWTH_STEP_BYTES = 16 * 1024 * 1024
GROWTH_TIMES = 8


class Member:
    """A worker and its pool's side of the conversation.

    Attributes:
        reserved: It gets nothing more until it is idle.
        lent_to: The host bundle that uses its slot meanwhile; ``recalled`` if it was asked to hand that back.
        parked: It holds no slot, and waits to be needed again.
    """

    def __init__(self, channel: Channel, needs: WorkerNeeds) -> None:
        self.channel = channel
        self.needs = needs
        self.bundles: dict[str, Bundle] = {}
        self.reserved = False
        self.lent_to = ""
        self.recalled = False
        self.parked = False
        self.closing = False
        self.greeted = False
        self.timed_out = False
        self.killed_because = ""
        self.heard_at = self.idle_since = time.monotonic()
        self.kill_at: float | None = None
        self._leave_given_at = float("-inf")
        self._window = ChunkWindow()
        self._defined: set[tuple[str, str]] = set()
        self._unread = 0
        self._first_rss = self._most_rss = self._grown = 0

    @property
    def name(self) -> str:
        """The worker's name."""
        return self.channel.name

    @property
    def is_idle(self) -> bool:
        """True if it has nothing to do and may be given something."""
        taken = self.bundles or self.closing or self.parked or self.lent_to or self.killed_because
        return not taken

    @property
    def is_ready(self) -> bool:
        """True if it is up and has its slot."""
        return self.greeted and self.channel.has_slot and not self.parked and not self.closing

    def room(self) -> int:
        """How many more light bundles it takes."""
        full = self.reserved or self.lent_to or self.keeps_growing or self.killed_because or self.needs.kind != "pool"
        if full or not self.is_ready:
            return 0
        return QUEUED - len(self.bundles)

    # ---- talking

    def give(self, bundle: Bundle, code: RunCode) -> None:
        """Send a bundle, with the nodes and chunks the worker does not have."""
        self._define(bundle, code)
        fresh: dict[Digest, bytes] = {}

        def look_up(digest: Digest) -> bytes | None:
            data = code.chunk(digest)
            if data is not None:
                fresh[digest] = data
            return data

        self._window.use(chunks_of(inputs_of(bundle.segments)), look_up)
        segments, cursors = list(bundle.segments), dict(bundle.cursors)
        run = frames.Run(bundle.run, bundle.id, bundle.epoch, bundle.seed, segments, fresh, cursors)
        self.channel.send(frames.encode(run))
        if not self.bundles:
            self.heard_at = time.monotonic()
        self.bundles[bundle.id] = bundle
        self.reserved = bundle.alone

    def give_leave(self, leave_s: float, now: float) -> None:
        """Tell it that steps may be started for that long; again when a part of that has passed."""
        if now - self._leave_given_at > leave_s / PARTS:
            self._leave_given_at = now
            self.channel.send(frames.encode(frames.Continue(leave_s)))

    def announce(self, code: RunCode) -> None:
        """Tell it of a run before there is anything to do, so that it has read the graph by then."""
        if code.graph and (code.run, "") not in self._defined:
            self._defined.add((code.run, ""))
            self.channel.send(frames.encode(frames.Define(code.run, code.capsule, b"", code.graph)))

    def _define(self, bundle: Bundle, code: RunCode) -> None:
        self.announce(code)
        unknown = {s.node: None for s in bundle.segments if (bundle.run, s.node) not in self._defined}
        if unknown:
            self._defined.update((bundle.run, node) for node in unknown)
            body = code.define(list(unknown))
            if body:
                self.channel.send(frames.encode(frames.Define(bundle.run, code.capsule, body)))

    def lend(self, bundle: str) -> None:
        """Its slot goes to a host bundle for a while; empty if it has come back."""
        self.lent_to, self.recalled = bundle, False
        self.idle_since = time.monotonic()

    def finished(self, bundle: str) -> None:
        """The worker is done with a bundle."""
        self.bundles.pop(bundle, None)
        if not self.bundles:
            self.reserved = False
            self.kill_at = None
            self.idle_since = time.monotonic()

    def read(self) -> None:
        """One more frame of outcomes was read; the worker is told now and then."""
        self._unread += 1
        if self._unread >= ACKNOWLEDGE_FRAMES:
            self.channel.send(frames.encode(frames.Acknowledge(self._unread)))
            self._unread = 0

    def cancel(self, bundle: str) -> None:
        """End a bundle; a worker that does not manage is killed."""
        self.channel.send(frames.encode(frames.Cancel(bundle)))
        self.kill_at = time.monotonic() + CANCEL_S

    def forget(self, runs: Iterable[str]) -> None:
        """These runs are over."""
        self._defined.clear()
        for run in runs:
            self.channel.send(frames.encode(frames.Forget(run)))

    def step_aside(self) -> None:
        """Make room for others: parked if that helps, else ended."""
        if not self.park():
            self.retire()

    def park(self) -> bool:
        """Let it wait without a slot; False if that is not possible."""
        if self.channel.park():
            self.parked = True
            self.idle_since = time.monotonic()
        return self.parked

    def unpark(self) -> None:
        """It is needed again."""
        self.parked = False
        self.idle_since = time.monotonic()
        self.channel.unpark()

    def retire(self) -> None:
        """Let it end; it has nothing to do."""
        if not self.closing:
            self.closing = True
            self.channel.send(frames.encode(frames.Stop()))
            self.channel.close()

    # ---- watching

    def heard(self, frame: frames.FromWorker) -> None:
        """It said something."""
        self.heard_at = time.monotonic()
        if isinstance(frame, frames.Hello):
            self.greeted = True
            self.idle_since = self.heard_at
        elif isinstance(frame, frames.Alive):
            self._note_memory(frame.rss)

    def _note_memory(self, rss: int) -> None:
        if not self._first_rss:
            self._first_rss = self._most_rss = rss
        elif rss > self._most_rss + GROWTH_STEP_BYTES:
            self._most_rss = rss
            self._grown += 1

    @property
    def keeps_growing(self) -> bool:
        """True if its memory reached new heights again and again, far above where it started."""
        return self._grown >= GROWTH_TIMES and self._most_rss > self._first_rss + GROWTH_BYTES

    def is_overdue(self, now: float) -> bool:
        """Whether it must be killed now; ``killed_because`` says why."""
        limit = _longest(bundle.timeout_s for bundle in self._running())
        if self.killed_because:
            return False
        if self.kill_at is not None and now > self.kill_at:
            self.killed_because = "it did not end a cancelled step"
        elif not self.greeted:
            if now > self.heard_at + self.channel.start_s:
                self.killed_because = f"it did not start within {self.channel.start_s:g} s"
        elif limit is not None and now > self.heard_at + limit + SILENT_S:
            self.timed_out = True
            silent_s = now - self.heard_at
            self.killed_because = f"it has not answered for {silent_s:.1f} s, longer than the time-out of its step"
        return bool(self.killed_because)

    def _running(self) -> Iterable[Bundle]:
        bundles = list(self.bundles.values())
        return bundles if self.needs.kind == "host" else bundles[:1]


def _longest(timeouts: Iterable[float | None]) -> float | None:
    """The longest of some time-outs; None if one of them is no limit, or there are none."""
    found = list(timeouts)
    return max((limit for limit in found if limit is not None), default=None) if None not in found else None
