"""The ledger of an application's router: a small actor of Ray that adds up and that alone changes the router.

There is one for each application. It holds no truth about traffic, which Serve keeps; it makes changes one after the
other, so that of two that name the same generation one is refused. What Serve has kept it hands to the router's
replicas, which wait for it here: Serve itself takes several turns of its controller to get there. When it dies Ray
starts it anew, in another era.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from orchestrator.backends.serve_counts import Counts, add_all
from orchestrator.ports.traffic import Tallies

NAMESPACE = "orc-serving"
_PREFIX = "ledger of "

HOLD_S = 5.0
"""How long a replica waits for news before it asks again, by which it is known to live."""

DONE_S = 1.0
"""How long a change waits for replicas to say that they do it; then Serve is asked whether they do."""


class _Doing(NamedTuple):
    """What a replica of the router does, and when it said so."""

    generation: int
    at: float


class Ledger:
    """Totals of how versions answered, the turnstile for changes, and where replicas wait for them."""

    def __init__(self) -> None:
        self._era = secrets.token_hex(8)
        self._totals: dict[str, Counts] = {}
        self._turn = asyncio.Lock()
        self._news = asyncio.Condition()
        self._wanted: tuple[int, Mapping[str, Any]] = (0, {})
        self._doing: dict[str, _Doing] = {}

    async def add(self, counts: Mapping[str, Counts]) -> None:
        """Add what a replica of the router has counted."""
        add_all(self._totals, dict(counts))

    async def tallies(self) -> Tallies:
        """All totals of this era."""
        return Tallies(self._era, {version: counts.tally() for version, counts in self._totals.items()})

    async def prepare(self, apply: Callable[[], None]) -> None:
        """Start the router while no change is applied."""
        async with self._turn:
            await asyncio.to_thread(apply)

    async def change(
        self, check: Callable[[], None], apply: Callable[[], None], config: Mapping[str, Any], replicas: int
    ) -> bool:
        """Apply a change if nothing speaks against it, while no other change is applied.

        Args:
            config: What the replicas are to do when it is applied.
            replicas: How many there are.

        Returns:
            True if they have all said that they do it; otherwise Serve knows.
        """
        async with self._turn:
            await asyncio.to_thread(check)
            await asyncio.to_thread(apply)
            generation = int(config["traffic"]["generation"])
            async with self._news:
                self._wanted = (generation, config)
                self._news.notify_all()
            return await self._done(generation, replicas)

    async def follow(self, replica: str, generation: int) -> Mapping[str, Any] | None:
        """What a replica is to do, as soon as that is later than what it does; None if there is no news for a while."""
        now = time.monotonic()
        async with self._news:
            living = {name: does for name, does in self._doing.items() if does.at >= now - 2 * HOLD_S}
            self._doing = living | {replica: _Doing(generation, now)}
            self._news.notify_all()
            with suppress(TimeoutError):
                async with asyncio.timeout(HOLD_S):
                    await self._news.wait_for(lambda: self._wanted[0] > generation)
            return self._wanted[1] if self._wanted[0] > generation else None

    async def _done(self, generation: int, replicas: int) -> bool:
        def done() -> bool:
            since = time.monotonic() - 2 * HOLD_S
            living = [does.generation for does in self._doing.values() if does.at >= since]
            return len(living) >= replicas and min(living) >= generation

        async with self._news:
            with suppress(TimeoutError):
                async with asyncio.timeout(DONE_S):
                    await self._news.wait_for(done)
            return done()


def ledger_of(app: str) -> Any:
    """Handle of the application's ledger, started if there is none."""
    import ray

    actor: Any = ray.remote(Ledger)
    return actor.options(
        name=f"{_PREFIX}{app}",
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        num_cpus=0,
        max_restarts=-1,
        max_concurrency=100,
    ).remote()


def end_ledger(app: str | None = None) -> None:
    """End the ledger of an application, or of all; no error if there is none."""
    import ray

    for entry in ray.util.list_named_actors(all_namespaces=True):
        if entry["namespace"] == NAMESPACE and (app is None or entry["name"] == f"{_PREFIX}{app}"):
            ray.kill(ray.get_actor(entry["name"], NAMESPACE))
