"""What the jobs end with: scores beside the baseline's, the gate's record, and the model if it passed.

Tables and models stay the outputs of their steps; an outcome holds figures only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator import stage
from stages.training import ModelFile
from stages.validation import Bias, Duel, Evaluation, GateRecord, Slice, WeakSlice, WeakSlices


@dataclass(frozen=True)
class Score:
    """One metric of the model and of the baseline, on the same rows.

    Attributes:
        gain: How much better the model is, whatever the metric's direction; 95 % interval from ``low`` to ``high``.
    """

    metric: str
    model: float | None
    baseline: float | None
    gain: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        if self.model is None or self.baseline is None or self.gain is None:
            return f"{self.metric}: cannot be told"
        interval = "" if self.low is None or self.high is None else f" [{self.low:+.3f}, {self.high:+.3f}]"
        return f"{self.metric}: {self.model:.3f}, baseline {self.baseline:.3f}, gain {self.gain:+.3f}{interval}"


@dataclass(frozen=True)
class Outcome:
    """What a job found.

    Attributes:
        job: Its name and the series or rows it was about.
        rows: Rows that the model was judged by.
        slices: Parts of these rows that were asked for, largest first.
        weak: Parts that nobody asked for, on which the model does clearly worse.
    """

    job: str
    rows: int
    scores: list[Score]
    gate: GateRecord
    slices: list[Slice]
    weak: list[WeakSlice]
    bias: Bias | None

    def __str__(self) -> str:
        lines = [f"{self.job}: judged by {self.rows} rows", *(f"  {score}" for score in self.scores)]
        if self.bias is not None:
            lines += [f"  {finding}" for finding in self.bias.findings]
        return "\n".join([*lines, str(self.gate)])


@stage
def accept(model: ModelFile) -> ModelFile:
    """Hand on a model that has passed its gate; ``accept.options(publish="model:credit")`` makes it a version."""
    return model


@stage(cache="30d", timeout="5m")
def conclude(
    job: str,
    scores: Sequence[Duel],
    gate: GateRecord,
    evaluation: Evaluation | None = None,
    weak: WeakSlices | None = None,
    bias: Bias | None = None,
) -> Outcome:
    """Put the findings together."""
    table = [Score(s.metric, s.challenger, s.champion, s.gain, s.low, s.high) for s in scores]
    slices = evaluation.slices if evaluation else []
    return Outcome(job, scores[0].finding.rows, table, gate, slices, weak.slices if weak else [], bias)
