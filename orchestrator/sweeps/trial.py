"""One trial: the stage called with the shared arguments and a point, its reports kept, its metric read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.errors import InvalidStage, StepError
from orchestrator.graph.annotation import attribute_type, plain
from orchestrator.graph.context import step
from orchestrator.graph.source import refusal
from orchestrator.graph.stage import Stage, resolve
from orchestrator.ports.tune import Point


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a trial came to."""

    output: Any
    value: float
    reports: list[dict[str, float]]


def trial_stage(stage: Stage[..., Any], metric: str) -> Stage[..., Any]:
    """A stage with the needs of the given one that runs it as a trial; a failed trial does not end the sweep."""

    def trial(point: Point, given: Mapping[str, Any]) -> Outcome:
        return _tried(stage, metric, point, given)

    belongs_to(trial, stage, "trial")
    return _trial(stage, trial)


def named_trial(stage: Stage[..., Any]) -> Stage[..., Any]:
    """The same for a stage that is found by its name: workers need no code that is made for the sweep."""
    return _trial(stage, run_trial)


def run_trial(point: Point, given: Mapping[str, Any], stage: str, code: str, metric: str) -> Outcome:
    """A trial of the stage at ``module:qualname``; ``code``, its fingerprint, tells trials of changed code apart."""
    found = resolve(stage)
    return _tried(found if isinstance(found, Stage) else Stage(found, "stage", {}), metric, point, given)


def _trial(stage: Stage[..., Any], function: Callable[..., Outcome]) -> Stage[..., Any]:
    base = replace(stage.policy, has_fallback=False)
    return Stage(function, "stage", {"on_item_error": "keep"}, base, name=stage.name)


def _tried(stage: Stage[..., Any], metric: str, point: Point, given: Mapping[str, Any]) -> Outcome:
    reports: list[dict[str, float]] = []
    step().reports = reports
    output = stage(**arguments(stage, given, point))
    return Outcome(output, metric_value(metric, reports, output, stage.name), reports)


def belongs_to(function: Any, stage: Stage[..., Any], name: str) -> None:
    """Let a function made around a stage count as code of the stage's project, not of the engine."""
    module, _, qualname = stage.path.partition(":")
    function.__module__, function.__qualname__, function.__name__ = module, f"{qualname}.<locals>.{name}", name


def arguments(stage: Stage[..., Any], given: Mapping[str, Any], point: Point) -> dict[str, Any]:
    """Arguments of a call: the shared ones, and those of the point, dotted ones laid over their dataclass."""
    called = dict(given)
    for name, value in point.items():
        head, _, rest = name.partition(".")
        called[head] = _changed(_base(stage, called, head), rest, value) if rest else value
    return called


def _base(stage: Stage[..., Any], called: Mapping[str, Any], head: str) -> Any:
    """The dataclass that dotted parameters change: given, the parameter's default, or a new one."""
    if head in called:
        return called[head]
    default = stage.signature.parameters[head].default
    return plain(stage.hints[head])() if default is stage.signature.empty else default


def _changed(base: Any, path: str, value: Any) -> Any:
    head, _, rest = path.partition(".")
    return dataclasses.replace(base, **{head: _changed(getattr(base, head), rest, value) if rest else value})


def metric_value(metric: str, reports: list[dict[str, float]], output: Any, name: str) -> float:
    """The metric as it was last reported, else the field of the output.

    Raises:
        StepError: there is neither, or it is not a number.
    """
    for report in reversed(reports):
        if metric in report:
            return report[metric]
    found = output.get(metric) if isinstance(output, Mapping) else getattr(output, metric, None)
    try:
        return float(found)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise StepError(
            f"{name} came to no metric {metric!r}: it neither called step().report({metric}=…) nor returned something "
            f"with a number under {metric!r} (a {type(output).__name__})"
        ) from None


def check_dotted(stage: Stage[..., Any], name: str) -> None:
    """Refuse a dotted parameter that leads to no field of a dataclass; raises InvalidStage."""
    head, *fields = name.split(".")
    found = plain(stage.hints.get(head, Any))
    for field in fields:
        if found is Any:
            return
        if not dataclasses.is_dataclass(found) or field not in (entry.name for entry in dataclasses.fields(found)):
            shown = getattr(found, "__name__", str(found))
            raise refusal(InvalidStage, f"sweep: over[{name!r}]: {shown} is no dataclass with a field {field!r}")
        found = plain(attribute_type(found, field))
