"""What may start next: readiness, derived from the fold and kept up to date as facts arrive.

Nothing here is durable. After recovery it is rebuilt from the fold alone. Cost is per range, not per item, except
where a map depends on several others item by item.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Literal

from orchestrator.engine.state import DONE, DROPPED, OPEN, SETTLED, NodeState, RunFold
from orchestrator.graph.node import Node, Ref, dependencies, refs

IDLE, READY, RUNNING, CHECKING = range(4)
_ONE_DONE = bytes([DONE])


class NodeFront:
    """Readiness of one node.

    Attributes:
        unmet: Whole outputs, single items and guards it still waits for.
        streams: Nodes it follows item by item.
        live: Per item IDLE, READY, RUNNING or CHECKING; settled items are IDLE.
        unchecked: Ranges whose inputs exist and for which the cache is to be asked first.
        ready: Ranges to hand out, oldest first; may hold withdrawn items, which ``take`` passes over.
        solo: Items that must run alone on their worker, because a worker died under them and others.
        is_light: It has one step, light and pure, that may travel with others.
        may_follow: Beyond that, it has no reason of its own to wait once its inputs are made in the same bundle.
        large: The table that it divides is a large one; None until that was looked up.
    """

    __slots__ = (
        "asks_cache", "is_light", "large", "live", "may_follow", "ready", "ready_count", "running_count", "solo",
        "state", "streams", "unchecked", "unmet",
    )  # fmt: skip

    def __init__(self, state: NodeState) -> None:
        self.state = state
        self.unmet = 0
        self.streams: list[NodeState] = []
        self.live = bytearray(state.length)
        self.asks_cache = caches(state.node)
        weighed = state.node.policy.divides and state.node.policy.light and not state.node.mapped
        self.large: bool | None = None if weighed else False
        node, policy = state.node, state.node.policy
        self.is_light = (
            policy.light and not (policy.barrier or policy.streaming or node.mapped) and node.kind != "dynamic"
        )
        self.may_follow = (
            self.is_light
            and not (node.guards or self.asks_cache or policy.divides)  # what is divided is measured first
            and node.kind in ("stage", "branch", "pack")
        )
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
        self._mark_running(0, 1)

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


class Frontier:
    """Readiness of a whole run.

    Attributes:
        changed: Nodes whose guards or inputs changed since the machine last looked (it derives facts from them).
        ready: Fronts with something to hand out; ``unchecked`` those for which the cache is to be asked, ``unweighed``
            those whose table is to be measured.
    """

    def __init__(self, fold: RunFold) -> None:
        self.fold = fold
        self.fronts: dict[str, NodeFront] = {}
        self.ready: dict[str, NodeFront] = {}
        self.unchecked: dict[str, NodeFront] = {}
        self.unweighed: list[NodeFront] = []
        self.changed: deque[NodeState] = deque()
        self.unsettled = 0
        self._whole: dict[str, list[NodeFront]] = {}
        self._item: dict[tuple[str, int], list[NodeFront]] = {}
        self._followers: dict[str, list[NodeFront]] = {}
        self._guarded: dict[str, list[NodeState]] = {}
        for state in fold.nodes.values():
            self.add(state)

    # ---- building

    def add(self, state: NodeState) -> NodeFront:
        """Take a node in (inputs first) as far as the fold already knows it."""
        front = self.fronts[state.node.id] = NodeFront(state)
        if not state.is_settled:
            self.unsettled += 1
            for ref, by_item in _needs(state.node):
                self._watch(front, ref, by_item)
            for guard in state.node.guards:
                self._guarded.setdefault(guard.branch, []).append(state)
            self._offer(front)
        if state.is_settled or _has_consequences(state.node):
            self.changed.append(state)
        return front

    def _watch(self, front: NodeFront, ref: Ref, by_item: bool) -> None:
        source = self.fold.nodes[ref.node]
        if by_item and source.node.many:
            front.streams.append(source)
            self._followers.setdefault(ref.node, []).append(front)
        elif source.node.many and ref.path and isinstance(ref.path[0], int):
            if source.outputs.find(ref.path[0]) is None:
                front.unmet += 1
                self._item.setdefault((ref.node, ref.path[0]), []).append(front)
        elif not source.has_output:
            front.unmet += 1
            self._whole.setdefault(ref.node, []).append(front)

    def _offer(self, front: NodeFront) -> None:
        """Offer every item of a front whose inputs exist."""
        state = front.state
        if front.unmet or state.node.kind in ("choice", "approval", "signal"):
            return
        if not front.streams:
            front.make_ready(0, state.length)
        elif len(front.streams) == 1:
            for span in front.streams[0].outputs.spans:
                self._offer_range(front, span.start, span.stop)
        else:
            self._offer_zipped(front, 0, state.length)
        self._list(front)

    def _offer_range(self, front: NodeFront, start: int, stop: int) -> None:
        if not front.state.closed:
            front.state.grow(stop)
        stop = min(stop, front.state.length)
        if start < stop:
            front.make_ready(start, stop)

    def _offer_zipped(self, front: NodeFront, start: int, stop: int) -> None:
        for index in range(start, min(stop, front.state.length)):
            if all(source.outputs.find(index) for source in front.streams):
                front.make_ready(index, index + 1)

    def _list(self, front: NodeFront) -> None:
        if front.ready_count:
            self.ready[front.state.node.id] = front
            if front.large is None:
                self.unweighed.append(front)
        if front.unchecked:
            self.unchecked[front.state.node.id] = front

    def missed(self, front: NodeFront, start: int, stop: int) -> None:
        """The cache was asked and has no output for these items."""
        front.missed(start, stop)
        self._list(front)

    # ---- events

    def outputs_added(self, state: NodeState, start: int, stop: int) -> None:
        """Items ``start..stop`` of a node have outputs (for a streaming node: batches)."""
        for follower in self._followers.get(state.node.id, ()):
            if not follower.state.closed:
                follower.state.grow(stop)
                follower.grow()
            if follower.unmet:
                continue
            if len(follower.streams) == 1:
                self._offer_range(follower, start, stop)
            else:
                self._offer_zipped(follower, start, stop)
            self._list(follower)
        if self._item:
            for index in range(start, stop):
                for front in self._item.pop((state.node.id, index), ()):
                    self._met(front)

    def width_known(self, state: NodeState) -> None:
        """A map's final length came in."""
        front = self.fronts[state.node.id]
        front.grow()
        self._offer(front)
        self.changed.append(state)

    def step_settled(self, state: NodeState) -> None:
        """Some steps of a node have their outcome; if that was the last, whole dependents go on."""
        if not self._goes_unnoticed(state):
            self.changed.append(state)
        if state.has_output:
            for front in self._whole.pop(state.node.id, ()):
                self._met(front)

    def _goes_unnoticed(self, state: NodeState) -> bool:
        """True for the plain success of a single step from which nothing follows but that its dependents may start."""
        node = state.node
        return (
            state.status[0:] == _ONE_DONE
            and node.kind != "dynamic"
            and not node.mapped
            and node.id not in self._guarded
            and node.id not in self._followers
        )

    def node_settled(self, state: NodeState) -> None:
        """Count a node whose last step has just settled; called once a node."""
        self.unsettled -= 1
        self.ready.pop(state.node.id, None)

    def retry_due(self, state: NodeState, index: int) -> None:
        """The back-off of an item is over."""
        state.status[index] = OPEN
        self.fold.retrying.pop((state.node.id, index), None)
        self.offer_again(state, index, index + 1)

    def offer_again(self, state: NodeState, start: int, stop: int) -> None:
        """Items came back from a worker without an outcome: offer those whose inputs (still) exist."""
        front = self.fronts[state.node.id]
        front.stop_running(start, stop)
        if front.unmet == 0:
            front.make_ready(start, stop)
            self._list(front)

    def _met(self, front: NodeFront) -> None:
        front.unmet -= 1
        if front.unmet == 0:
            if _has_consequences(front.state.node):
                self.changed.append(front.state)
            if not front.running_count:
                self._offer(front)

    # ---- questions

    def followers(self, state: NodeState) -> Iterable[NodeFront]:
        """Maps that follow a node item by item."""
        return self._followers.get(state.node.id, ())

    def guarded_by(self, state: NodeState) -> Iterable[NodeState]:
        """Nodes that run only if this branch came out their way."""
        return self._guarded.get(state.node.id, ())

    def wait_for(self, state: NodeState, source: NodeState) -> bool:
        """Let a choice wait for the side it took; True if that is there already."""
        if source.has_output:
            return True
        self.fronts[state.node.id].unmet += 1
        self._whole.setdefault(source.node.id, []).append(self.fronts[state.node.id])
        return False

    def waiting_for(self, state: NodeState) -> Iterable[NodeFront]:
        """Nodes that still wait for the whole output of a node."""
        return self._whole.get(state.node.id, ())

    def dropped_items(self, state: NodeState) -> Iterator[int]:
        """Open items of a map one of whose item-by-item inputs was dropped."""
        front = self.fronts[state.node.id]
        for source in front.streams:
            if source.status.count(DROPPED):
                for index in range(min(state.length, source.length)):
                    if source.status[index] == DROPPED and state.status[index] not in SETTLED:
                        yield index


def _needs(node: Node) -> Iterator[tuple[Ref, bool]]:
    """What a node waits for, each once: (reference, whether it is followed item by item)."""
    if node.kind == "choice":
        yield from ((ref, False) for ref in refs(node.args["branch"]))
        yield from ((Ref(guard.branch), False) for guard in node.guards)
        return
    if not node.mapped and not node.guards:
        whole = {expr.node: expr for expr in node.args.values() if type(expr) is Ref and not expr.path}
        if len(whole) == len(node.args):
            for ref in whole.values():
                yield ref, False
            return
    followed = set()
    for name, expr in node.args.items():
        if name in node.mapped and isinstance(expr, Ref) and not expr.path:
            followed.add(expr.node)
    seen = set()
    for ref in dependencies(node):
        by_item = ref.node in followed and not ref.path
        key = (ref.node, by_item, ref.path[:1] if ref.path and isinstance(ref.path[0], int) else ())
        if key not in seen:
            seen.add(key)
            yield ref, by_item


def _has_consequences(node: Node) -> bool:
    """True if facts may follow once the inputs of a node exist, other than that it may start."""
    return bool(node.guards or node.mapped) or node.kind in ("choice", "approval", "signal")


def caches(node: Node) -> bool:
    """True if outputs of the node may be reused: it asked for that, has no effects and is no stream or island."""
    policy = node.policy
    return policy.cache_s is not None and node.kind == "stage" and not policy.effects and not policy.streaming


def takes_items(node: Node, fold: RunFold) -> bool:
    """True if a map follows another node item by item, so that its width comes from there."""
    return any(isinstance(expr, Ref) and not expr.path and fold.nodes[expr.node].node.many
               for name, expr in node.args.items() if name in node.mapped)  # fmt: skip
