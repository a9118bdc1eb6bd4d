"""Actors whose requests a test lets through one at a time, their views of a store, and a clock that is set."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.artifacts.local import LocalStore
from orchestrator.artifacts.objects import Stored
from orchestrator.artifacts.remote import RemoteStore
from orchestrator.ports.artifacts import ArtifactStore
from tests.artifacts.test_local_store import file_of

PATIENCE_S = 120.0


@dataclass
class Clock:
    """Stands in for the module ``time``; whoever sleeps moves it."""

    now: float

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, duration_s: float) -> None:
        self.now += duration_s


class Actor:
    """Work in a thread of its own that stops before each request until ``step`` lets it through."""

    def __init__(self, name: str, work: Callable[[Actor], None]) -> None:
        self.name = name
        self.waits_for = "its start"
        self.done = False
        self.error: BaseException | None = None
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()
        self._await()

    def gate(self, request: str) -> None:
        """Called by the work before each request, from any one of its threads."""
        self.waits_for = request
        self._stopped.release()
        assert self._go.acquire(timeout=PATIENCE_S)

    def step(self) -> None:
        """Let one request through; returns when the next one waits, or the work is done."""
        self._go.release()
        self._await()

    def _await(self) -> None:
        assert self._stopped.acquire(timeout=PATIENCE_S), f"{self.name} hangs after {self.waits_for}"

    def _run(self, work: Callable[[Actor], None]) -> None:
        try:
            self.gate("its start")
            work(self)
        except BaseException as error:
            self.error = error
        self.done = True
        self._stopped.release()


@dataclass
class MemoryObjects:
    """The objects of a store: a dictionary, and the clock that stamps them."""

    clock: Clock
    content: dict[str, tuple[bytes, float]] = field(default_factory=dict)


class GatedObjects:
    """``Objects`` as one actor sees them: every request waits at its gate, then happens at once."""

    url = "test://objects"

    def __init__(self, held: MemoryObjects, actor: Actor) -> None:
        self._held = held
        self._gate = actor.gate

    def create(self, path: str, data: bytes | memoryview) -> bool:
        self._gate(f"create {path}")
        if path in self._held.content:
            return False
        self._held.content[path] = bytes(data), self._held.clock.now
        return True

    def replace(self, path: str, data: bytes | memoryview) -> None:
        self._gate(f"replace {path}")
        self._held.content[path] = bytes(data), self._held.clock.now

    def read(self, path: str) -> Iterator[bytes]:
        self._gate(f"read {path}")
        if path not in self._held.content:
            raise FileNotFoundError(path)
        yield self._held.content[path][0]

    def head(self, path: str, count: int) -> bytes:
        return next(self.read(path))[:count]

    def find(self, path: str) -> Stored | None:
        self._gate(f"find {path}")
        found = self._held.content.get(path)
        return found and Stored(path, len(found[0]), found[1])

    def list(self) -> Iterator[Stored]:
        self._gate("list")
        yield from [Stored(path, len(data), at) for path, (data, at) in self._held.content.items()]

    def remove(self, path: str) -> None:
        self._gate(f"remove {path}")
        self._held.content.pop(path, None)


class GatedStore:
    """A directory as one actor sees it: each call waits at its gate; what it makes young is stamped by the clock."""

    def __init__(self, store: LocalStore, actor: Actor, clock: Clock) -> None:
        self._store = store
        self._actor = actor
        self._clock = clock

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> Any:
            self._actor.gate(f"{name} {args[0] if name != 'put' and args else ''}")
            result = getattr(self._store, name)(*args)
            if name == "put" or (name == "refresh" and result):
                digest = result if name == "put" else args[0]
                os.utime(file_of(self._store, digest), (self._clock.now,) * 2)
            return list(result) if name == "list" else result

        return call


class World:
    """One store that actors share; each gets its own view of it."""

    def __init__(self, kind: str, directory: Path, clock: Clock) -> None:
        self.clock = clock
        self._directory = directory
        self._local = LocalStore(directory / "artifacts", durable=False) if kind == "local" else None
        self._held = MemoryObjects(clock)
        self._views = 0

    def view(self, actor: Actor, kind: type[RemoteStore] = RemoteStore) -> ArtifactStore:
        """The store as an actor on a node of its own sees it."""
        if self._local is not None:
            view: Any = GatedStore(self._local, actor, self.clock)
            return view  # type: ignore[no-any-return]
        self._views += 1
        return kind(
            GatedObjects(self._held, actor), LocalStore(self._directory / f"cache-{self._views}", durable=False)
        )

    def holds(self, digest: str) -> bool:
        """Whether an artifact is there, at this moment."""
        if self._local is not None:
            return self._local.exists(digest)
        return f"{digest[:2]}/{digest[2:4]}/{digest}" in self._held.content
