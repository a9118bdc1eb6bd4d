"""The record of a gate: what was measured, against what, on which rows, and whether that was enough.

Every check of this package gives findings of one kind; a gate is a list of them, so a reader of the record needs no
knowledge of the checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from orchestrator import stage
from orchestrator.errors import ConfigError

Relation = Literal[">=", ">", "<=", "<"]


@dataclass(frozen=True)
class Finding:
    """One measured value against its threshold.

    Attributes:
        check: What was measured, in words: ``AUC``, ``AUC of carrier UA``, ``rows also in training``.
        measured: None where it could not be told.
        threshold: None if it was only measured; such a finding passes.
        low, high: Interval of the measured value, where there is one.
        rows: Number of rows behind it.
        digest: Which rows, see ``rows_digest``.
        why: A sentence that says what did not hold; empty if it passed.
    """

    check: str
    measured: float | None
    relation: Relation
    threshold: float | None
    passed: bool
    rows: int
    digest: str
    why: str = ""
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        mark = "measured" if self.threshold is None else "ok" if self.passed else "refused"
        value = "unknown" if self.measured is None else f"{self.measured:.4g}"
        interval = "" if self.low is None or self.high is None else f" [{self.low:.4g}, {self.high:.4g}]"
        wanted = "" if self.threshold is None else f" {self.relation} {self.threshold:g}"
        return f"{mark:8} {self.check}: {value}{interval}{wanted} on {self.rows} rows ({self.digest[:8]})"


@dataclass(frozen=True)
class GateRecord:
    """All findings; ``passed`` if each of them did."""

    passed: bool
    findings: list[Finding]

    @property
    def reasons(self) -> list[str]:
        """Why it did not pass; empty if it did."""
        return [finding.why for finding in self.findings if not finding.passed]

    def __str__(self) -> str:
        head = "gate passed" if self.passed else "gate refused: " + "; ".join(self.reasons)
        return "\n".join([head, *(f"  {finding}" for finding in self.findings)])


_HOLDS = {
    ">=": lambda value, threshold: value >= threshold,
    ">": lambda value, threshold: value > threshold,
    "<=": lambda value, threshold: value <= threshold,
    "<": lambda value, threshold: value < threshold,
}

_FAILED = {">=": "is below", ">": "is not above", "<=": "is above", "<": "is not below"}


def found(
    check: str,
    measured: float | None,
    relation: Relation,
    threshold: float | None,
    rows: int,
    digest: str,
    low: float | None = None,
    high: float | None = None,
    why: str | None = None,
) -> Finding:
    """A finding, judged; what could not be measured does not pass a threshold.

    Args:
        why: What to say if it does not hold; made from the numbers when not given.
    """
    passed = threshold is None or (measured is not None and bool(_HOLDS[relation](measured, threshold)))
    wanted = "" if threshold is None else f"{threshold:g}"
    said = f"{check} cannot be told, and had to be {relation} {wanted}"
    reason = why or (said if measured is None else f"{check} {measured:.3f} {_FAILED[relation]} {wanted}")
    return Finding(check, measured, relation, threshold, passed, rows, digest, "" if passed else reason, low, high)


@stage(cache="30d", timeout="5m")
def gate(findings: Sequence[Finding | Sequence[Finding]]) -> GateRecord:
    """One record of all findings; a refused gate is a result, not an error.

    Args:
        findings: Findings of any checks, or lists of them.

    Raises:
        ConfigError: there is none, so nothing was looked at.
    """
    flat: list[Finding] = []
    for entry in findings:
        flat.extend([entry] if isinstance(entry, Finding) else entry)
    if not flat:
        raise ConfigError("A gate without findings would let anything pass; give it at least one")
    return GateRecord(all(finding.passed for finding in flat), flat)
