"""The head of the Ray cluster, killed and started again."""

from __future__ import annotations

from tests.chaos.episode import Episode
from tests.chaos.faults import Fault


def directory_restarted(episode: Episode) -> None:
    """The directory of the cluster (GCS) is killed and comes back a second later, with what it had kept on disk."""
    episode.begin()
    episode.wait_for_outcomes(episode.rng.randint(5, episode.width))
    episode.world.nodes.restart_gcs(away_s=1.0)
    episode.healed()
    before = episode.outcomes()
    episode.wait_for(lambda: episode.outcomes() > before or not episode.under_way, "the driver to go on or to end")
    _ended(episode)


def head_lost(episode: Episode) -> None:
    """The whole head is killed; another cluster is started at its address."""
    episode.begin()
    episode.wait_for_outcomes(episode.rng.randint(5, episode.width))
    episode.world.nodes.kill_head()
    episode.wait_for(lambda: not episode.drivers[0].alive, "the driver to end by itself")
    episode.world.nodes.mend()
    _ended(episode)


def _ended(episode: Episode) -> None:
    first = episode.drivers[0]
    if not first.alive and first.process.returncode != 0:
        said = first.errors.splitlines()
        episode.note(f"the driver ended with {first.process.returncode}: {said[0][:300] if said else 'without a word'}")


FAULTS = [
    Fault("directory of the cluster killed and restarted", directory_restarted),
    Fault("head killed, another cluster started", head_lost),
]
