"""Workers in Ray actors: Ray places, watches and ends them; frames go through a socket that each worker opens.

One actor per worker, never restarted, with the declared resources; ending the actor gives its resources back. The
driver's thread reads and writes all sockets in ``pump``; one more thread waits for actors to end.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import secrets
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from typing import Any

from orchestrator.backends.bundles.ray_actor import IDENTITY, Join
from orchestrator.backends.bundles.ray_channel import INSTALL_S, RayChannel
from orchestrator.backends.bundles.ray_engine import EngineArchive
from orchestrator.backends.bundles.ray_listener import Listener
from orchestrator.backends.bundles.ray_placement import Ledger, charged, holds
from orchestrator.backends.bundles.ray_slot import Slot
from orchestrator.backends.bundles.ray_survey import ClusterSurvey, Survey
from orchestrator.backends.bundles.ray_watch import ActorWatch, Ended
from orchestrator.backends.bundles.transport import Sink, WorkerNeeds
from orchestrator.backends.cluster import Cluster
from orchestrator.backends.supply import unschedulable
from orchestrator.errors import WorkerStartFailed
from orchestrator.graph.policy import Resources

Entry = Callable[[socket.socket, str, WorkerNeeds], None]
"""Makes the calling process the worker of that name: reads frames from the socket and answers there, until told to
stop. Each frame has its length in front, four bytes, big-endian. Picklable, by reference to importable code."""

CLOSE_S = 10.0
STEADY_S = 1.0
"""After none of our workers came or went for so long, Ray's view of what is free is believed."""

_LATE_S = 0.5
"""How long the last frames of an ended worker may still take, and the end of one whose connection broke."""

_LOOK_S = 0.05


class RayTransport:
    """The Transport protocol on a cluster; connects when the first worker is asked for.

    Args:
        cluster: The Ray to use; stays connected after ``close``.
        entry: What a worker runs.
        port: TCP port at which workers of a cluster call back; 0 for any.
    """

    name = "ray"

    def __init__(self, cluster: Cluster, entry: Entry, port: int = 0) -> None:
        self._cluster = cluster
        self._entry = entry
        self._port = port
        self._channels: dict[str, RayChannel] = {}
        self._slots: dict[str, RayChannel] = {}
        self._by_identity: dict[bytes, RayChannel | Slot] = {}
        self._variants: dict[str, Any] = {}
        self._arrivals: deque[tuple[bytes, socket.socket]] = deque()
        self._ended: deque[Ended] = deque()
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = socket.socketpair()
        for end in (self._woken, self._waker):
            end.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._link: _Link | None = None
        self._moved_at = 0.0

    # ---- places

    @property
    def slots(self) -> int:
        """See ``Transport``; before the cluster is connected, what a local Ray would have."""
        if self._link is not None:
            return self._link.ledger.slots
        return self._cluster.settings.num_cpus or os.cpu_count() or 1

    def refusal(self, needs: WorkerNeeds) -> str | None:
        """See ``Transport``."""
        return unschedulable(charged(needs), self._connect().survey.latest.supply)

    def fits(self, needs: WorkerNeeds, without: Collection[str] = ()) -> bool:
        """See ``Transport``; a heavy step also fits if it needs a node that an autoscaler would have to start."""
        if self._link is None:
            return True
        need = charged(needs)
        return self._link.ledger.fits(need, without) or (needs.kind == "heavy" and self._needs_new_node(need))

    def _needs_new_node(self, need: Resources) -> bool:
        link = self._connect()
        return not link.ledger.could_fit(need) and unschedulable(need, link.survey.latest.supply) is None

    def start(self, name: str, needs: WorkerNeeds, sink: Sink) -> RayChannel:
        """See ``Transport``."""
        link = self._connect()
        node = link.survey.latest.only_node if needs.kind == "pool" else None
        reserved = holds(needs) if node is None else Resources(num_cpus=0.0)
        identity, token = secrets.token_bytes(IDENTITY), secrets.token_bytes(32)
        join = link.join(identity, token, pickle.dumps(_Bound(self._entry, name, needs)))
        try:
            actor = self._variant(reserved, node).remote()
            ended = actor.run.remote(join)
        except Exception as error:
            raise WorkerStartFailed(f"Ray did not take the worker {name}: {error}") from error
        reserve = None if node is None else partial(self._hold, node)
        channel = RayChannel(name, needs, sink, identity, token, actor, self._selector, reserve)
        if reserved.runtime_env is not None or self._needs_new_node(reserved):
            channel.start_s = INSTALL_S
        self._channels[name] = self._by_identity[identity] = channel
        if reserve is None:
            link.ledger.place(name, charged(needs))
        self._moved_at = time.monotonic()
        link.watch.add(name, ended)
        return channel

    def _hold(self, node: str, channel: RayChannel) -> Slot:
        """Reserve a worker's slot: a task on its node that holds the CPU."""
        link = self._connect()
        name = f"slot {secrets.token_hex(4)} of {channel.name}"
        slot = Slot(name, secrets.token_bytes(IDENTITY), channel.token, self._released)
        self._slots[slot.name] = channel
        self._by_identity[slot.identity] = slot
        link.ledger.place(channel.name, charged(channel.needs))
        self._moved_at = time.monotonic()
        slot.task = self._variant(None, node).remote(link.join(slot.identity, slot.token, b""))
        link.watch.add(slot.name, slot.task)
        return slot

    def _released(self, slot: Slot) -> None:
        """Its CPU is free as soon as Ray has seen the task end; who asks for it now waits for that moment only."""
        import ray

        if not slot.arrived and ray.is_initialized():
            ray.cancel(slot.task)  # it still waits for a CPU
        channel = self._slots.pop(slot.name)
        del self._by_identity[slot.identity]
        if self._link is not None:
            self._link.ledger.remove(channel.name)
        self._moved_at = time.monotonic()

    def _variant(self, need: Resources | None, node: str | None = None) -> Any:
        """The actor class with these needs, or without any the task that holds a slot; made once each, because Ray
        exports every variant."""
        key = f"{need!r} on {node}"
        variant = self._variants.get(key)
        if variant is None:
            import ray
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

            from orchestrator.backends.bundles import ray_actor

            ray.cloudpickle.register_pickle_by_value(ray_actor)
            where: dict[str, Any] = {}
            if node is not None:
                where["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=False)
            if need is None:
                variant = ray.remote(num_cpus=1, max_retries=0, **where)(ray_actor.hold)
            else:
                variant = ray.remote(**actor_options(need), **where)(ray_actor.WorkerActor)
            self._variants[key] = variant
        return variant

    def _connect(self) -> _Link:
        if self._link is None:
            self._cluster.connect()
            host = "" if self._cluster.local else _own_address()
            listener = Listener(host, self._port, self._token_of, self._greeting, self._arrived)
            survey = ClusterSurvey(self._cluster)
            ledger = Ledger(survey.latest.nodes)
            self._link = _Link(ledger, listener, ActorWatch(self._note_ended), survey, survey.latest)
            if not self._cluster.local:
                self._link.ship_engine()
        return self._link

    # ---- frames

    def pump(self, timeout_s: float) -> None:
        """See ``Transport``."""
        if any(channel.leaving for channel in self._channels.values()):
            timeout_s = min(timeout_s, _LOOK_S)
        for key, events in self._selector.select(timeout_s):
            if key.fileobj is self._woken:
                _drain(self._woken)
            else:
                channel: RayChannel = key.data
                if events & selectors.EVENT_WRITE:
                    channel.flush()
                if events & selectors.EVENT_READ:
                    channel.read()
        while self._arrivals:
            identity, connection = self._arrivals.popleft()
            found = self._by_identity.get(identity)
            if found is None or not found.attach(connection):
                connection.close()
        while self._ended:
            self._note_end(self._ended.popleft())
        self._bury()
        if self._link is not None and self._link.survey.latest is not self._link.applied:
            self._link.applied = self._link.survey.latest
            self._apply(self._link.ledger, self._link.applied)

    def wake(self) -> None:
        """See ``Transport``."""
        with contextlib.suppress(BlockingIOError):  # it is being woken already
            self._waker.send(b"\0")

    def _note_end(self, ended: Ended) -> None:
        channel = self._channels.get(ended.name)
        if channel is not None:
            channel.ended(ended.reason, ended.never)
        holder = self._slots.get(ended.name)
        if holder is not None:
            holder.ended(f"its slot was lost: {ended.reason}", ended.never)

    def _bury(self) -> None:
        """Announce the death of workers that have ended and from which nothing more will come."""
        now = time.monotonic()
        for channel in list(self._channels.values()):
            if channel.ending is not None:
                if channel.drained or now >= channel.ending + _LATE_S:
                    self._remove(channel)
                    channel.bury()
            else:
                channel.hurry(now, _LATE_S)

    def _apply(self, ledger: Ledger, survey: Survey) -> None:
        """The cluster as it is now: nodes that came or went, what others hold, workers that can no more be placed."""
        channels = list(self._channels.values())
        ledger.replace_nodes(survey.nodes)
        if survey.at > self._moved_at + STEADY_S and all(channel.up for channel in channels):
            ledger.sample(survey.available, [holds(channel.needs) for channel in channels if channel.has_slot])
        for channel in channels:
            refusal = None if channel.up else unschedulable(holds(channel.needs), survey.supply)
            if refusal is not None:
                channel.ended(refusal, never=True)

    def _remove(self, channel: RayChannel) -> None:
        del self._channels[channel.name], self._by_identity[channel.identity]
        if self._link is not None:
            self._link.ledger.remove(channel.name)
        self._moved_at = time.monotonic()

    # ---- from other threads

    def _token_of(self, identity: bytes) -> bytes | None:
        known = self._by_identity.get(identity)
        return None if known is None else known.token

    def _greeting(self) -> dict[str, Any]:
        """On this machine workers are to find what a child of the driver would: its directory and environment."""
        if not self._cluster.local:
            return {}
        return {"environ": self._cluster.environ_changes(), "directory": os.getcwd()}

    def _arrived(self, identity: bytes, connection: socket.socket) -> None:
        self._arrivals.append((identity, connection))
        self.wake()

    def _note_ended(self, ended: Ended) -> None:
        self._ended.append(ended)
        self.wake()

    # ---- rest and end

    def rest(self) -> None:
        """See ``Transport``: nothing asks Ray anything until ``resume``."""
        if self._link is not None:
            self._link.pause(True)

    def resume(self) -> None:
        """See ``Transport``."""
        if self._link is not None:
            self._link.pause(False)

    def close(self) -> None:
        """See ``Transport``."""
        alive = self._link is None or self._cluster.alive
        if alive:
            self.resume()
        for channel in list(self._channels.values()):
            if alive:
                channel.kill()
            else:
                channel.ended("its Ray has ended", never=False)
        deadline = time.monotonic() + CLOSE_S
        while self._channels and time.monotonic() < deadline:
            self.pump(0.1)
        if self._link is not None:
            self._link.close()
        self._selector.close()
        self._woken.close()
        self._waker.close()


@dataclass(slots=True)
class _Link:
    """What there is once the cluster is connected."""

    ledger: Ledger
    listener: Listener
    watch: ActorWatch
    survey: ClusterSurvey
    applied: Survey
    engine: EngineArchive = field(default_factory=EngineArchive)
    archive: list[Any] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    def ship_engine(self) -> None:
        """Let the workers of other machines fetch the engine, and compare what it depends on."""
        import ray

        self.archive = [ray.put(self.engine.data)]
        self.versions = {"pyarrow": metadata.version("pyarrow")}

    def join(self, identity: bytes, token: bytes, entry: bytes) -> Join:
        """How a new worker finds this driver."""
        digest = self.engine.digest if self.archive else ""
        endpoints = (self.listener.endpoint,)
        return Join(endpoints, identity, token, digest, self.engine.root, self.archive, self.versions, entry)

    def pause(self, paused: bool) -> None:
        """Stop looking for a while, or go on."""
        self.watch.pause(paused)
        self.survey.pause(paused)

    def close(self) -> None:
        """Stop looking, and let nobody in any more."""
        self.watch.stop()
        self.survey.stop()
        self.listener.close()


class _Bound:
    """An entry with the name and needs of one worker, as it is sent."""

    def __init__(self, entry: Entry, name: str, needs: WorkerNeeds) -> None:
        self.entry = entry
        self.name = name
        self.needs = needs

    def __call__(self, connection: socket.socket) -> None:
        self.entry(connection, self.name, self.needs)


def actor_options(need: Resources) -> Mapping[str, Any]:
    """Ray's options for an actor that holds these resources and is never restarted."""
    options: dict[str, Any] = {"num_cpus": need.num_cpus, "max_restarts": 0, "max_task_retries": 0}
    if need.num_gpus:
        options["num_gpus"] = need.num_gpus
    if need.memory:
        options["memory"] = need.memory
    if need.resources:
        options["resources"] = dict(need.resources)
    if need.accelerator_type:
        options["accelerator_type"] = need.accelerator_type
    if need.label_selector:
        options["label_selector"] = dict(need.label_selector)
    if need.runtime_env is not None:
        options["runtime_env"] = need.runtime_env
    return options


def _own_address() -> str:
    import ray

    return str(ray.util.get_node_ip_address())


def _drain(end: socket.socket) -> None:
    try:
        while end.recv(4096):
            pass
    except BlockingIOError:
        pass
