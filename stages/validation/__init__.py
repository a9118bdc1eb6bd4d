"""Validation: scores on later rows, slices, calibration, champion comparison, and the gate before a release."""

from stages.validation.gate import Comparison, Scores, ValidationReport, validate

__all__ = ["Comparison", "Scores", "ValidationReport", "validate"]
