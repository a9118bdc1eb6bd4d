"""A candidate that its server does not keep up: gone, down for long, or down again and again."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.serving.guard import Evidence, Guard, GuardState
from orchestrator.serving.strategy import Strategy
from orchestrator.serving.window import Window

NAMES = ()
LONGEST_S = 10.0
MOST_FALLS = 3


@dataclass(frozen=True, slots=True)
class _Crashes:
    key: str = "the candidate does not stay up"
    hard: bool = True

    def look(self, state: GuardState, window: Window) -> tuple[GuardState, Evidence]:
        """See ``Guard``."""
        health = window.health
        if health is None or health.state == "stopping":
            return state, Evidence(self.key, at_once=True, said="the candidate is not served any more")
        up = health.state == "healthy"
        falls = state.get("falls", 0) + (not up and state.get("up", True))
        down_s = 0.0 if up else state.get("down_s", 0.0) + window.elapsed_s
        at_once = falls >= MOST_FALLS or down_s >= LONGEST_S
        times = f"went down {falls} {'time' if falls == 1 else 'times'}, now {health.state}"
        said = f"{times}{f': {health.message}' if health.message else ''}" if falls else ""
        return {"up": up, "falls": falls, "down_s": down_s}, Evidence(self.key, at_once=at_once, said=said)


def guards(strategy: Strategy) -> list[Guard]:
    """See ``serving.guard``."""
    return [_Crashes()]
