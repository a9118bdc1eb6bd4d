"""A candidate from which nothing comes back, neither answers nor errors, while the stable version answers.

With a share ``s`` of the requests, none of ``n`` goes to the candidate with a chance of ``(1 - s) ** n``; acts below
10^-6. Where clients stay with a version, clients are what is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.serving.guard import Evidence, Guard, GuardState
from orchestrator.serving.strategy import Strategy
from orchestrator.serving.window import Window

NAMES = ()
CHANCE = 1e-6


@dataclass(frozen=True, slots=True)
class _Silence:
    key: str = "the candidate answers nothing"
    hard: bool = True

    def look(self, state: GuardState, window: Window) -> tuple[GuardState, Evidence]:
        """See ``Guard``."""
        if window.candidate.requests or window.candidate.rejected:
            return {}, Evidence(self.key)
        waited = state.get("waited", 0) + window.stable.requests
        drawn = min(waited, window.clients) if window.clients else waited
        at_once = window.stable.requests > 0 and (1.0 - window.share) ** drawn < CHANCE
        said = f"no answer and no error, while the stable version answered {waited} requests" if at_once else ""
        return {"waited": waited}, Evidence(self.key, at_once=at_once, said=said)


def guards(strategy: Strategy) -> list[Guard]:
    """See ``serving.guard``."""
    return [_Silence()]
