"""Monitoring: what a model was asked, and drift of inputs and outcomes against the rows it was trained on."""

from stages.monitoring.captured import Captured, captured
from stages.monitoring.drift import ColumnDrift, DriftReport, drift

__all__ = ["Captured", "ColumnDrift", "DriftReport", "captured", "drift"]
