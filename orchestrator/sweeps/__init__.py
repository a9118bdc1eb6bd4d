"""Sweeps: a stage tried with many parameters, by searchers that are asked and told.

A plain sweep is a ``@dynamic`` step whose trials are steps of the run; a steered one (with a scheduler, or with
checkpoints) is one step that drives Ray Tune through ``step().tune``.
"""

from orchestrator.ports.tune import Asha, Choice, Pbt, Range, Trial
from orchestrator.sweeps.result import Best
from orchestrator.sweeps.sweep import sweep

__all__ = ["Asha", "Best", "Choice", "Pbt", "Range", "Trial", "sweep"]
