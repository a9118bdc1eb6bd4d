"""When to start a new driver for a run whose driver has died, and when to give up: decided from the run's facts.

Drivers may die without limit as long as the run gets on; the facts say how often one began since it last did, so that a
supervisor which died together with the driver counts on where it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from orchestrator.graph import fact as f

MOST_DEATHS: Final = 10
"""So many drivers in a row may die without a step having come further, each soon after the one before."""

SOON_S: Final = 900.0
LONGEST_WAIT_S: Final = 60.0
_FIRST_WAIT_S = 0.5

_NO_PROGRESS = (
    f.DriverStarted, f.WorkerStarted, f.WorkerLost, f.StepsStarted, f.BundleStarted, f.LogsWritten, f.SupervisionEnded,
)  # fmt: skip


class Ended(NamedTuple):
    """How a driver's process ended.

    Attributes:
        done: The run has ended, or the driver was told to stop.
        error: What the driver said before it ended; empty if it died.
        passing: The cause lies outside of the run and may go away: its store is down, another driver holds it.
        hopeless: The same would happen again to every driver.
    """

    what: str
    done: bool = False
    error: str = ""
    passing: bool = False
    hopeless: bool = False


class Decision(NamedTuple):
    """Wait so long and start another driver; or ``give_up``, for that reason."""

    wait_s: float
    give_up: str = ""


@dataclass(slots=True)
class Patience:
    """What is known of the drivers of one run."""

    drivers: int = 0
    silent: int = 0
    passing: int = 0
    _began_at: float = float("-inf")

    def learn(self, recorded: f.Recorded) -> None:
        """Take in a fact of the run."""
        fact = recorded.fact
        if isinstance(fact, f.SupervisionEnded):
            self.drivers = 0  # somebody has sent the run again
        elif isinstance(fact, f.DriverStarted):
            self.drivers = self.drivers + 1 if recorded.at - self._began_at < SOON_S else 1
            self._began_at = recorded.at
            self.silent = 0
        elif not isinstance(fact, _NO_PROGRESS):
            self.drivers = self.silent = self.passing = 0

    def after(self, ended: Ended, started: bool) -> Decision:
        """What to do after a driver has ended before the run.

        Args:
            started: Whether it came so far as to take the run over, which its facts then say.
        """
        if ended.hopeless:
            return Decision(0.0, ended.error)
        if ended.passing:
            self.passing += 1
            return Decision(_wait_s(self.passing))
        self.silent += not started
        deaths = self.drivers + self.silent
        if deaths >= MOST_DEATHS:
            return Decision(0.0, f"{deaths} drivers in a row have died without progress, the last one: {ended.what}")
        return Decision(_wait_s(max(deaths, 1)))


def _wait_s(times: int) -> float:
    return min(LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** (times - 1))
