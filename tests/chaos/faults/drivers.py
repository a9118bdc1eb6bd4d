"""Drivers that are killed or frozen."""

from __future__ import annotations

import signal

from tests.chaos.episode import DriverProcess, Episode, Stuck
from tests.chaos.faults import Fault


def killed(episode: Episode) -> None:
    """The driver is killed, and so is the one that takes over, as soon as it goes on."""
    episode.begin()
    episode.wait_for_outcomes(episode.rng.randint(3, episode.width))
    episode.drivers[0].kill()
    second, before = episode.take_over(), episode.outcomes()
    episode.wait_for(lambda: episode.outcomes() > before, "the second driver to go on", driven=True)
    second.kill()


def frozen_and_alone(episode: Episode) -> None:
    """SQLite: a frozen driver keeps its run; a second one is told who has it; woken, the first goes on."""
    first = _freeze(episode)
    second = episode.resume()
    episode.wait_for(lambda: not second.alive, "the second driver to be refused")
    if "RunOwned" not in second.errors or f":{first.process.pid}" not in second.errors:
        raise Stuck(f"the second driver was not told who drives the run: {second.errors!r}")
    first.send(signal.SIGCONT)


def frozen_and_succeeded(episode: Episode) -> None:
    """PostgreSQL: the lease of a frozen driver runs out, a second one goes on; woken, the first changes nothing."""
    first = _freeze(episode)
    try:
        episode.take_over()  # it has the run; where no CPU is left, it has to wait for those of the first one's workers
    finally:
        first.send(signal.SIGCONT)
    episode.healed()
    episode.wait_for(lambda: not first.alive, "the first driver to end by itself")
    if first.process.returncode != 1 or "StaleEpoch" not in first.errors:
        raise Stuck(f"the first driver ended with {first.process.returncode}: {first.errors!r}")
    episode.note(first.errors.splitlines()[-1])


def _freeze(episode: Episode) -> DriverProcess:
    episode.begin()
    episode.wait_for_outcomes(episode.rng.randint(3, episode.width))
    first = episode.drivers[0]
    first.send(signal.SIGSTOP)
    return first


FAULTS = [
    Fault("driver killed, and the next one while it recovers", killed),
    Fault("driver frozen, a second one is refused, woken", frozen_and_alone, ("sqlite",)),
    Fault("driver frozen beyond its lease, succeeded, woken", frozen_and_succeeded, ("postgresql",)),
]
