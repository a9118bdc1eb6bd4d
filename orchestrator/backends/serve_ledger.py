"""The ledger of an application's router: a small actor of Ray that adds up and that alone changes the router.

There is one for each application. It holds no truth about traffic, which Serve keeps; it makes changes one after the
other, so that of two that name the same generation one is refused. When it dies Ray starts it anew, in another era.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.backends.serve_counts import Counts, add_all
from orchestrator.ports.traffic import Tallies

NAMESPACE = "orc-serving"
_PREFIX = "ledger of "


class Ledger:
    """Totals of how versions answered, and the turnstile for changes."""

    def __init__(self) -> None:
        self._era = secrets.token_hex(8)
        self._totals: dict[str, Counts] = {}
        self._turn = asyncio.Lock()

    async def add(self, counts: Mapping[str, Counts]) -> None:
        """Add what a replica of the router has counted."""
        add_all(self._totals, dict(counts))

    async def tallies(self) -> Tallies:
        """All totals of this era."""
        return Tallies(self._era, {version: counts.tally() for version, counts in self._totals.items()})

    async def change(self, check: Callable[[], None], apply: Callable[[], None]) -> None:
        """Apply a change if nothing speaks against it, while no other change is applied."""
        async with self._turn:
            await asyncio.to_thread(check)
            await asyncio.to_thread(apply)


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
