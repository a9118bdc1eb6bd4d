"""What ``orc ab --json`` prints: an experiment, its effect over time, its split, its slices and its power so far."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class ABVersionItem(Struct, frozen=True):
    """One of the two versions. ``values`` is how many values of the metric were reported for its answers."""

    version: str
    role: Literal["candidate", "stable"]
    values: int
    mean: float


class ABEffectItem(Struct, frozen=True):
    """Candidate minus stable version, with the ends of the confidence sequence as it stands."""

    difference: float
    low: float
    high: float


class ABSplitItem(Struct, frozen=True):
    """How requests fell. ``log_e`` is the logarithm of the e-value against the split being what was asked for; from
    ``needed`` on it is ``broken``."""

    candidate_percent: float
    wanted_percent: float
    log_e: float
    needed: float
    broken: bool


class ABPowerItem(Struct, frozen=True):
    """``detectable`` is the effect that would stand out by now with a chance of 80 %; ``chance`` is that of the
    smallest effect that matters, null where none was named."""

    detectable: float
    smallest: float | None
    chance: float | None


class ABSliceItem(Struct, frozen=True):
    """A part of the requests; ``effect`` is null before both versions have values enough. All intervals together hold
    with ``confidence``."""

    name: str
    candidate_values: int
    stable_values: int
    candidate_mean: float
    stable_mean: float
    effect: ABEffectItem | None


class ABMomentItem(Struct, frozen=True):
    """The experiment as it stood at one time."""

    at: str
    effect: ABEffectItem | None
    candidate_percent: float | None
    split_log_e: float | None


class ABDocument(Struct, frozen=True):
    """An A/B experiment. ``state`` is ``stopped`` if it has not ended and nobody drives its run; ``outcome`` and
    ``why`` are of one that has ended. ``confidence`` is that all intervals of ``trail`` hold at once."""

    app: str
    run: str
    step: str
    state: Literal["running", "stopped", "ended"]
    outcome: str | None
    why: str
    metric: str
    better: Literal["higher", "lower"]
    confidence: float
    began_at: str
    seen_at: str
    horizon_s: float
    min_outcomes: int
    versions: list[ABVersionItem]
    effect: ABEffectItem | None
    split: ABSplitItem
    power: ABPowerItem | None
    slices: list[ABSliceItem]
    trail: list[ABMomentItem]
