"""A database that is cut off or crashes; a disk that is full below journal and artifacts."""

from __future__ import annotations

import time

from tests.chaos.episode import Episode
from tests.chaos.faults import Fault
from tests.chaos.proxy import Proxy
from tests.chaos.world import LEASE_S, World

_SHORT_S = 1.5
"""Less than a lease; the longer faults last two of them."""


def swallowed(episode: Episode) -> None:
    """What driver and database send each other is lost for longer than a lease; nothing is refused."""
    proxy = _proxy(episode)
    proxy.blackhole = True
    time.sleep(2 * LEASE_S)
    proxy.blackhole = False


def reset(episode: Episode) -> None:
    """Connections of the driver to its database break, again and again."""
    proxy = _proxy(episode)
    proxy.refuse = True
    time.sleep(_SHORT_S)
    proxy.refuse = False


def crashed(episode: Episode) -> None:
    """PostgreSQL is stopped with ``immediate``, which is a crash, and started again."""
    _begun(episode)
    with episode.world.server_stopped():
        time.sleep(_SHORT_S)


def disk_full(episode: Episode) -> None:
    """Journal and artifacts find no room for a while."""
    _begun(episode)
    with episode.world.disk.full():
        time.sleep(2 * LEASE_S)
    episode.world.revive_server()


def _begun(episode: Episode) -> None:
    episode.begin()
    episode.wait_for_outcomes(episode.rng.randint(3, episode.width))


def _proxy(episode: Episode) -> Proxy:
    _begun(episode)
    assert episode.world.proxy is not None
    return episode.world.proxy


def _no_mount(world: World) -> str:
    return "" if world.disk.can_be_filled else "this process may not mount a file system that it could fill"


FAULTS = [
    Fault("driver cut off from its database, packets swallowed", swallowed, ("postgresql",)),
    Fault("driver cut off from its database, connections reset", reset, ("postgresql",)),
    Fault("PostgreSQL stopped with immediate", crashed, ("postgresql",)),
    Fault("disk full under journal and artifacts", disk_full, impossible=_no_mount),
]
