"""A candidate from which nothing comes back, neither answers nor errors, while the stable version answers.

With a share ``s`` of the requests, none of ``n`` goes to the candidate with a chance of ``(1 - s) ** n``; acts below
10^-6. Where clients stay with a version, clients are what is drawn. Requests are reported a moment after they were
answered, so a larger share counts only when it has stood for a while; and when it is all of them, nothing is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.serving.guard import Evidence, Guard, GuardState
from orchestrator.serving.strategy import Strategy
from orchestrator.serving.window import Window

NAMES = ()
CHANCE = 1e-6
SETTLE_S = 3.0


@dataclass(frozen=True, slots=True)
class _Silence:
    key: str = "the candidate answers nothing"
    hard: bool = True

    def look(self, state: GuardState, window: Window) -> tuple[GuardState, Evidence]:
        """See ``Guard``."""
        share, held_s = _settled(state, window)
        settled = {"share": share, "held_s": held_s}
        if window.candidate.requests or window.candidate.rejected or window.candidate.turned_away:
            return settled, Evidence(self.key)
        waited = state.get("waited", 0) + window.stable.requests
        drawn = min(waited, window.clients) if window.clients else waited
        at_once = window.stable.requests > 0 and share < 1.0 and (1.0 - share) ** drawn < CHANCE
        said = f"no answer and no error, while the stable version answered {waited} requests" if at_once else ""
        return {**settled, "waited": waited}, Evidence(self.key, at_once=at_once, said=said)


def _settled(state: GuardState, window: Window) -> tuple[float, float]:
    """The share that what is reported now was answered with, and for how long there has been a larger one."""
    known = state.get("share", 0.0)
    if window.share <= known:
        return window.share, 0.0
    held_s = state.get("held_s", 0.0) + window.elapsed_s
    return (window.share, 0.0) if held_s >= SETTLE_S else (known, held_s)


def guards(strategy: Strategy) -> list[Guard]:
    """See ``serving.guard``."""
    return [_Silence()]
