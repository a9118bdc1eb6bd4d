"""Nodes that are killed."""

from __future__ import annotations

from tests.chaos.episode import Episode
from tests.chaos.faults import Fault
from tests.chaos.faults.workers import count


def holding_unread_outputs(episode: Episode) -> None:
    """The node that made most of the large outputs dies after they are finished and before anything reads them."""
    episode.begin(go=False)
    episode.wait_for_outcomes(len(count("large", episode)), of="large[")
    makers = [line.pid for line in episode.ledger if line.step.startswith("large[")]
    lived = episode.world.nodes.kill_node_of(makers)
    episode.healed()
    episode.note(f"{lived} processes that had made outputs were on the node")
    episode.go()
    episode.wait_for_outcomes(1, of="read[")
    episode.world.nodes.mend()


def at_work(episode: Episode) -> None:
    """A node dies while steps run on it."""
    episode.begin()
    episode.wait_for_outcomes(episode.rng.randint(5, episode.width))
    episode.world.nodes.kill_node_of([line.pid for line in episode.ledger[-5:]])
    episode.healed()
    episode.world.nodes.mend()


FAULTS = [
    Fault("node killed that made outputs nobody has read", holding_unread_outputs),
    Fault("node killed while it works", at_work),
]
