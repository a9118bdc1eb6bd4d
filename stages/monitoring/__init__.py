"""Monitoring: what a model was asked, and drift of inputs and outcomes against the rows it was trained on."""

from stages.monitoring.captured import Captured, captured
from stages.monitoring.drift import ColumnDrift, DriftReport, drift
from stages.monitoring.drift_check import DriftCheck, DriftFinding, NoDrift, check_drift

__all__ = [
    "Captured",
    "ColumnDrift",
    "DriftCheck",
    "DriftFinding",
    "DriftReport",
    "NoDrift",
    "captured",
    "check_drift",
    "drift",
]
