"""Workers that are killed."""

from __future__ import annotations

import contextlib
import os
import signal

from tests.chaos import orders
from tests.chaos.episode import Episode
from tests.chaos.faults import Fault


def in_the_middle_of_a_step(episode: Episode) -> None:
    """Some steps kill their worker in their middle, and one worker is killed from outside."""
    _order(episode, orders.DIE, count("small", episode), 3)
    episode.begin()
    episode.wait_for(lambda: orders.taken(episode.folder) >= 3, "three workers to die", driven=True)
    pid = episode.ledger[-1].pid
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def between_output_and_report(episode: Episode) -> None:
    """Steps kill their worker after their body has returned, before a frame with their outcome is due."""
    _order(episode, orders.DIE_AFTER_RETURN, count("large", episode), 2)
    orders.give(episode.folder, "publish[0]", orders.DIE_AFTER_RETURN)
    episode.begin()
    episode.wait_for(lambda: orders.taken(episode.folder) >= 3, "three workers to die", driven=True)


def count(node: str, episode: Episode) -> list[str]:
    """Addresses of the items of a map."""
    width = {"small": episode.width, "large": episode.width // 4}[node]
    return [f"{node}[{index}]" for index in range(width)]


def _order(episode: Episode, order: str, addresses: list[str], times: int) -> None:
    for address in episode.rng.sample(addresses, times):
        orders.give(episode.folder, address, order)


FAULTS = [
    Fault("worker killed in the middle of a step", in_the_middle_of_a_step),
    Fault("worker killed between output and report", between_output_and_report),
]
