"""How long the steps of each stage take, learned while running: the basis of bundle sizes.

History is a hint only: sizes grow 1, 2, 4, … with each bundle that comes back, so that a wrong guess can never
serialise heavy steps behind light ones. Where the steps seen so far are a small part of what a bundle costs to send,
they grow twice as fast. What earlier runs of the process saw only says how large the first bundle may be: how long the
steps take is taken from this run alone, so that fair shares and what is taken back do not depend on the past.
"""

from __future__ import annotations

import array
from collections import deque
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, field

BUNDLE_S = 0.05
"""Work aimed at in one bundle: long against a hop to a worker, short against a person's patience."""

TINY_S = 0.00005
"""Steps that take no longer are worth more in one bundle sooner: ten of them cost less than a hop to a worker."""

FIRST_STEPS = 16
"""Most steps in the first bundle of a stage of which earlier runs have seen light ones only."""

_SAMPLES = 64
_MAX_STEPS = 4096


@dataclass(slots=True)
class StagePace:
    """Recent durations of one stage, and how many of its steps may travel together."""

    size: int = 1
    samples: deque[int] = field(default_factory=lambda: deque(maxlen=_SAMPLES))
    p90_s: float = 0.0

    def learn(self, durations_us: Iterable[int]) -> None:
        """Take in more durations; the 90th percentile is that of recent ones."""
        self.samples.extend(durations_us)
        ordered = sorted(self.samples)
        self.p90_s = ordered[(len(ordered) * 9) // 10 if len(ordered) > 1 else 0] / 1e6


class Pace:
    """Paces of all stages of a run, by code fingerprint.

    Args:
        first: How many steps the first bundle of a stage may have, from earlier runs; kept up to date here.
    """

    def __init__(self, first: MutableMapping[str, int] | None = None) -> None:
        self._stages: dict[str, StagePace] = {}
        self._first = {} if first is None else first

    def completed(self, stage: str, elapsed_us: bytes) -> None:
        """Learn from one delivered range (little-endian uint32 microseconds, one per step)."""
        if not elapsed_us:
            return
        pace = self._stages.get(stage)
        if pace is None:
            pace = self._stages[stage] = StagePace(self._first.get(stage, 1))
        count = len(elapsed_us) // 4
        picked = range(0, count, max(1, count // 16))
        column = array.array("I", elapsed_us)
        pace.learn(max(1, column[i]) for i in picked)
        pace.size = min(pace.size * (4 if pace.p90_s <= TINY_S else 2), _MAX_STEPS)
        self._first[stage] = max(1, min(FIRST_STEPS, pace.size, int(BUNDLE_S / pace.p90_s)))

    def share(self, stage: str) -> float:
        """What part of a bundle one step of this stage takes: 1 means it travels alone."""
        pace = self._stages.get(stage)
        return 1.0 / self._first.get(stage, 1) if pace is None else max(1.0 / pace.size, pace.p90_s / BUNDLE_S)

    def step_s(self, stage: str) -> float | None:
        """Expected duration of a step, in seconds; None while unknown."""
        pace = self._stages.get(stage)
        return pace.p90_s if pace else None
