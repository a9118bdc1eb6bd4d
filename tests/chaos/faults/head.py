"""The head of the Ray cluster, killed and started again."""

from __future__ import annotations

from tests.chaos.episode import Episode
from tests.chaos.faults import Fault


def directory_restarted(episode: Episode) -> None:
    """The directory of the cluster (GCS) is killed and comes back empty a second later."""
    episode.begin()
    episode.wait_for_outcomes(episode.rng.randint(5, episode.width))
    episode.world.nodes.restart_gcs(away_s=1.0)
    _mended(episode)


def head_lost(episode: Episode) -> None:
    """The whole head is killed; another cluster is started at its address."""
    episode.begin()
    episode.wait_for_outcomes(episode.rng.randint(5, episode.width))
    episode.world.nodes.kill_head()
    _mended(episode)


def _mended(episode: Episode) -> None:
    """The driver goes on or ends by itself; then there is a whole cluster again."""
    episode.wait_for(
        lambda: not episode.under_way or episode.world.nodes.whole, "the driver or the cluster to give up or go on"
    )
    episode.world.nodes.mend()
    if not any(driver.alive for driver in episode.drivers):
        episode.note(f"the driver ended: {episode.drivers[0].errors.splitlines()[-1:]}")


FAULTS = [
    Fault("directory of the cluster killed and restarted", directory_restarted),
    Fault("head killed, another cluster started", head_lost),
]
