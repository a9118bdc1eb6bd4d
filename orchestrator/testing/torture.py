"""Torturing a pipeline: a crash sweep that also watches the bodies of its steps, and what it says about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from orchestrator.graph.pipeline import Pipeline
from orchestrator.testing.findings import Finding, findings
from orchestrator.testing.sweep import Swept, importable, sweep_subject
from orchestrator.testing.universe import Subject


class Tortured(NamedTuple):
    """What was swept, and which steps are not safe to repeat."""

    swept: Swept
    findings: list[Finding]

    @property
    def steps(self) -> int:
        """Steps of the run without faults."""
        return len(self.swept.reference.verdict.outcomes)


def torture(
    pipeline: Pipeline[..., Any],
    params: Mapping[str, Any] | None = None,
    *,
    answers: Mapping[str, Any] | None = None,
    points: int | None = None,
) -> Tortured:
    """Sweep a pipeline of an importable module and watch its steps; arguments and errors as of ``sweep``.

    Steps really run, those with effects included, once for each crash and more: give it parameters of a test.
    """
    return torture_subject(Subject(importable(pipeline, params), dict(answers or {})), points=points)


def torture_subject(
    subject: Subject,
    *,
    points: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    limit_s: float = 120.0,
) -> Tortured:
    """As ``torture``, for whatever the subject loads."""
    swept = sweep_subject(subject, points=points, repeats=True, progress=progress, limit_s=limit_s)
    return Tortured(swept, findings(swept))
