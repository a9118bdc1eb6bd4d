"""No fault at all: the run whose result all others must have."""

from __future__ import annotations

from tests.chaos.episode import Episode
from tests.chaos.faults import Fault


def nothing(episode: Episode) -> None:
    """Just run."""
    episode.begin()
    episode.wait_for_outcomes(1)


FAULTS = [Fault("no fault", nothing)]
