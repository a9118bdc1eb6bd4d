"""How traffic moves to a candidate: in steps, at once, as copies, or split for an experiment.

Frozen and plain, so that a strategy can stand in a pipeline, in a journal and on a command line. Durations are written
as people do (``"2m"``); properties give seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any, ClassVar, Literal, NamedTuple

from orchestrator.errors import ConfigError
from orchestrator.serving.conditions import Alternatives, Condition, parse
from orchestrator.types import Duration, seconds

COMPARED = ("errors", "slow", "broken")
"""What a candidate is compared in with the stable version that answers beside it."""


MOST_FIELDS = 5
"""By so many fields of a request the outcomes of an experiment can be told apart."""


class Step(NamedTuple):
    """Percent of the requests that a candidate answers, and of which it gets a copy."""

    weight: float
    mirrored: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """What all strategies have.

    Attributes:
        bake: How long each step is watched at least.
        rollback_if: Limits that send everything back, such as ``"error_rate > 0.01 or p95_ms > 80"``; other names are
            business metrics that the application reports.
        compare: In what the candidate may not be worse than the stable version at the same time.
        min_samples: Requests that the candidate has to have answered in a step before the next.
        min_outcomes: Reported values without which a business metric in ``rollback_if`` decides nothing.
        patience: How long after the bake a step waits for those; then everything goes back.
        false_rollbacks: Bound on the chance that the guards send a good candidate back, over the whole release.
        slow_ms: Answers that take longer are slow; by default the least limit of ``p50_ms``, ``p95_ms``, ``p99_ms`` in
            ``rollback_if``, else what the router has.
    """

    kind: ClassVar[str] = ""

    bake: Duration = "2m"
    rollback_if: str = ""
    compare: tuple[str, ...] = COMPARED
    min_samples: int = 100
    min_outcomes: int = 100
    patience: Duration = "1h"
    false_rollbacks: float = 0.01
    slow_ms: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "compare", tuple(self.compare))
        _ = self.alternatives, self.bake_s, self.patience_s
        unknown = [name for name in self.compare if name not in COMPARED]
        if unknown:
            raise ConfigError(f"compare={unknown[0]!r}: there is {', '.join(COMPARED)}")
        for name in ("min_samples", "min_outcomes"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigError(
                    f"{name}={value!r} has to be a whole number of 1 or more: without data nothing is promoted"
                )
        if not 0 < self.false_rollbacks <= 0.5:
            raise ConfigError(f"false_rollbacks={self.false_rollbacks!r} has to lie between 0 and 0.5, such as 0.01")
        if self.slow_ms is not None and not 0 < self.slow_ms < math.inf:
            raise ConfigError(f"slow_ms={self.slow_ms!r} has to be a number of milliseconds above 0")

    @property
    def steps_taken(self) -> tuple[Step, ...]:
        """The steps, in order."""
        raise ConfigError(f"{type(self).__name__} is no strategy by itself; take Canary, BlueGreen, Shadow or AB")

    @property
    def alternatives(self) -> Alternatives:
        """``rollback_if``, parsed."""
        return parse(self.rollback_if)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All conditions of ``rollback_if``, once each."""
        return tuple(dict.fromkeys(condition for conditions in self.alternatives for condition in conditions))

    @property
    def bake_s(self) -> float:
        """``bake`` in seconds."""
        return seconds(self.bake)

    @property
    def patience_s(self) -> float:
        """``patience`` in seconds."""
        return seconds(self.patience)

    @property
    def slow_limit_ms(self) -> float | None:
        """From how many milliseconds on an answer is slow; None to leave what the router has."""
        limits = [condition.limit for condition in self.conditions if condition.name.endswith("_ms")]
        return self.slow_ms if self.slow_ms is not None else min(limits, default=None)


@dataclass(frozen=True, kw_only=True)
class Canary(Strategy):
    """The candidate gets more and more of the requests.

    Attributes:
        steps: Percent at each step, growing; the last one is 100.
    """

    kind: ClassVar[str] = "canary"

    steps: tuple[float, ...] = (5, 25, 100)

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))
        super().__post_init__()
        growing = [0.0, *self.steps]
        if len(growing) < 2 or any(not after > before for before, after in pairwise(growing)):
            raise ConfigError(f"steps={self.steps} have to grow from above 0, such as (5, 25, 100)")
        if self.steps[-1] != 100:
            raise ConfigError(f"steps={self.steps} have to end with 100: percent of the requests for the candidate")

    @property
    def steps_taken(self) -> tuple[Step, ...]:
        """See ``Strategy``."""
        return tuple(Step(weight) for weight in self.steps)


@dataclass(frozen=True, kw_only=True)
class BlueGreen(Strategy):
    """All requests move at once; the old version stays warm while the new one is watched.

    Nothing answers beside the candidate then, so there is nothing to compare it with: give limits.
    """

    kind: ClassVar[str] = "blue_green"

    rollback_if: str = "error_rate > 0.05"
    compare: tuple[str, ...] = ()

    @property
    def steps_taken(self) -> tuple[Step, ...]:
        """See ``Strategy``."""
        return (Step(100),)


@dataclass(frozen=True, kw_only=True)
class Shadow(Strategy):
    """The candidate gets copies of requests; its answers are compared with those that were given, and thrown away.

    Attributes:
        percent: Share of the requests that are copied.
        timeout: How long an answer to a copy may take; later it counts as an error.
        concurrency: Most copies under way at each replica of the router; more requests are not copied.
    """

    kind: ClassVar[str] = "shadow"

    percent: float = 100
    timeout: Duration = "5s"
    concurrency: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.percent <= 100:
            raise ConfigError(f"percent={self.percent!r} has to be above 0 and at most 100")
        if not self.timeout_s > 0:
            raise ConfigError(f"timeout={self.timeout!r} has to be more than 0 s")
        if not isinstance(self.concurrency, int) or isinstance(self.concurrency, bool) or self.concurrency < 1:
            raise ConfigError(f"concurrency={self.concurrency!r} has to be a whole number of 1 or more")

    @property
    def timeout_s(self) -> float:
        """``timeout`` in seconds."""
        return seconds(self.timeout)

    @property
    def steps_taken(self) -> tuple[Step, ...]:
        """See ``Strategy``."""
        return (Step(0, self.percent),)


@dataclass(frozen=True, kw_only=True)
class AB(Strategy):
    """Two versions answer side by side until their metric differs beyond doubt, or the horizon comes.

    Attributes:
        metric: A business metric that is reported for answers.
        split: Percent of the requests for the candidate; a client stays with its version.
        better: Whether more or less of the metric is good.
        horizon: When to end without a difference.
        wrong_winners: Bound on the chance to see a difference where there is none.
        min_effect: Smallest difference that matters, in the unit of the metric; for the power that is shown.
        slices: Fields of a request's first row, at most ``MOST_FIELDS``: the effect is told for each of their values as
            well. What is decided does not depend on them.
        promote: Whether a candidate that wins gets all requests; otherwise they go back and the result is told.
    """

    kind: ClassVar[str] = "ab"

    metric: str
    split: float = 50
    better: Literal["higher", "lower"] = "higher"
    horizon: Duration = "7d"
    wrong_winners: float = 0.05
    min_effect: float | None = None
    slices: tuple[str, ...] = ()
    promote: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "slices", tuple(self.slices))
        if len(self.slices) > MOST_FIELDS or any(not 0 < len(name) <= 40 or "=" in name for name in self.slices):
            raise ConfigError(
                f"slices={self.slices!r} has to be at most {MOST_FIELDS} names of fields, of up to 40 characters "
                "without '='"
            )
        if not self.metric:
            raise ConfigError("metric='' names no business metric")
        if not 0 < self.split < 100:
            raise ConfigError(f"split={self.split!r} has to lie between 0 and 100: percent for the candidate")
        if self.better not in ("higher", "lower"):
            raise ConfigError(f"better={self.better!r} has to be 'higher' or 'lower'")
        if not 0 < self.wrong_winners <= 0.5:
            raise ConfigError(f"wrong_winners={self.wrong_winners!r} has to lie between 0 and 0.5, such as 0.05")
        if self.min_effect is not None and not 0 < self.min_effect < math.inf:
            raise ConfigError(f"min_effect={self.min_effect!r} has to be above 0")
        if self.horizon_s <= self.bake_s:
            raise ConfigError(f"horizon={self.horizon!r} has to be longer than bake={self.bake!r}")

    @property
    def horizon_s(self) -> float:
        """``horizon`` in seconds."""
        return seconds(self.horizon)

    @property
    def steps_taken(self) -> tuple[Step, ...]:
        """See ``Strategy``."""
        return (Step(self.split),)


KINDS: Mapping[str, type[Strategy]] = {kind.kind: kind for kind in (Canary, BlueGreen, Shadow, AB)}


def strategy_to_json(strategy: Strategy) -> dict[str, Any]:
    """A strategy as JSON values, with its kind."""
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(strategy).items()}
    return {"kind": strategy.kind, **plain}


def strategy_from_json(document: Mapping[str, Any]) -> Strategy:
    """The strategy that ``strategy_to_json`` wrote; what is left out has its default.

    Raises:
        ConfigError: there is no such kind or field, or a value cannot be meant.
    """
    given = dict(document)
    kind = given.pop("kind", None)
    if kind not in KINDS:
        raise ConfigError(f"kind={kind!r} is no strategy; there is {', '.join(KINDS)}")
    known = {entry.name for entry in fields(KINDS[kind])}
    unknown = sorted(given.keys() - known)
    if unknown:
        raise ConfigError(f"{unknown[0]!r} is no field of {kind}; there is {', '.join(sorted(known))}")
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    try:
        return KINDS[kind](**values)
    except TypeError as error:
        raise ConfigError(f"{kind}: {error}") from None
