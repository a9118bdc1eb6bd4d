"""Collections among runs that write, reuse, commit and are removed, one request at a time in any order.

The promise: what a run names is there, from the moment its fact is committed, if it wrote or reused it less than a
grace period before, or if it committed before the collection's last look at the journal. Collections that are mutated
in one place break it, and the same machine finds that.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from orchestrator.artifacts import remote
from orchestrator.artifacts.gc import collect
from orchestrator.artifacts.remote import REFRESH_S, RemoteStore
from orchestrator.ports.values import digest_bytes
from orchestrator.types import Digest
from tests.artifacts.interleaving import Actor, Clock, World

GRACE_S = 24 * 3600.0
CONTENTS = [b"one", b"two", b"three"]
MOST_ACTORS = 4

LiveDigests = Callable[[Any], Iterable[Digest]]


class Machine(RuleBasedStateMachine):
    """Runs and collections on one store; subclasses say which store and what is mutated."""

    kind = "local"
    grace_s = GRACE_S
    rechecks = True
    remote_kind: type[RemoteStore] = RemoteStore

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="orc-gc-"))
        self.clock = Clock(1_700_000_000.0)
        self.patches = [patch.object(remote, "time", self.clock), patch.object(remote, "_LOOK_AGAIN_S", 1.0)]
        for one in self.patches:
            one.start()
        self.world = World(self.kind, self.directory, self.clock)
        self.named: dict[str, Digest] = {}
        self.promised: set[str] = set()
        self.entries: dict[Digest, float] = {}
        self.looks: dict[str, int] = {}
        self.actors: list[Actor] = []
        self.begun = 0

    # ---- what actors do

    def _write(self, data: bytes) -> Callable[[Actor], None]:
        def work(actor: Actor) -> None:
            digest = self.world.view(actor, self.remote_kind).put(data)
            self._commit(actor, digest, self.clock.now)

        return work

    def _reuse(self, data: bytes) -> Callable[[Actor], None]:
        """A cache hit, as the engine does it: find the entry, renew the artifact, read it, commit; or a miss."""

        def work(actor: Actor) -> None:
            store, digest = self.world.view(actor, self.remote_kind), digest_bytes(data)
            actor.gate("look for the entry")
            hit = self.entries.get(digest, 0.0) > self.clock.now and store.refresh(digest)
            touched_at = self.clock.now
            if hit:
                assert bytes(store.get(digest)) == data
            else:
                store.put(data)
                touched_at = self.clock.now
            self._commit(actor, digest, touched_at)

        return work

    def _commit(self, actor: Actor, digest: Digest, touched_at: float) -> None:
        actor.gate("commit")
        sweeping = any(count > 1 for count in self.looks.values())
        prompt = self.clock.now - touched_at < GRACE_S - REFRESH_S
        self.named[actor.name] = digest
        self.entries[digest] = self.clock.now + 2 * GRACE_S
        if prompt or (not sweeping and self.world.holds(digest)):
            self.promised.add(actor.name)

    def _collect(self, actor: Actor) -> None:
        def live(_load: Any) -> Iterable[Digest]:
            actor.gate("read the journal")
            self.looks[actor.name] += 1
            if self.rechecks or self.looks[actor.name] == 1:
                known[:] = [*self.named.values(), *(d for d, until in self.entries.items() if until > self.clock.now)]
            return list(known)

        known: list[Digest] = []
        self.looks[actor.name] = 0
        store = self.world.view(actor, self.remote_kind)
        collect(store, live, self.clock.now, self.grace_s, batch=1, at_once=1)
        del self.looks[actor.name]

    def _begin(self, what: str, work: Callable[[Actor], None]) -> Actor:
        self.begun += 1
        actor = Actor(f"{what} {self.begun}", work)
        self.actors.append(actor)
        return actor

    # ---- rules

    @initialize()
    def old_artifacts_of_nobody(self) -> None:
        for data in CONTENTS:
            actor = self._begin("old", lambda actor, data=data: self.world.view(actor).put(data) and None)
            self._finish(actor)
        self.clock.now += 3 * GRACE_S

    @precondition(lambda self: len(self.actors) < MOST_ACTORS)
    @rule(data=st.sampled_from(CONTENTS))
    def begin_writing(self, data: bytes) -> None:
        self._begin("run", self._write(data))

    @precondition(lambda self: len(self.actors) < MOST_ACTORS)
    @rule(data=st.sampled_from(CONTENTS))
    def begin_reusing(self, data: bytes) -> None:
        self._begin("run", self._reuse(data))

    @precondition(lambda self: len(self.actors) < MOST_ACTORS)
    @rule()
    def begin_collecting(self) -> None:
        self._begin("collection", self._collect)

    @precondition(lambda self: self.actors)
    @rule(which=st.integers(0, MOST_ACTORS - 1), steps=st.integers(1, 6))
    def let_through(self, which: int, steps: int) -> None:
        actor = self.actors[which % len(self.actors)]
        for _ in range(steps):
            if not actor.done:
                actor.step()
        self._bury()

    # A removal that was sent is done, or given up by the client, long before a mark counts as abandoned.
    @precondition(lambda self: not any(actor.waits_for.startswith("remove") for actor in self.actors))
    @rule(duration_s=st.sampled_from([60.0, 1800.0, GRACE_S / 2, GRACE_S + 1, 3 * GRACE_S]))
    def advance(self, duration_s: float) -> None:
        self.clock.now += duration_s

    @precondition(lambda self: self.named)
    @rule(which=st.integers(0, 9))
    def remove_a_run(self, which: int) -> None:
        name = sorted(self.named)[which % len(self.named)]
        if self.entries.get(self.named[name], 0.0) <= self.clock.now:
            del self.named[name]
            self.promised.discard(name)

    @invariant()
    def what_was_promised_is_there(self) -> None:
        for name in self.promised:
            assert self.world.holds(self.named[name]), f"{self.named[name][:8]} of {name} was removed"

    def teardown(self) -> None:
        try:
            for actor in list(self.actors):
                self._finish(actor)
            self.what_was_promised_is_there()
        finally:
            for one in self.patches:
                one.stop()
            shutil.rmtree(self.directory)

    def _finish(self, actor: Actor) -> None:
        """Let an actor come to its end; one that waits for another's mark needs that one to go on too."""
        while not actor.done:
            for one in self.actors:
                if not one.done:
                    one.step()
        self._bury()

    def _bury(self) -> None:
        errors = [actor.error for actor in self.actors if actor.error is not None]
        self.actors = [actor for actor in self.actors if not actor.done]
        if errors:
            raise errors[0]


class RemoteMachine(Machine):
    kind = "remote"


class WithoutGrace(Machine):
    grace_s = 0.0


class WithoutRemoteGrace(RemoteMachine):
    grace_s = 0.0


class WithoutRecheck(Machine):
    rechecks = False


class WithoutMark(RemoteMachine):
    class remote_kind(RemoteStore):
        def delete(self, digest: Digest, modified_before: float | None = None) -> bool:
            path = remote._path(digest)
            found = self._objects.find(path)
            if found is None or (modified_before is not None and found.modified_at >= modified_before):
                return False
            self._objects.remove(path)
            return True


class WithoutLookingForTheMark(RemoteMachine):
    class remote_kind(RemoteStore):
        def _renew(self, digest: Digest, data: memoryview) -> None:
            self._objects.replace(remote._path(digest), data)


_SETTINGS = settings(
    deadline=None, stateful_step_count=30, suppress_health_check=list(HealthCheck), derandomize=True, database=None
)


@pytest.mark.parametrize("machine", [Machine, RemoteMachine])
def test_no_collection_takes_what_a_run_names(machine: type[Machine]) -> None:
    run_state_machine_as_test(machine, settings=settings(_SETTINGS, max_examples=40))


def _between_writing_and_committing(machine: Machine) -> None:
    """A collection between the write of an artifact and the commit of its fact."""
    writer = _until(machine._begin("run", machine._write(CONTENTS[0])), "commit")
    machine.advance(60.0)
    _until(machine._begin("collection", machine._collect), "its end")
    _until(writer, "its end")


def _between_two_looks(machine: Machine) -> None:
    """A driver that slept for days commits between a collection's first look at the journal and its last."""
    writer = _until(machine._begin("run", machine._write(CONTENTS[0])), "commit")
    machine.advance(3 * GRACE_S)
    collection = _until(machine._begin("collection", machine._collect), "list")
    _until(writer, "its end")
    _until(collection, "its end")


def _between_look_and_removal(machine: Machine) -> None:
    """An old object is reused after a collection has looked at its age and before it is removed."""
    digest = digest_bytes(CONTENTS[0])
    collection = _until(machine._begin("collection", machine._collect), f"remove {remote._path(digest)}")
    writer = machine._begin("run", machine._write(CONTENTS[0]))
    for _ in range(7):  # with the mark it would wait for ever
        if writer.waits_for != "commit":
            writer.step()
    _until(collection, "its end")
    _until(writer, "its end")


def _until(actor: Actor, request: str) -> Actor:
    """Let only this actor go on, until it waits for a request or has come to its end."""
    while not actor.done and actor.waits_for.strip() != request:
        actor.step()
    assert actor.error is None, actor.error
    assert actor.done == (request == "its end"), f"{actor.name} never asked to {request}"
    return actor


SCHEDULES = [
    (Machine, WithoutGrace, _between_writing_and_committing),
    (RemoteMachine, WithoutRemoteGrace, _between_writing_and_committing),
    (Machine, WithoutRecheck, _between_two_looks),
    (RemoteMachine, WithoutMark, _between_look_and_removal),
    (RemoteMachine, WithoutLookingForTheMark, _between_look_and_removal),
]


@pytest.mark.parametrize(("machine", "mutant", "schedule"), SCHEDULES)
def test_the_machine_finds_what_each_precaution_is_for(
    machine: type[Machine], mutant: type[Machine], schedule: Callable[[Machine], None]
) -> None:
    def drive(kind: type[Machine]) -> None:
        driven = kind()
        try:
            driven.old_artifacts_of_nobody()
            schedule(driven)
            assert driven.promised
            driven.what_was_promised_is_there()
        finally:
            driven.promised.clear()
            driven.teardown()

    drive(machine)
    with pytest.raises(AssertionError, match="was removed"):
        drive(mutant)
