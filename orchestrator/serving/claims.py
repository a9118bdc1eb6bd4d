"""What would send a release back: alternatives of ``rollback_if`` and comparisons, each with its share of the risk.

The risk of sending a good candidate back is split evenly over the alternatives (Bonferroni), whatever their number;
a tenth of it is kept for the guards that act at once. Conditions joined by ``and`` share one part: all of them have to
be proved, and a false proof of all is no likelier than of one (an intersection-union test).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.serving.guard import Evidence, Guard
from orchestrator.serving.sequences import e_text
from orchestrator.serving.strategy import Strategy

AT_ONCE_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Claim:
    """One way to be sent back, and how far it is proved.

    Attributes:
        said: What is claimed of the candidate.
        log_e, needed: Logarithm of the e-value and of the one from which the claim counts as proved.
        at_once: Proved without statistics.
        evidence: Of each guard that has a part in it.
    """

    said: str
    log_e: float
    needed: float
    at_once: bool
    evidence: tuple[Evidence, ...]

    @property
    def proved(self) -> bool:
        """True if the release goes back."""
        return self.at_once or self.log_e >= self.needed

    @property
    def progress(self) -> float:
        """From 0, nothing speaks for it, to 1, proved; on a logarithmic scale."""
        return 1.0 if self.proved else max(0.0, self.log_e / self.needed)

    def text(self) -> str:
        """One line for people."""
        words = "; ".join(filter(None, (_evidence_text(one) for one in self.evidence)))
        if self.evidence[0].at_once or self.needed == math.inf:
            return f"{self.said}: {words}" if words else self.said
        return f"{self.said}: {words or 'no data'}; e-value {e_text(self.log_e)}, {e_text(self.needed)} needed"

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        needed = None if self.needed == math.inf else self.needed
        return {**asdict(self), "needed": needed, "evidence": [one.to_json() for one in self.evidence]}

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Claim:
        """What ``to_json`` wrote."""
        needed = math.inf if document["needed"] is None else document["needed"]
        evidence = tuple(Evidence(**one) for one in document["evidence"])
        return Claim(document["said"], document["log_e"], needed, document["at_once"], evidence)


def claims_of(strategy: Strategy, guards: Mapping[str, Guard], found: Mapping[str, Evidence]) -> list[Claim]:
    """All claims as they stand: those that act at once, then the alternatives, then what else guards watch."""
    groups = [[str(condition) for condition in conditions] for conditions in strategy.alternatives]
    named = {key for keys in groups for key in keys}
    groups += [[key] for key, guard in guards.items() if key not in named and not guard.hard]
    needed = math.log(max(1, len(groups)) / (strategy.false_rollbacks * (1.0 - AT_ONCE_SHARE)))
    hard = [[key] for key, guard in guards.items() if guard.hard]
    made = [_claim([found[key] for key in keys], math.inf) for keys in hard]
    return made + [_claim([found[key] for key in keys], needed) for keys in groups]


def _claim(evidence: list[Evidence], needed: float) -> Claim:
    said = " and ".join(one.guard for one in evidence)
    at_once = all(one.at_once for one in evidence)
    return Claim(said, min(one.log_e for one in evidence), needed, at_once, tuple(evidence))


def _evidence_text(evidence: Evidence) -> str:
    return ", ".join(filter(None, (evidence.shown(), evidence.said)))
