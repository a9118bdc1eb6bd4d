"""Monitoring: drift of inputs and outcomes against the rows a model was trained on."""

from stages.monitoring.drift import ColumnDrift, DriftReport, drift

__all__ = ["ColumnDrift", "DriftReport", "drift"]
