"""How a release went over time, thinned so that it stays small however long it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST = 160
"""Points that are kept; then every second one goes and the distance doubles."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What was seen at one time; a dataclass, so that records are read back without running any code.

    Attributes:
        time: Seconds since 1970.
        weight: Percent of the requests that went to the candidate, or of which it got a copy.
        samples: Requests at the candidate so far.
        claims: How far each claim was proved, from 0 to 1.
        effect: Of an experiment: difference, lower and upper end; empty otherwise.
        split: Of an experiment: percent of the requests that the candidate got, and the logarithm of the e-value
            against that being what was asked for; empty otherwise.
    """

    time: float
    weight: float
    samples: int
    claims: Mapping[str, float]
    effect: Sequence[float] = ()
    split: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Trail:
    """Moments in order.

    Attributes:
        apart_s: Moments closer than this to the last one replace it, unless the weight changed.
    """

    moments: tuple[Moment, ...] = ()
    apart_s: float = 0.0

    def with_moment(self, moment: Moment) -> Trail:
        """With another moment, thinned if there are too many."""
        kept = self.moments
        if len(kept) >= 2 and moment.time - kept[-2].time < self.apart_s and kept[-2].weight == kept[-1].weight:
            kept = kept[:-1]
        kept = (*kept, moment)
        if len(kept) <= MOST:
            return Trail(kept, self.apart_s)
        changes = {at for at in range(1, len(kept)) if kept[at].weight != kept[at - 1].weight}
        stay = tuple(
            one
            for at, one in enumerate(kept)
            if at % 2 == 0 or at in changes or at + 1 in changes or at == len(kept) - 1
        )
        return Trail(stay, max(2 * self.apart_s, (kept[-1].time - kept[0].time) / MOST))

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        moments = [
            [one.time, one.weight, one.samples, dict(one.claims), list(one.effect), list(one.split)]
            for one in self.moments
        ]
        return {"apart_s": self.apart_s, "moments": moments}

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Trail:
        """What ``to_json`` wrote."""
        moments = (
            Moment(time, weight, samples, claims, *map(tuple, more))
            for time, weight, samples, claims, *more in document["moments"]
        )
        return Trail(tuple(moments), document["apart_s"])
