"""The main job goes live: its model takes over from the baseline, and a wrong one is sent back, under real requests.

The users are the flights of the months after: each asks for its prediction over HTTP, and reports whether it was late.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator import pipeline, stage, when
from stages.deployment import Canary, Release, Replay, deploy_versions, release, replay, retire
from stages.pipelines.flights import TARGET, Judged, boosted, judged
from stages.preprocessing import add_flag, concat

CANARY = Canary(
    steps=(50, 100), bake="1s", min_samples=50, min_outcomes=50, patience="3m", rollback_if="brier > 0.25",
    compare=("errors", "broken"),
)  # fmt: skip
"""Short steps. A Brier score over 0.25 is worse than that of always saying "fifty-fifty"."""


@dataclass(frozen=True)
class LiveResult:
    """What happened when the model went live.

    Attributes:
        first, good, bad: The baseline, the model, and the one that learned the contrary.
        asked: What the users saw meanwhile.
    """

    first: Release
    good: Release
    bad: Release
    asked: Replay

    @property
    def passed(self) -> bool:
        """The model answers now, the wrong one was sent back, and no request failed."""
        promoted = self.first.passed and self.good.passed
        return promoted and self.bad.outcome == "rolled_back" and not self.asked.failures

    def __str__(self) -> str:
        return "\n".join(
            [
                f"baseline     {self.first.candidate} answered first{self._score(self.first)}",
                f"model        {_told(self.good)}{self._score(self.good)}",
                f"wrong model  {_told(self.bad)}{self._score(self.bad)}",
                f"             {self.bad.why}",
                f"users        {self.asked}",
            ]
        )

    def _score(self, sent: Release) -> str:
        error = self.asked.errors.get(sent.candidate)
        return "" if error is None else f", Brier score {error:.3f} of {self.asked.answered[sent.candidate]:,} answers"


def _told(sent: Release) -> str:
    done = {"promoted": "took over", "rolled_back": "was sent back"}.get(sent.outcome, sent.outcome)
    return f"{sent.candidate} {done} after {sent.ended_at - sent.began_at:.1f} s"


@stage
def conclude_live(first: Release, good: Release, bad: Release, asked: Replay) -> LiveResult:
    """Put the findings together."""
    return LiveResult(first, good, bad, asked)


@pipeline
def flights_live(
    train_months: Sequence[int] = (1, 2, 3, 4),
    test_month: int = 5,
    later_months: Sequence[int] = (6, 7, 8, 9),
    late_min: float = 15.0,
    notice_s: int = 3600,
    trees: int = 100,
    wrong_trees: int = 40,
    min_auc: float = 0.7,
    max_calibration_error: float = 0.1,
    app: str = "flights-live",
    directory: str | None = None,
) -> LiveResult | None:
    """Let the model of ``flights`` take over an application from its baseline, and then try a wrong one.

    Args:
        train_months, test_month, later_months: Months to fit on, to judge by, and whose flights are the users.
        late_min, notice_s, trees, min_auc, max_calibration_error, directory: As of ``flights``.
        wrong_trees: Trees of the model that learns from labels turned round.
        app: Name to serve under; what was served under it ends.
    """
    found = judged(
        train_months, test_month, later_months, late_min, notice_s, trees, min_auc, max_calibration_error, directory
    )
    return when(found.report.passed, then=lambda: _live(found, late_min, wrong_trees, app))


def _live(found: Judged, late_min: float, wrong_trees: int, app: str) -> LiveResult:
    turned = add_flag.map(found.fit_on, name=TARGET, column="arr_delay", symbol="<=", value=late_min)
    wrong = boosted([turned[i] for i in range(len(found.fit_on))], found.reference, wrong_trees)
    ready = deploy_versions([found.baseline.model, found.model.model, wrong.model], app=retire(app))
    first = release(found.baseline.model, app=ready[0].app)
    asked = replay(first.url, concat(found.later[:2]), TARGET, releases=2, after=first.id)
    good = release(found.model.model, app=first.app, canary=CANARY)
    bad = release(wrong.model, app=good.app, canary=CANARY)
    return conclude_live(first, good, bad, asked)
