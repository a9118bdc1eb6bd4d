"""Validation: scores with intervals, slices, comparisons, robustness, leaks, and the gate before a release."""

from stages.validation.bias import Bias, Disparity, check_bias
from stages.validation.champion import Duel, duel, mcnemar
from stages.validation.evaluation import Evaluation, Slice, evaluate
from stages.validation.gate import Comparison, Scores, ValidationReport, validate
from stages.validation.judging import Measured, judged, measured
from stages.validation.leakage import Leakage, check_leakage
from stages.validation.overfit import Gap, check_overfit
from stages.validation.record import Finding, GateRecord, found, gate
from stages.validation.robustness import Damaged, Robustness, stress
from stages.validation.thresholds import Threshold, choose_threshold
from stages.validation.weak_slices import WeakSlice, WeakSlices, find_slices

__all__ = [
    "Bias",
    "Comparison",
    "Damaged",
    "Disparity",
    "Duel",
    "Evaluation",
    "Finding",
    "Gap",
    "GateRecord",
    "Leakage",
    "Measured",
    "Robustness",
    "Scores",
    "Slice",
    "Threshold",
    "ValidationReport",
    "WeakSlice",
    "WeakSlices",
    "check_bias",
    "check_leakage",
    "check_overfit",
    "choose_threshold",
    "duel",
    "evaluate",
    "find_slices",
    "found",
    "gate",
    "judged",
    "mcnemar",
    "measured",
    "stress",
    "validate",
]
