"""A wall clock that somebody sets while a run is under way."""

from __future__ import annotations

from collections.abc import Callable

from tests.chaos.episode import Episode
from tests.chaos.faults import Fault

_HOUR_S = 3600.0


def stepped(hours: float) -> Callable[[Episode], None]:
    """The driver's clock jumps by some hours, and a second driver begins with the changed clock."""

    def strike(episode: Episode) -> None:
        clock = episode.folder / "clock"
        clock.write_text("0")
        episode.begin()
        episode.wait_for_outcomes(episode.rng.randint(3, episode.width))
        clock.write_text(str(hours * _HOUR_S))
        episode.healed()
        before = episode.outcomes()
        episode.wait_for(lambda: episode.outcomes() > before or not episode.under_way, "the run to go on", driven=True)

    return strike


FAULTS = [
    Fault("wall clock set three hours forward", stepped(3.0)),
    Fault("wall clock set three hours back", stepped(-3.0)),
]
