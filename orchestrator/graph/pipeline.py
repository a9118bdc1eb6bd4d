"""Pipelines: compositions of stages, traced into a graph for given parameters, or called as functions."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, ParamSpec, Protocol, TypeVar, cast, overload

from orchestrator.errors import DefinitionError, InvalidPipeline, WrongType
from orchestrator.graph.annotation import describe, enclosing_names, hints
from orchestrator.graph.binding import Bound, Parameters, bind
from orchestrator.graph.call import check_argument
from orchestrator.graph.context import active, current, local_context
from orchestrator.graph.display import Shown
from orchestrator.graph.local import LocalCaller
from orchestrator.graph.node import Graph, Source
from orchestrator.graph.options import check_name
from orchestrator.graph.source import refusal
from orchestrator.graph.stage import Stage
from orchestrator.graph.trace import Traced, trace_graph, tracing
from orchestrator.graph.trigger import Declared, check_concurrency, check_triggers
from orchestrator.graph.wiring import Bindings, mismatch

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is to be made; everything that is not a parameter of the pipeline.

    Attributes:
        on: ``local`` or ``ray``; None lets the settings and the graph decide.
        tags: Kept with the run.
        key: What the run is for, if it may only be made once: a second start with the key is handed the same run.
    """

    on: Literal["local", "ray"] | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None


class Runner(Protocol):
    """Makes runs; the package root hands one to ``Pipeline``."""

    def run(self, pipeline: Pipeline[Any, Any], params: Mapping[str, Any], options: RunOptions) -> Any:
        """Start a run, wait for its end and return it; raises RunFailed or RunCancelled."""
        ...

    def start(self, pipeline: Pipeline[Any, Any], params: Mapping[str, Any], options: RunOptions) -> Any:
        """Start a run and return it at once."""
        ...

    def submit(self, pipeline: Pipeline[Any, Any], params: Mapping[str, Any], options: RunOptions) -> Any:
        """Bring a run to the cluster and return it; it goes on without this process."""
        ...

    def plan(self, pipeline: Pipeline[Any, Any], params: Mapping[str, Any], options: RunOptions) -> Any:
        """Say what a run would do and why, without doing it."""
        ...


class Pipeline(Shown, Generic[P, R]):
    """A composition of stages. Made by ``@pipeline``; immutable.

    Attributes:
        function: The author's function.
        name: Name of its runs, and of its scope where another pipeline calls it.
        run_options: Set by ``options``.
        on: Triggers that make it run by itself, as long as ``orc up`` lives.
        concurrency: How many runs that triggers made may go on at once; None for any number.
    """

    make_runner: ClassVar[staticmethod[[], Runner]]

    def __init__(
        self, function: Callable[P, R], name: str = "", run_options: RunOptions | None = None,
        local_names: Mapping[str, Any] | None = None, on: Sequence[Declared] = (), concurrency: int | None = None,
    ) -> None:  # fmt: skip
        own_name = getattr(function, "__name__", type(function).__name__).strip("<>")
        _check_function(function, own_name)
        try:
            self.name = check_name(name or own_name)
        except DefinitionError as error:
            raise refusal(InvalidPipeline, error.message) from None
        self.function = function
        self.signature = inspect.signature(function)
        self.run_options = run_options or RunOptions()
        self._local_names = dict(local_names or {})
        self.on = check_triggers(self.name, on)
        self.concurrency = check_concurrency(self.name, concurrency)
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the pipeline: part of the graph inside another pipeline, else run eagerly in this process."""
        trace = tracing()
        if trace is not None:
            named = self._bind(args, kwargs, defaults=False)
            with trace.inside(trace.unique(self.name)):
                return self._body(named)
        context = current()
        if context is not None and context.caller is not None:
            return self.function(*args, **kwargs)
        with active(local_context(self.name, caller=LocalCaller(self.name))):
            return self.function(*args, **kwargs)

    def graph(self, *args: P.args, **kwargs: P.kwargs) -> Graph:
        """The graph for these parameters; nothing runs.

        Raises:
            DefinitionError: the wiring is wrong; says where in the pipeline.
        """
        return self.trace(*args, **kwargs).graph

    def trace(self, *args: P.args, **kwargs: P.kwargs) -> Traced:
        """The graph for these parameters with the stages it calls, from which a capsule is made."""
        bound = self._bind(args, kwargs, defaults=True)
        params: dict[str, Any] = dict(bound.named)
        if bound.extra:
            params["*"] = list(bound.extra)
        params.update(bound.extra_named or {})
        code = getattr(inspect.unwrap(self.function), "__code__", None)
        source = Source(code.co_filename, code.co_firstlineno) if code else None
        return trace_graph(self.name, lambda: self._body(bound), params, self._check_output, source)

    def plan(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """What a run would do and why, without doing it or starting Ray."""
        return self.make_runner().plan(self, self._params(args, kwargs), self.run_options)

    def run(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Make a run and wait for its end.

        Raises:
            DefinitionError: the wiring is wrong; nothing was run.
            RunFailed, RunCancelled: the run ended without a result.
        """
        return self.make_runner().run(self, self._params(args, kwargs), self.run_options)

    def start(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Make a run and return it while it goes on.

        Raises:
            DefinitionError: the wiring is wrong; nothing was run.
        """
        return self.make_runner().start(self, self._params(args, kwargs), self.run_options)

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Make a run on the cluster of ``ORC_RAY_ADDRESS`` and return it; it goes on without this process.

        Raises:
            DefinitionError: the wiring is wrong; nothing was sent.
            ConfigError: there is no cluster, or it does not see the stores; says what to do.
            BackendError: the cluster does not answer, or has other versions.
        """
        return self.make_runner().submit(self, self._params(args, kwargs), self.run_options)

    def options(
        self,
        *,
        on: Literal["local", "ray"] | None = None,
        tags: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> Pipeline[P, R]:
        """The same pipeline with other settings for its runs: ``churn.options(on="local").run()``.

        Args:
            key: One key, one run: whoever starts with a key that has a run is handed that run, whatever became of it.
        """
        if key is not None and not (key and key.isprintable()):
            raise refusal(InvalidPipeline, f"pipeline {self.name!r}: key={key!r}; write printable characters")
        if on not in (None, "local", "ray"):
            raise refusal(InvalidPipeline, f"pipeline {self.name!r}: on={on!r}; write 'local' or 'ray'")
        merged = {**self.run_options.tags, **{str(key): str(value) for key, value in (tags or {}).items()}}
        options = RunOptions(on or self.run_options.on, merged, key or self.run_options.key)
        return Pipeline(self.function, self.name, options, self._local_names, self.on, self.concurrency)

    @functools.cached_property
    def parameters(self) -> Parameters:
        """The signature, as calls are matched against it."""
        return Parameters(self.signature)

    @functools.cached_property
    def hints(self) -> dict[str, Any]:
        """Types of the parameters by name, and of the result under ``return``."""
        return hints(self.function, self._local_names)

    @functools.cached_property
    def variadic(self) -> tuple[str, str]:
        """Names of the ``*`` and ``**`` parameters; empty if there are none."""
        found = {parameter.kind: name for name, parameter in self.signature.parameters.items()}
        kind = inspect.Parameter
        return found.get(kind.VAR_POSITIONAL, ""), found.get(kind.VAR_KEYWORD, "")

    def _params(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters by name, as ``Runner`` takes them (variadic positional ones are not possible there)."""
        bound = self._bind(args, kwargs, defaults=False)
        if bound.extra:
            raise refusal(InvalidPipeline, f"pipeline {self.name!r}: a run cannot take *{self.variadic[0]}; name them")
        return {**bound.named, **(bound.extra_named or {})}

    def _bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, defaults: bool) -> Bound:
        bound = bind(f"pipeline {self.name}", self.parameters, args, kwargs)
        bindings: Bindings = {}
        for name, value in bound.named.items():
            check_argument(self, name, name, value, bindings)
        for value in bound.extra:
            check_argument(self, f"*{self.variadic[0]}", self.variadic[0], value, bindings)
        for name, value in (bound.extra_named or {}).items():
            check_argument(self, f"**{name}", self.variadic[1], value, bindings)
        if not defaults:
            return bound
        parameters = self.signature.parameters
        given = {name: bound.named.get(name, p.default) for name, p in parameters.items() if name not in self.variadic}
        return Bound(given, bound.extra, bound.extra_named)

    def _body(self, bound: Bound) -> R:
        arguments = inspect.BoundArguments(self.signature, dict(bound.named))
        if bound.extra:
            arguments.arguments[self.variadic[0]] = bound.extra
        if bound.extra_named:
            arguments.arguments[self.variadic[1]] = dict(bound.extra_named)
        return self.function(*arguments.args, **arguments.kwargs)

    def _check_output(self, output: Any) -> None:
        target = self.hints.get("return", Any)
        why = mismatch(output, target, {})
        if why is not None:
            code = getattr(inspect.unwrap(self.function), "__code__", None)
            where = {"file": code.co_filename, "line": code.co_firstlineno} if code else {}
            raise WrongType(f"pipeline {self.name!r} is to return a {describe(target)}, but {why}", **where)

    def __repr__(self) -> str:
        return f"<pipeline {self.name}({', '.join(self.signature.parameters)})>"


def _check_function(function: Any, name: str) -> None:
    if isinstance(function, Stage | Pipeline) or not callable(function):
        raise refusal(InvalidPipeline, f"{function!r} is no plain function, so it cannot be made a pipeline")
    body = inspect.unwrap(function)
    if inspect.iscoroutinefunction(body) or inspect.isgeneratorfunction(body) or inspect.isasyncgenfunction(body):
        raise refusal(InvalidPipeline, f"pipeline {name!r} is async or yields; it has to be an ordinary function")


class PipelineDecorator(Protocol):
    """What ``@pipeline(...)`` with options returns."""

    def __call__(self, function: Callable[P, R], /) -> Pipeline[P, R]:
        """Make the function a pipeline."""
        ...


@overload
def pipeline(
    function: Callable[P, R], /, *, name: str = "", on: Sequence[Declared] = (), concurrency: int | None = None
) -> Pipeline[P, R]: ...
@overload
def pipeline(*, name: str = "", on: Sequence[Declared] = (), concurrency: int | None = None) -> PipelineDecorator: ...
def pipeline(
    function: Any = None, /, *, name: str = "", on: Sequence[Declared] = (), concurrency: int | None = None
) -> Any:
    """Declare a function to be a pipeline: bare, with options, or as a call ``pipeline(f)``.

    Its parameters are real values while it is traced; the results of stages are placeholders.

    Args:
        name: Name of its runs in place of the function's.
        on: Triggers of ``orchestrator.triggers``: what makes ``orc up`` run it.
        concurrency: How many runs that triggers made may go on at once; others wait in order.

    Raises:
        InvalidPipeline: the function cannot be one.
    """
    if function is None:

        def decorator(decorated: Callable[..., Any], /) -> Pipeline[..., Any]:
            return Pipeline(decorated, name, None, enclosing_names(decorated, 2), on, concurrency)

        return cast(PipelineDecorator, decorator)
    return Pipeline(function, name, None, enclosing_names(function, 2), on, concurrency)
