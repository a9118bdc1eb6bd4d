"""The planner: which ready steps travel together, in which bundle.

Light steps are packed to about 50 ms of expected work. Chains and small sub-graphs go along with the step they depend
on when nothing could run beside them, or when their work is less than the trip. Heavy steps,
islands and steps that must be alone travel alone. Pure: the driver submits what comes out.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator

from orchestrator.engine.flights import Flight
from orchestrator.engine.front import IDLE, RUNNING, NodeFront
from orchestrator.engine.inputs import Singles, made_here, segment
from orchestrator.engine.machine import Machine
from orchestrator.engine.pace import BUNDLE_S, Pace
from orchestrator.graph.node import Node
from orchestrator.ports.executor import Bundle
from orchestrator.ports.frames import Input, Segment

TRIP_S = 0.002
"""Work below this is not worth splitting between workers."""

MAX_HEAVY = 64
"""Heavy steps handed to the executor at once; they queue there for their resources."""

MAX_HOSTS_A_LEVEL = 8
"""Islands and streams alive at once on one level of nesting (levels count apart, so that nesting cannot deadlock)."""

MAX_AHEAD = 2048
"""Single steps that may follow others in one bundle."""


class Planner:
    """Makes bundles from what the frontier offers."""

    def __init__(
        self, machine: Machine, pace: Pace, slots: Callable[[], int], seed: int, new_id: Callable[[], str]
    ) -> None:
        self._machine = machine
        self._pace = pace
        self._slots_of = slots
        self._seed = seed
        self._new_id = new_id
        created = machine.fold.created
        self._cursors = {name: at.value for name, at in created.cursors.items()} if created is not None else {}

    @property
    def _slots(self) -> int:
        return max(1, self._slots_of())

    def plan(self, room: int, barriers: bool) -> Iterator[Bundle]:
        """Bundles to submit now: up to ``room`` light ones, and heavy ones and hosts up to their limits.

        Args:
            barriers: Whether everything so far is committed, so that steps with effects may start.
        """
        ready = self._machine.frontier.ready
        for node_id in sorted(ready, key=lambda name: ready[name].state.order, reverse=True):
            front = ready.get(node_id)
            while front is not None and front.ready_count:
                kind = front.kind
                if front.is_barrier and not barriers and kind != "host":
                    break
                if kind == "light":
                    if room <= 0:
                        break
                    room -= 1
                    yield self._light(front)
                elif self._places(front.state.node, kind) > 0:
                    yield self._single(front, kind)
                else:
                    break
            if front is not None and not front.ready_count:
                ready.pop(node_id, None)

    def holds_barriers(self) -> bool:
        """True if a step is ready that may start only when everything before it is committed."""
        return any(front.ready_count and front.is_barrier for front in self._machine.frontier.ready.values())

    def take_back(self, idle: int) -> Iterator[tuple[str, int]]:
        """Unstarted steps that an idle slot should have instead: (bundle, number of steps).

        All of a bundle that is queued behind another on its worker, or half of what one that runs still owes.
        """
        candidates, busy = [], set()
        for bundle, flight in self._machine.flights.items():
            queued = flight.worker in busy
            busy.add(flight.worker)
            if not flight.segments or (not queued and self._machine.frontier.fronts[flight.segments[-1][0]].unmet):
                continue
            owed = self._stealable(flight)
            count = owed if queued else owed // 2
            if count:
                candidates.append((owed, bundle, count))
        for _, bundle, count in sorted(candidates, reverse=True)[:idle]:
            self._machine.flights[bundle].releasing = True
            yield bundle, count

    # ---- light bundles

    def _light(self, front: NodeFront) -> Bundle:
        node = front.state.node
        start = front.first()
        if start in front.solo or node.policy.barrier or front.state.failed_attempts.get(start):
            return self._bundle([self._take(front, 1, {})], alone=start in front.solo)
        budget, used = 1.0, 0.0
        segments: list[Segment] = []
        singles: dict[str, Input] = {}
        for other in self._companions(front):
            share = self._pace.share(pace_key(other.state.node))
            count = min(self._fair_count(other, share), max(1, int((budget - used) / share)))
            if segments and used + share > budget:
                break
            segments.append(self._take(other, count, singles))
            used += share * (segments[-1].stop - segments[-1].start)
        segments += self._ahead(segments, budget - used, singles)
        return self._bundle(segments)

    def _companions(self, front: NodeFront) -> Iterator[NodeFront]:
        """The front itself, then other single light steps that may join its bundle."""
        yield front
        if front.state.node.is_map:
            return
        ready = self._machine.frontier.ready
        others = [
            other for other in ready.values()
            if other.is_light and other.ready_count and other is not front and not (other.solo or other.state.failures)
        ]  # fmt: skip
        total_s = sum(self._pace.step_s(pace_key(other.state.node)) or BUNDLE_S for other in others)
        limit = len(others) if total_s < TRIP_S else math.ceil((len(others) + 1) / self._slots) - 1
        yield from others[:limit]

    def _fair_count(self, front: NodeFront, share: float) -> int:
        """So many items that every slot gets some, unless all of them together are not worth the trip."""
        if front.ready_count * share * BUNDLE_S < TRIP_S:
            return front.ready_count
        return math.ceil(front.ready_count / self._slots)

    def _ahead(self, segments: list[Segment], budget: float, singles: Singles) -> list[Segment]:
        """Steps all of whose missing inputs come from this bundle, as far as they fit or nothing else could run."""
        frontier, fold = self._machine.frontier, self._machine.fold
        together = {s.node for s in segments if not fold.nodes[s.node].node.is_map}
        others = any(front.ready_count for front in frontier.ready.values())
        queue = deque(together)
        met: dict[str, int] = {}
        shares: dict[str, float] = {}
        added: list[Segment] = []
        while queue and len(added) < MAX_AHEAD:
            source = queue.popleft()
            waiting = [
                front for front in frontier.waiting_for(fold.nodes[source])
                if front.may_follow and front.live[0] == IDLE and not front.state.failures
            ]  # fmt: skip
            if not waiting:
                continue
            singles[source] = made_here(source)
            alone = len(waiting) == 1 and not queue and not others
            for front in waiting:
                node = front.state.node
                met[node.id] = known = met.get(node.id, 0) + 1
                if known < front.unmet or node.id in together:
                    continue
                stage = pace_key(node)
                share = shares.get(stage)
                if share is None:
                    share = shares[stage] = self._pace.share(stage)
                if share > budget and not alone:
                    continue
                budget -= share
                front.take_ahead()
                together.add(node.id)
                queue.append(node.id)
                added.append(segment(fold, node, 0, 1, singles))
        return added

    # ---- single steps

    def _single(self, front: NodeFront, kind: str) -> Bundle:
        host = kind == "host"
        uses = ("data",) if front.large else front.state.node.policy.uses
        return self._bundle([self._take(front, 1, {})], alone=not host, host=host, heavy=not host, uses=uses)

    def _places(self, node: Node, kind: str) -> int:
        flights = self._machine.flights.values()
        if kind == "heavy":
            return MAX_HEAVY - sum(flight.heavy for flight in flights)
        level = node.id.count("]/") + node.id.count("/")
        alive = sum(flight.host and flight.level == level for flight in flights)
        return MAX_HOSTS_A_LEVEL - alive

    # ---- shared

    def _take(self, front: NodeFront, count: int, singles: Singles) -> Segment:
        start, stop = front.take(count)
        return segment(self._machine.fold, front.state.node, start, stop, singles)

    def _bundle(
        self,
        segments: list[Segment],
        alone: bool = False,
        host: bool = False,
        heavy: bool = False,
        uses: tuple[str, ...] = (),
    ) -> Bundle:
        fold = self._machine.fold
        first = fold.nodes[segments[0].node].node
        times_s = [fold.nodes[s.node].node.policy.timeout_s for s in segments]
        bundle = Bundle(
            self._new_id(), fold.run, fold.epoch, self._seed, segments, alone=alone, host=host,
            heavy=first.policy.resources if heavy else None, isolated=first.policy.isolated, uses=uses,
            timeout_s=max((t for t in times_s if t is not None), default=None) if all(times_s) else None,
            cursors=self._cursors,
        )  # fmt: skip
        self._machine.flights[bundle.id] = Flight(
            [(s.node, s.start, s.stop) for s in segments], alone, host, heavy,
            size=sum(s.stop - s.start for s in segments), level=first.id.count("]/") + first.id.count("/"),
        )  # fmt: skip
        return bundle

    def _stealable(self, flight: Flight) -> int:
        """Steps that a flight still owes, if it is one to take from and their work is worth the trip; else 0."""
        if flight.host or flight.heavy or flight.alone or flight.releasing or flight.cancelled or not flight.worker:
            return 0
        fronts = self._machine.frontier.fronts
        owed, work_s = 0, 0.0
        for node, start, stop in flight.segments:
            count = fronts[node].live.count(RUNNING, start, stop)
            step_s = self._pace.step_s(pace_key(fronts[node].state.node))
            owed += count
            work_s += count * (BUNDLE_S if step_s is None else step_s)
        return owed if work_s >= TRIP_S else 0


def pace_key(node: Node) -> str:
    """What the pace of a node's steps is kept under: the code they run."""
    return node.stage.fingerprint if node.stage else node.kind
