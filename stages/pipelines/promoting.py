"""What ``orc promote`` asks before a model version goes up: is it sound?"""

from __future__ import annotations

from orchestrator import pipeline, version
from stages.deployment import check_soundness
from stages.validation import GateRecord


@pipeline
def examine(
    model: str, sample: str | None = None, max_p99_ms: float = 100.0, max_size_bytes: int = 256 * 2**20
) -> GateRecord:
    """Load a published model in a fresh process and ask it.

    Args:
        model: A version: ``model:flights@v3``.
        sample: A version of a data set with rows to ask with; rows made from the model's inputs when not given.
        max_p99_ms: Limit of the time for one row.
        max_size_bytes: Limit of the model's size.
    """
    rows = None if sample is None else version(sample)
    return check_soundness(version(model), rows, max_p99_ms=max_p99_ms, max_size_bytes=max_size_bytes)
