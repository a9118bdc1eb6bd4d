"""Readiness of one node: which of its items wait, may start, or are under way."""

from __future__ import annotations

from typing import Literal, NamedTuple

from orchestrator.engine.state import OPEN, NodeState
from orchestrator.graph.node import Node

IDLE, READY, RUNNING, CHECKING = range(4)


class Traits(NamedTuple):
    """What nodes of one stage have in common.

    Attributes:
        asks_cache: The cache is asked first.
        is_light: It has one step, light and pure, that may travel with others.
        may_follow: Beyond that, it has no reason of its own to wait once its inputs are made in the same bundle.
        weighed: How large the table is that it divides decides where its steps run.
    """

    asks_cache: bool
    is_light: bool
    may_follow: bool
    weighed: bool


class NodeFront:
    """Readiness of one node.

    Attributes:
        unmet: Whole outputs, single items and guards it still waits for.
        streams: Nodes it follows item by item.
        live: Per item IDLE, READY, RUNNING or CHECKING; settled items are IDLE.
        unchecked: Ranges whose inputs exist and for which the cache is to be asked first.
        ready: Ranges to hand out, oldest first; may hold withdrawn items, which ``take`` passes over.
        solo: Items that must run alone on their worker, because a worker died under them and others.
        asks_cache, is_light, may_follow: See ``Traits``.
        large: The table that it divides is a large one; None until that was looked up.
    """

    __slots__ = (
        "asks_cache", "is_light", "large", "live", "may_follow", "ready", "ready_count", "running_count", "solo",
        "state", "streams", "unchecked", "unmet",
    )  # fmt: skip

    def __init__(self, state: NodeState, traits: Traits) -> None:
        self.state = state
        self.unmet = 0
        self.streams: list[NodeState] = []
        self.live = bytearray(state.length)
        self.asks_cache, self.is_light, self.may_follow = traits.asks_cache, traits.is_light, traits.may_follow
        self.large: bool | None = None if traits.weighed else False
        self.unchecked: list[tuple[int, int]] = []
        self.ready: list[tuple[int, int]] = []
        self.ready_count = 0
        self.running_count = 0
        self.solo: set[int] = set()

    @property
    def kind(self) -> Literal["light", "heavy", "host"]:
        """Where its steps run."""
        policy = self.state.node.policy
        if self.state.node.kind == "dynamic" or policy.streaming:
            return "host"
        return "light" if policy.light and not self.large else "heavy"

    @property
    def is_barrier(self) -> bool:
        """True if its steps may start only after all their inputs are committed."""
        return self.state.node.policy.barrier or bool(self.large)

    def grow(self) -> None:
        """Follow the fold's length."""
        if self.state.length > len(self.live):
            self.live.extend(bytes(self.state.length - len(self.live)))

    def make_ready(self, start: int, stop: int) -> None:
        """Offer the open, idle items of a range."""
        self.grow()
        fresh = stop - start
        if not fresh:
            return
        if self.state.status.count(OPEN, start, stop) == fresh and self.live.count(IDLE, start, stop) == fresh:
            self._offer(start, stop)
            return
        run_start = None
        for index in range(start, stop):
            fits = self.state.status[index] == OPEN and self.live[index] == IDLE
            if fits and run_start is None:
                run_start = index
            elif not fits and run_start is not None:
                self._offer(run_start, index)
                run_start = None
        if run_start is not None:
            self._offer(run_start, stop)

    def _offer(self, start: int, stop: int) -> None:
        if self.asks_cache and start not in self.state.failures:
            self.live[start:stop] = bytes([CHECKING]) * (stop - start)
            self.unchecked.append((start, stop))
        else:
            self.missed(start, stop)

    def missed(self, start: int, stop: int) -> None:
        """Items that the cache does not have are ready to run."""
        self.live[start:stop] = bytes([READY]) * (stop - start)
        self.ready_count += stop - start
        if self.ready and self.ready[-1][1] == start and not self.solo:
            self.ready[-1] = (self.ready[-1][0], stop)
        else:
            self.ready.append((start, stop))

    def first(self) -> int:
        """The first ready item; only if ``ready_count``."""
        while True:
            start, stop = self.ready[0]
            found = self.live.find(READY, start, stop)
            if found >= 0:
                self.ready[0] = (found, stop)
                return found
            del self.ready[0]

    def take(self, count: int) -> tuple[int, int]:
        """Mark up to ``count`` consecutive ready items running and return their range; solo items come one by one."""
        start = self.first()
        _, stop = self.ready[0]
        end = start + 1 if start in self.solo else min(stop, start + count)
        if self.solo:
            end = min([end, *(index for index in self.solo if start < index < end)])
        if self.live.count(READY, start, end) < end - start:  # some were withdrawn meanwhile
            end = next(index for index in range(start, end) if self.live[index] != READY)
        if end < stop:
            self.ready[0] = (end, stop)
        else:
            del self.ready[0]
        self._mark_running(start, end)
        self.ready_count -= end - start
        return start, end

    def take_ahead(self) -> None:
        """Mark the only step of a node running although its inputs come from the same bundle."""
        self.live[0] = RUNNING
        self.running_count += 1

    def _mark_running(self, start: int, stop: int) -> None:
        self.live[start:stop] = bytes([RUNNING]) * (stop - start)
        self.running_count += stop - start

    def stop_running(self, start: int, stop: int) -> None:
        """Items are no longer on a worker or to be handed out (delivered, given back, lost, or settled otherwise)."""
        if stop - start == 1:
            self.running_count -= self.live[start] == RUNNING
            self.ready_count -= self.live[start] == READY
            self.live[start] = IDLE
            return
        self.running_count -= self.live.count(RUNNING, start, stop)
        self.ready_count -= self.live.count(READY, start, stop)
        self.live[start:stop] = bytes(stop - start)

    def withdraw_all(self) -> None:
        """Offer nothing any more (the run is ending)."""
        for start, stop in self.ready:
            self.live[start:stop] = self.live[start:stop].replace(bytes([READY]), bytes([IDLE]))
        self.ready.clear()
        self.ready_count = 0


def traits(node: Node) -> Traits:
    """What follows from what a node is."""
    policy, asks_cache = node.policy, caches(node)
    light = policy.light and not (policy.barrier or policy.streaming or node.mapped) and node.kind != "dynamic"
    # What is divided is measured first.
    follows = light and not (node.guards or asks_cache or policy.divides) and node.kind in ("stage", "branch", "pack")
    return Traits(asks_cache, light, follows, policy.divides and policy.light and not node.mapped)


def caches(node: Node) -> bool:
    """True if outputs of the node may be reused: it asked for that, has no effects and is no stream or island."""
    policy = node.policy
    return policy.cache_s is not None and node.kind == "stage" and not policy.effects and not policy.streaming
