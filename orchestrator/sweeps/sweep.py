"""``sweep(...)``: what is asked for is checked where it is written, and becomes one step of the graph."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, TypeVar

from orchestrator.errors import InvalidStage
from orchestrator.graph.binding import bind
from orchestrator.graph.call import check_argument
from orchestrator.graph.context import current
from orchestrator.graph.local import LocalCaller
from orchestrator.graph.secret import contains_secret
from orchestrator.graph.source import refusal
from orchestrator.graph.stage import Stage
from orchestrator.graph.trace import tracing
from orchestrator.ports.tune import Asha, Choice, Mode, Pbt, Range, Scheduler, Space
from orchestrator.sweeps.result import Best
from orchestrator.sweeps.search import SearcherName, search
from orchestrator.sweeps.searchers.grid import size
from orchestrator.sweeps.spaces import read_spaces
from orchestrator.sweeps.steered import Steering, steer
from orchestrator.sweeps.trial import belongs_to, check_dotted, named_trial, trial_stage

R = TypeVar("R")

_SCHEDULERS: Mapping[str, type[Asha] | type[Pbt]] = {"asha": Asha, "pbt": Pbt}
_SEARCHERS = ("random", "grid", "optuna")
_Asked: TypeAlias = tuple[dict[str, Space], dict[str, Any], str, Mode, int, SearcherName, int]
"""Spaces, the other arguments, metric, mode, trials, searcher and concurrency."""


def sweep(
    stage: Stage[..., R],
    over: Mapping[str, Any],
    *,
    metric: str,
    mode: Mode = "max",
    fixed: Mapping[str, Any] | None = None,
    trials: int | None = None,
    searcher: SearcherName | None = None,
    scheduler: Literal["asha", "pbt"] | Scheduler | None = None,
    checkpoint: bool = False,
    concurrency: int = 0,
    name: str = "sweep",
) -> Best[R]:
    """Try a stage with many parameters, and take the best.

    In a pipeline this is a step, whose trials are steps of the run; with ``scheduler`` or ``checkpoint`` they run on
    the controller of Ray Tune. In the body of a ``@dynamic`` step the trials are steps of that body. Called anywhere
    else it runs in process, each trial to its end.

    Args:
        over: For parameters of the stage (dotted into dataclasses: ``hp.lr``) a list of values, a range
            ``(low, high)``, ``(low, high, "log")`` or ``(low, high, "int")``, or a Ray Tune space.
        metric: What is compared: as last reported with ``step().report``, else the field of the output.
        mode: ``max`` or ``min``.
        fixed: The other arguments of the stage; results of stages are allowed.
        trials: How many; every combination of the lists if not given.
        searcher: ``random``, ``grid`` or ``optuna``; by default ``random``, and ``grid`` without ``trials``.
        scheduler: ``asha`` or ``pbt``, or an ``orchestrator.sweeps.Asha`` or ``Pbt`` with settings.
        checkpoint: A trial whose worker dies goes on from its last ``step().checkpoint``; ``pbt`` needs no saying so.
        concurrency: Trials at a time; by default all at once, and 4 for a searcher that learns.
        name: Of the step.

    Raises:
        DefinitionError: the stage cannot be called like this; names the parameter.
        StepError: no trial came to a value.
    """
    _check_stage(stage, mode)
    spaces, given = read_spaces(over), dict(fixed or {})
    _check_arguments(stage, spaces, given)
    chosen = searcher or ("random" if trials is not None else "grid")
    count = _count(spaces, trials, chosen)
    _check_whole("concurrency", concurrency, 0)
    if chosen not in _SEARCHERS:
        raise refusal(InvalidStage, f"sweep(searcher={chosen!r}): write {', '.join(map(repr, _SEARCHERS))}")
    steering = Steering(_scheduler(scheduler), checkpoint)
    if isinstance(steering.scheduler, Pbt) and chosen == "optuna":
        raise refusal(InvalidStage, "sweep(scheduler='pbt') chooses parameters itself: searcher is 'random' or 'grid'")
    asked = (spaces, given, metric, mode, count, chosen, concurrency)
    found: Best[R] = _swept(stage, asked, steering, name)
    return found


def _swept(stage: Stage[..., Any], asked: _Asked, steering: Steering, name: str) -> Any:
    """The best of a sweep, or its step: where the call stands decides who runs the trials."""
    spaces, given, metric, mode, trials, searcher, concurrency = asked
    if _in_a_body():
        _check_place(stage, steering)
        shared = {"given": given, "stage": stage.path, "code": stage.spec.fingerprint, "metric": metric}
        return search(named_trial(stage), spaces, shared, metric, mode, trials, searcher, concurrency)
    trace = tracing()
    if trace is None or steering == Steering(None, False):
        return _plain(stage, metric, name)(*asked)
    trial = trial_stage(stage, metric)
    trace.learn(trial)  # its code is called by Tune, not by a step
    return _steered(stage, trial, name)(*asked, steering)


def _plain(stage: Stage[..., Any], metric: str, name: str) -> Stage[..., Any]:
    """The ``@dynamic`` step of a plain sweep; its code holds the stage."""
    trial = trial_stage(stage, metric)

    def run_sweep(
        over: dict[str, Space],
        given: dict[str, Any],
        metric: str,
        mode: Mode,
        trials: int,
        searcher: SearcherName,
        concurrency: int,
    ) -> Best[Any]:
        return search(trial, over, {"given": given}, metric, mode, trials, searcher, concurrency)

    belongs_to(run_sweep, stage, "sweep")
    run_sweep.__annotations__ = {"return": Best[stage.returns]}  # type: ignore[name-defined]
    return Stage(run_sweep, "dynamic", {"name": name})


def _steered(stage: Stage[..., Any], trial: Stage[..., Any], name: str) -> Stage[..., Any]:
    """The step of a sweep that Ray Tune runs."""

    def run_sweep(
        over: dict[str, Space],
        given: dict[str, Any],
        metric: str,
        mode: Mode,
        trials: int,
        searcher: SearcherName,
        concurrency: int,
        steering: Steering,
    ) -> Best[Any]:
        return steer(trial, over, given, metric, mode, trials, searcher, concurrency, steering)

    belongs_to(run_sweep, stage, "sweep")
    run_sweep.__annotations__ = {"return": Best[stage.returns]}  # type: ignore[name-defined]
    return Stage(run_sweep, "stage", {"name": name, "uses": "tune"})


def _scheduler(asked: str | Scheduler | None) -> Scheduler | None:
    if asked is None or isinstance(asked, Asha | Pbt):
        return asked
    if asked not in _SCHEDULERS:
        known = ", ".join(map(repr, _SCHEDULERS))
        raise refusal(InvalidStage, f"sweep(scheduler={asked!r}): write {known}, or an Asha(…) or Pbt(…)")
    return _SCHEDULERS[asked]()


def _check_stage(stage: Any, mode: str) -> None:
    if not isinstance(stage, Stage) or stage.kind != "stage":
        raise refusal(InvalidStage, f"sweep({stage!r}, …): only a @stage can be swept")
    if stage.policy.streaming:
        raise refusal(InvalidStage, f"sweep({stage.name}, …): it yields a stream; a trial returns one value")
    if mode not in ("max", "min"):
        raise refusal(InvalidStage, f"sweep(mode={mode!r}): write 'max' or 'min'")


def _in_a_body() -> bool:
    """True in the body of a ``@dynamic`` step, whose calls are steps of the run."""
    context = current()
    return tracing() is None and context is not None and not isinstance(context.caller, LocalCaller | None)


def _check_place(stage: Stage[..., Any], steering: Steering) -> None:
    """Refuse what a body cannot have: the code of the run was packed before it began."""
    if steering != Steering(None, False):
        why = "scheduler= and checkpoint= make it a step of Ray Tune, which the pipeline has to know of"
    elif not stage.importable:
        why = f"its trials find the stage by its name, and {stage.path} cannot be imported; move it to a module"
    else:
        return
    raise refusal(
        InvalidStage, f"sweep({stage.name}, …) in the body of a @dynamic step: {why}. Or call the sweep in the pipeline"
    )


def _check_arguments(stage: Stage[..., Any], spaces: Mapping[str, Space], given: Mapping[str, Any]) -> None:
    """Refuse what the stage could not be called with: names, missing arguments, types of the values to try."""
    if contains_secret(given):
        raise refusal(InvalidStage, "sweep(fixed=…) holds a Secret; make it the default of the stage's parameter")
    whole = [name for name in spaces if "." not in name]
    for name in whole:
        if name in given:
            raise refusal(InvalidStage, f"sweep: {name!r} is both in over= and in fixed=")
    heads = {name.partition(".")[0] for name in spaces if "." in name}
    for name in heads & set(whole):
        raise refusal(InvalidStage, f"sweep: over= has {name!r} and fields of it")
    bind(stage.name, stage.parameters, (), {**dict.fromkeys((*whole, *heads)), **given})
    for name in spaces:
        if "." in name:
            check_dotted(stage, name)
    tried = ((name, value) for name in whole for value in _few(spaces[name]))
    for argument, value in itertools.chain(given.items(), tried):
        parameter = argument if argument in stage.signature.parameters else stage.variadic[1]
        check_argument(stage, argument, parameter, value, {})


def _few(space: Space) -> tuple[Any, ...]:
    """Values of a space that show its types."""
    if isinstance(space, Choice):
        return space.values
    return (int(space.low),) if space.whole else (float(space.low),)


def _count(spaces: Mapping[str, Space], trials: int | None, searcher: str) -> int:
    if trials is not None:
        _check_whole("trials", trials, 1)
        return trials
    ranges = [name for name, space in spaces.items() if isinstance(space, Range)]
    if searcher != "grid" or ranges:
        why = f"over[{ranges[0]!r}] is a range" if ranges else f"searcher={searcher!r} goes on without end"
        raise refusal(InvalidStage, f"sweep: {why}; say how many trials=")
    return size(spaces)


def _check_whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise refusal(InvalidStage, f"sweep({name}={value!r}): a whole number, {least} or more")
