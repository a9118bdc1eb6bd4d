"""The pool: bundles to workers, over any transport.

Light bundles share pool workers, at most two queued on each; a bundle that must be alone gets a pool worker to
itself for its time. ``@dynamic`` and streaming bodies go to hosts, which take no slot. Heavy bundles get a worker with
their resources, which ends with them unless it holds nothing; idle pool workers make way for them. The pool remembers
no run beyond its bundles and never repeats anything: what a dead worker owed is reported and the engine decides.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import msgspec

from orchestrator.backends.bundles.member import Member
from orchestrator.backends.bundles.needs import kind_of, needs_of
from orchestrator.backends.bundles.transport import Death, Transport, WorkerNeeds
from orchestrator.errors import WorkerStartFailed
from orchestrator.ports import frames
from orchestrator.ports.executor import Accepted, Bundle, ExecutorEvent, FromBundle, Joined, Lost, Refused, RunCode
from orchestrator.ports.frames import Segment

IDLE_S = 1.0
KEEP_S = 60.0
"""How long a worker is kept for which there is no work: it takes memory, but no slot."""

FROZEN_S = 2.0
"""After such a pause between two polls it is the driver that was away, not its workers."""

REST_S = 0.1
WATCH_S = 0.05
FAILED_STARTS = 3
HOSTS = 2
"""Hosts with this many bodies each are started before bodies are put together."""


class Pool:
    """Executor over a transport; see ``ports.executor.Executor``.

    Args:
        idle_s: How long a worker without work keeps its slot; then it is parked, for ``KEEP_S`` at most, or ended.
        leave_s: Workers start no more steps when the driver was silent for so long, because others may have succeeded
            it; None where nobody can.
    """

    def __init__(self, transport: Transport, idle_s: float = IDLE_S, leave_s: float | None = None) -> None:
        self._transport = transport
        self._leave_s = leave_s
        self._idle_s = idle_s
        self.name = transport.name
        self._runs: dict[str, RunCode] = {}
        self._members: dict[str, Member] = {}
        self._holder: dict[str, Member] = {}
        self._waiting: deque[Bundle] = deque()
        self._borrowers: dict[str, Member] = {}
        self._inbox: deque[tuple[str, bytes | Death]] = deque()
        self._events: list[ExecutorEvent] = []
        self._failed_starts = 0
        self._polled_at = self._watched_at = time.monotonic()

    @property
    def slots(self) -> int:
        """Pool workers that can live at once."""
        return self._transport.slots

    # ---- taking bundles

    def open(self, code: RunCode) -> None:
        """See ``Executor``."""
        self._runs[code.run] = code
        self._transport.resume()
        needs = WorkerNeeds("pool", code.capsule)
        same = (m for m in self._members.values() if m.needs == needs and m.is_idle and m.room() > 0)
        first = next(same, None)
        if first is not None:  # others may never be needed
            first.announce(code)

    def room(self) -> int:
        """See ``Executor``."""
        if self._making_way():
            return 0
        lent = sum(1 for member in self._members.values() if member.lent_to)
        free = sum(member.room() for member in self._members.values()) + 2 * (self._startable() + lent)
        return max(0, free - sum(1 for bundle in self._waiting if kind_of(bundle) == "pool"))

    def idle(self) -> int:
        """See ``Executor``."""
        idle = sum(1 for member in self._members.values() if member.needs.kind == "pool" and member.is_idle)
        return max(0, idle + self._startable() - len(self._waiting))

    def submit(self, bundle: Bundle) -> None:
        """See ``Executor``."""
        refusal = self._transport.refusal(self._needs(bundle))
        if refusal is not None:
            self._events.append(Refused(bundle.id, refusal))
            return
        self._waiting.append(bundle)
        self._place()

    def release(self, bundle: str, count: int) -> None:
        """See ``Executor``."""
        member = self._holder.get(bundle)
        if member is not None:
            member.channel.send(frames.encode(frames.Release(bundle, count)))
        for place, waiting in enumerate(self._waiting):
            if waiting.id == bundle:
                kept, given_back = _divided(waiting.segments, count)
                self._waiting[place] = replace(waiting, segments=kept)
                self._events.append(FromBundle("", frames.Released(bundle, given_back)))

    def cancel(self, bundle: str) -> None:
        """See ``Executor``."""
        member = self._holder.get(bundle)
        if member is not None:
            member.cancel(bundle)
            return
        for waiting in [one for one in self._waiting if one.id == bundle]:
            self._waiting.remove(waiting)
            given_back = [(segment.node, segment.start, segment.stop) for segment in waiting.segments]
            self._events.append(FromBundle("", frames.Released(bundle, given_back)))
            self._events.append(FromBundle("", frames.Outcomes(bundle, "", None, finished=True)))

    def answer(self, bundle: str, returned: frames.Returned) -> None:
        """See ``Executor``."""
        member = self._holder.get(bundle)
        if member is not None:
            member.channel.send(frames.encode(returned))

    # ---- placing

    def _needs(self, bundle: Bundle) -> WorkerNeeds:
        return needs_of(bundle, self._runs[bundle.run].capsule)

    def _startable(self) -> int:
        """How many pool workers could be started now."""
        alive = sum(1 for m in self._members.values() if m.needs.kind == "pool" and not m.closing and not m.parked)
        if self._making_way() or alive >= self.slots or not self._transport.fits(WorkerNeeds("pool")):
            return 0
        return self.slots - alive

    def _making_way(self) -> bool:
        """Whether a heavy bundle waits only for pool workers to go; until then they get nothing new."""
        heavy = [self._needs(bundle) for bundle in self._waiting if kind_of(bundle) == "heavy"]
        if not heavy:
            return False
        lights = [name for name, member in self._members.items() if member.needs.kind == "pool"]
        return any(not self._transport.fits(needs) and self._transport.fits(needs, lights) for needs in heavy)

    def _place(self) -> None:
        """Give waiting bundles to workers as far as there are places, in order within each kind.

        Heavy ones first: what pool workers made way for would else be taken by the next pool worker.
        """
        if not self._waiting:
            self._lend()
            return
        for bundle in sorted(self._waiting, key=lambda bundle: kind_of(bundle) != "heavy"):
            member = None if kind_of(bundle) == "pool" and self._making_way() else self._member_for(bundle)
            if member is not None:
                self._waiting.remove(bundle)
                self._holder[bundle.id] = member
                self._give_leave(member, time.monotonic())
                member.give(bundle, self._runs[bundle.run])
                self._events.append(Accepted(bundle.id, member.name))
        if self._making_way():
            for member in self._members.values():
                if member.needs.kind == "pool" and member.is_idle:
                    member.step_aside()
        if any(kind_of(bundle) != "host" for bundle in self._waiting):
            self._recall()

    def _lend(self) -> None:
        """Let bodies that make light calls use the slots of idle workers."""
        for bundle, host in list(self._borrowers.items()):
            idle = next(
                (m for m in self._members.values() if m.needs.kind == "pool" and m.is_ready and m.is_idle), None
            )
            if idle is None:
                return
            del self._borrowers[bundle]
            idle.lend(bundle)
            host.channel.send(frames.encode(frames.Lend(bundle)))

    def _recall(self) -> None:
        """Ask for lent slots back: somebody waits."""
        for member in self._members.values():
            host = self._holder.get(member.lent_to)
            if host is not None and not member.recalled:
                member.recalled = True
                host.channel.send(frames.encode(frames.Recall(member.lent_to)))

    def _handed_back(self, bundle: str) -> None:
        """A body does not use a lent slot any more, or has ended."""
        self._borrowers.pop(bundle, None)
        for member in self._members.values():
            if member.lent_to == bundle:
                member.lend("")

    def _member_for(self, bundle: Bundle) -> Member | None:
        needs = self._needs(bundle)
        if needs.kind == "heavy":
            free = (m for m in self._members.values() if m.needs == needs and m.is_idle and not m.keeps_growing)
            found = next(free, None) if needs.lasting else None
            return found or (self._start(needs) if self._transport.fits(needs) else None)
        same = [m for m in self._members.values() if m.needs == needs and not m.closing and not m.parked]
        if needs.kind == "host":
            emptiest = min(same, key=lambda m: len(m.bundles), default=None)
            if emptiest is None or (emptiest.bundles and len(same) < max(HOSTS, self.slots)):
                return self._start(needs)
            return emptiest
        up = [m for m in same if m.room() > 0]
        idle = next((m for m in up if m.is_idle), None)
        if idle is not None:
            return idle
        starting = sum(1 for m in same if not m.is_ready)
        if starting < len(self._waiting) and self._startable():
            self._start(needs)  # it is given bundles once it is up; until then others may be quicker
            starting += 1
        if starting:
            return None  # nothing is queued behind a running bundle while another worker is about to be free
        emptiest = min(up, key=lambda m: len(m.bundles), default=None)
        if emptiest is None:
            self._make_room(needs)
        elif bundle.alone:
            self._reserve(emptiest)
            return None
        return emptiest

    def _make_room(self, needs: WorkerNeeds) -> None:
        """End an idle worker of other code, if only that keeps one for this code from starting."""
        for member in self._members.values():
            if member.needs.kind == "pool" and member.needs != needs and member.is_idle:
                member.step_aside()
                return

    def _reserve(self, member: Member) -> None:
        """Give a worker nothing more, so that it gets idle for a bundle that must be alone."""
        alone = sum(1 for bundle in self._waiting if bundle.alone and kind_of(bundle) == "pool")
        if sum(1 for one in self._members.values() if one.reserved) < alone:
            member.reserved = True

    def _start(self, needs: WorkerNeeds) -> Member:
        parked = next((m for m in self._members.values() if m.parked and m.needs == needs and not m.closing), None)
        if parked is not None:
            parked.unpark()
            return parked
        name = f"{self.name}-{secrets.token_hex(4)}"
        channel = self._transport.start(name, needs, lambda worker, said: self._inbox.append((worker, said)))
        self._members[name] = Member(channel, needs)
        return self._members[name]

    # ---- hearing

    def poll(self, timeout_s: float) -> list[ExecutorEvent]:
        """See ``Executor``.

        Raises:
            WorkerStartFailed: workers end again and again before they are up.
        """
        self._place()
        self._transport.pump(0.0 if self._events or self._inbox else timeout_s)
        while self._inbox:
            name, said = self._inbox.popleft()
            member = self._members.get(name)
            if member is None:
                continue
            if isinstance(said, Death):
                self._died(member, said)
            else:
                self._said(member, said)
        self._watch()
        self._place()
        events, self._events = self._events, []
        return events

    def _said(self, member: Member, data: bytes) -> None:
        try:
            frame = frames.decode_from_worker(data)
        except msgspec.DecodeError:
            member.channel.kill()
            return
        member.heard(frame)
        if isinstance(frame, frames.Outcomes):
            member.read()
            if frame.finished:
                self._handed_back(frame.bundle)
                self._holder.pop(frame.bundle, None)
                member.finished(frame.bundle)
                if member.needs.kind == "heavy" and not member.needs.lasting:
                    member.retire()
            self._events.append(FromBundle(member.name, frame))
        elif isinstance(frame, frames.Released | frames.Call):
            self._events.append(FromBundle(member.name, frame))
        elif isinstance(frame, frames.Borrow):
            if frame.bundle in self._holder:
                self._borrowers[frame.bundle] = member
        elif isinstance(frame, frames.HandBack):
            self._handed_back(frame.bundle)
        elif isinstance(frame, frames.Hello):
            self._failed_starts = 0
            self._events.append(Joined(member.name, frame.host, frame.pid))

    def _died(self, member: Member, death: Death) -> None:
        del self._members[member.name]
        for bundle in member.bundles:
            self._handed_back(bundle)
            del self._holder[bundle]
        if death.never:
            self._events += [Refused(bundle, death.reason) for bundle in member.bundles]
            return
        if not member.greeted and not member.closing:
            self._failed_starts += 1
            if self._failed_starts >= FAILED_STARTS:
                raise WorkerStartFailed(
                    f"{self._failed_starts} workers ended before they were up; the last: {death.reason}"
                )
        if member.bundles:
            reason = member.killed_because or death.reason
            self._events.append(Lost(member.name, reason, tuple(member.bundles), member.timed_out))

    def _watch(self) -> None:
        """Kill what is overdue, retire what is idle or has grown too large."""
        now = time.monotonic()
        away, self._polled_at = now - self._polled_at > FROZEN_S, now
        if now - self._watched_at < WATCH_S and not away:
            return
        self._watched_at = now
        for member in self._members.values():
            if member.bundles:
                self._give_leave(member, now)
            if away:
                member.heard_at = now
            elif member.is_overdue(now):
                member.channel.kill()
            elif member.is_idle and member.keeps_growing:
                member.retire()
            elif member.is_idle and member.is_ready and now - member.idle_since > self._idle_s:
                member.step_aside()
            elif member.parked and now - member.idle_since > KEEP_S:
                member.retire()

    def _give_leave(self, member: Member, now: float) -> None:
        if self._leave_s is not None:
            member.give_leave(self._leave_s, now)

    def wake(self) -> None:
        """See ``Executor``."""
        self._transport.wake()

    def rest(self) -> bool:
        """Forget all runs and keep the workers; False if something still runs, so that the pool must be closed."""
        patience = time.monotonic() + REST_S  # the last outcome may be here before its worker has said that it is done
        while any(m.bundles or m.closing for m in self._members.values()) and time.monotonic() < patience:
            self.poll(REST_S / 10)
        if any(member.bundles for member in self._members.values()) or self._waiting:
            return False
        for member in self._members.values():
            if member.closing or member.killed_because:
                member.channel.kill()  # nobody listens from now on: what it holds would stay held
                continue
            member.forget(self._runs)
            member.park()
        self._runs.clear()
        self._events.clear()
        self._transport.rest()
        return True

    def close(self) -> None:
        """See ``Executor``."""
        self._transport.close()
        self._members.clear()
        self._holder.clear()
        self._waiting.clear()
        self._runs.clear()


def _divided(segments: Sequence[Segment], count: int) -> tuple[list[Segment], list[tuple[str, int, int]]]:
    """Segments without their last ``count`` steps, and those steps; the first step always stays."""
    kept, given_back = list(segments), []
    count = min(count, sum(segment.stop - segment.start for segment in segments) - 1)
    while count > 0:
        last = kept.pop()
        middle = max(last.start, last.stop - count)
        given_back.append((last.node, middle, last.stop))
        count -= last.stop - middle
        if middle > last.start:
            kept.append(msgspec.structs.replace(last, stop=middle))
    return kept, given_back
