"""What may start next: readiness, derived from the fold and kept up to date as facts arrive.

Nothing here is durable. After recovery it is rebuilt from the fold alone. Cost is per range, not per item, except
where a map depends on several others item by item.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from orchestrator.engine.front import NodeFront, Traits, traits
from orchestrator.engine.state import DONE, DROPPED, OPEN, SETTLED, NodeState, RunFold
from orchestrator.graph.node import Node, Ref, StageSpec, dependencies, refs

_ONE_DONE = bytes([DONE])


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
        self._known_traits: dict[tuple[int, str, bool, bool], tuple[StageSpec | None, Traits]] = {}
        for state in fold.nodes.values():
            self.add(state)

    # ---- building

    def add(self, state: NodeState) -> NodeFront:
        """Take a node in (inputs first) as far as the fold already knows it."""
        node = state.node
        front = self.fronts[node.id] = NodeFront(state, self._traits_of(node))
        settled = state.is_settled
        if not settled:
            self.unsettled += 1
            whole = _whole_inputs(node)
            if whole is not None:
                for source in whole:
                    self._watch_whole(front, source)
            else:
                for ref, by_item in _needs(node):
                    self._watch(front, ref, by_item)
            for guard in node.guards:
                self._guarded.setdefault(guard.branch, []).append(state)
            if not front.unmet:
                self._offer(front)
        if settled or _has_consequences(node):
            self.changed.append(state)
        return front

    def _traits_of(self, node: Node) -> Traits:
        """``traits`` of a node, found out once for all that are alike."""
        alike = (id(node.stage), node.kind, bool(node.mapped), bool(node.guards))
        known = self._known_traits.get(alike)
        if known is None:
            known = self._known_traits[alike] = node.stage, traits(node)  # the stage is kept: it is known by its id
        return known[1]

    def _watch(self, front: NodeFront, ref: Ref, by_item: bool) -> None:
        source = self.fold.nodes[ref.node]
        if by_item and source.many:
            front.streams.append(source)
            self._followers.setdefault(ref.node, []).append(front)
        elif source.many and ref.path and isinstance(ref.path[0], int):
            if source.outputs.find(ref.path[0]) is None:
                front.unmet += 1
                self._item.setdefault((ref.node, ref.path[0]), []).append(front)
        else:
            self._watch_whole(front, ref.node)

    def _watch_whole(self, front: NodeFront, source: str) -> None:
        if self.fold.nodes[source].has_output:
            return
        front.unmet += 1
        waiting = self._whole.get(source)
        if waiting is None:
            self._whole[source] = [front]
        else:
            waiting.append(front)

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

    def single_done(self, state: NodeState) -> None:
        """The only step of a node has its output."""
        name = state.node.id
        self.fronts[name].stop_running(0, 1)
        if self._item or name in self._followers:
            self.outputs_added(state, 0, 1)
        if not self._goes_unnoticed(state):
            self.changed.append(state)
        for front in self._whole.pop(name, ()):
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


def _whole_inputs(node: Node) -> set[str] | None:
    """Nodes whose whole outputs are all that a node waits for; None if there is more to it."""
    if node.mapped or node.guards or node.kind == "choice":
        return None
    found = set()
    for expr in node.args.values():
        if type(expr) is not Ref or expr.path:
            return None
        found.add(expr.node)
    return found


def _needs(node: Node) -> Iterator[tuple[Ref, bool]]:
    """What a node waits for, each once: (reference, whether it is followed item by item)."""
    if node.kind == "choice":
        yield from ((ref, False) for ref in refs(node.args["branch"]))
        yield from ((Ref(guard.branch), False) for guard in node.guards)
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


def takes_items(node: Node, fold: RunFold) -> bool:
    """True if a map follows another node item by item, so that its width comes from there."""
    return any(isinstance(expr, Ref) and not expr.path and fold.nodes[expr.node].node.many
               for name, expr in node.args.items() if name in node.mapped)  # fmt: skip
