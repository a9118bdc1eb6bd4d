"""Business metrics of ``rollback_if``: the mean of what the application reports, above or below its limit.

Values that are 0 or 1 are a rate and have an exact e-process; for others it is asymptotic, see ``serving.means``.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.serving.conditions import Condition
from orchestrator.serving.guard import Evidence, Guard, GuardState
from orchestrator.serving.means import Moments, log_e_of_mean
from orchestrator.serving.sequences import Mixture, above_limit
from orchestrator.serving.strategy import Strategy
from orchestrator.serving.window import Window

NAMES = ()


@dataclass(frozen=True, slots=True)
class _Business:
    condition: Condition
    least: int
    hard: bool = False

    @property
    def key(self) -> str:
        """The condition."""
        return str(self.condition)

    def look(self, state: GuardState, window: Window) -> tuple[GuardState, Evidence]:
        """See ``Guard``."""
        name, limit, above = self.condition.name, self.condition.limit, self.condition.operator == ">"
        mine = Moments.from_json(state.get("candidate", ())).plus(window.candidate.outcomes.get(name))
        other = Moments.from_json(state.get("stable", ())).plus(window.stable.outcomes.get(name))
        enough = mine.count >= self.least
        log_e = 0.0
        if enough and mine.zero_or_one and 0 < limit < 1:
            hits = mine.total if above else mine.count - mine.total
            log_e = Mixture().after(above_limit(hits, mine.count, limit if above else 1.0 - limit)).log_e
        elif enough:
            log_e = log_e_of_mean(mine, limit, above)
        means = (mine.mean if mine.count else None), (other.mean if other.count else None)
        found = {"candidate": mine.to_json(), "stable": other.to_json()}
        said = "" if enough else f"{mine.count:g} of the {self.least} values it needs"
        return found, Evidence(self.key, log_e, mine.count, *means, limit, False, enough, said=said)


def guards(strategy: Strategy) -> list[Guard]:
    """See ``serving.guard``."""
    return [_Business(condition, strategy.min_outcomes) for condition in strategy.conditions if condition.business]
