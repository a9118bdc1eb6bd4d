"""Stages: functions with declared needs, written with ``@stage`` and ``@dynamic``.

A stage is called like its function. What a call does depends on where it happens: while a pipeline is traced it
becomes a node of the graph, in the body of a ``@dynamic`` step a durable step, and anywhere else it is the
function itself.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Generic, Literal, ParamSpec, Protocol, SupportsIndex, TypeVar, Unpack, cast, overload

from orchestrator.errors import DefinitionError, InvalidStage
from orchestrator.graph import local
from orchestrator.graph.annotation import describe, enclosing_names, hints, is_file, yielded_type
from orchestrator.graph.binding import Parameters
from orchestrator.graph.context import current
from orchestrator.graph.division import call_on_parts, check_division, divided_hints, goes_part_by_part
from orchestrator.graph.fingerprint import fingerprint, reads_key, values_fingerprint
from orchestrator.graph.node import StageSpec
from orchestrator.graph.options import (
    DYNAMIC_OPTIONS,
    MISSING,
    STAGE_OPTIONS,
    Retry,
    StageOptions,
    check_name,
    check_options,
    read_policy,
)
from orchestrator.graph.policy import OnItemError, Policy
from orchestrator.graph.quality import Check, described, read_checks
from orchestrator.graph.secret import Secret
from orchestrator.graph.source import located, refusal
from orchestrator.graph.trace import tracing
from orchestrator.graph.wiring import mismatch
from orchestrator.types import Duration

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", contravariant=True)
M = TypeVar("M")

_PLAIN = Policy()


class Stage(Generic[P, R]):
    """A function with declared needs. Made by ``@stage`` or ``@dynamic``; immutable.

    Attributes:
        function: The author's function.
        name: Name of its steps; ``own_name`` that of the stage, whatever ``options`` say.
        kind: ``stage`` or ``dynamic``.
        policy: Its needs, in seconds and bytes.
        fallback: Value that replaces a failure, or ``MISSING``.
        checks: What is checked about its output.
        merge: Makes one result of those of the parts of a table; None if there is nothing to merge.
        divided: Makes the callable that divides the table of a plain call; set by the package root.
        signature: Of the function.
        hints: Types of its parameters by name; ``Any`` for what cannot be evaluated.
        returns: Type of its output; of one batch for a streaming stage.
    """

    divided: ClassVar[Callable[[Stage[Any, Any]], Callable[..., Any]]]

    def __init__(
        self,
        function: Callable[P, R],
        kind: Literal["stage", "dynamic"],
        options: Mapping[str, Any],
        base: Policy = _PLAIN,
        *,
        fallback: Any = MISSING,
        name: str = "",
        own_name: str = "",
        checks: tuple[Check, ...] = (),
        merge: Stage[Any, Any] | None = None,
        local_names: Mapping[str, Any] | None = None,
    ) -> None:
        given_name = getattr(function, "__name__", type(function).__name__).strip("<>")
        allowed = STAGE_OPTIONS if kind == "stage" else DYNAMIC_OPTIONS
        try:
            check_options(kind, name or given_name, options, allowed)
            self.name = check_name(options.get("name", name or given_name))
            self.policy = read_policy(self.name, base, options)
            self.checks = read_checks(self.name, options["checks"]) if "checks" in options else checks
            self.merge = _merge(self.name, options["merge"]) if "merge" in options else merge
            self.signature = _signature(function, self.name)
            _check_function(function, self.name, kind, self.policy.streaming)
            check_division(self)
        except DefinitionError as error:
            raise located(error) from None
        self.own_name = own_name or self.name
        self.function = function
        self.kind: Literal["stage", "dynamic"] = kind
        self.fallback = options.get("fallback", fallback)
        self._local_names = dict(local_names or {})
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the stage: a node while tracing, a durable step in a ``@dynamic`` body, else the function itself."""
        return cast(R, self._go(args, kwargs, mapped=False))

    def map(self, *iterables: Any, **broadcast: Any) -> list[R]:
        """One step per item: positional arguments are zipped (all of one length), keywords given whole to each.

        ``each(xs)`` and ``fixed(x)`` say otherwise for one argument. The result is the list of outputs in order.

        Raises:
            MapError: the iterables differ in length, or there is none.
        """
        return cast("list[R]", self._go(iterables, broadcast, mapped=True))

    def options(self, **options: Unpack[StageOptions]) -> Stage[P, R]:
        """The same stage with other options, for one call: ``train.options(num_gpus=0.5, name="big")(data)``."""
        return Stage(
            self.function,
            self.kind,
            options,
            self.policy,
            fallback=self.fallback,
            name=self.name,
            own_name=self.own_name,
            checks=self.checks,
            merge=self.merge,
            local_names=self._local_names,
        )

    def _go(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], mapped: bool) -> Any:
        trace, context = tracing(), current()
        caller = context.caller if trace is None and context is not None else None
        if trace is None and caller is None:
            return local.map_plain(self, args, kwargs) if mapped else local.call_plain(self, args, kwargs)
        if self.policy.scope and not mapped and goes_part_by_part(self, args, kwargs):
            return call_on_parts(self, args, kwargs)
        if trace is not None:
            return trace.call(self, args, kwargs, mapped)
        assert caller is not None
        return caller.call(self, args, kwargs, mapped)

    @functools.cached_property
    def parameters(self) -> Parameters:
        """The signature, as calls are matched against it."""
        return Parameters(self.signature)

    @functools.cached_property
    def default_secrets(self) -> dict[str, Secret]:
        """Parameters whose default is a Secret."""
        found = {name: parameter.default for name, parameter in self.signature.parameters.items()}
        return {name: default for name, default in found.items() if isinstance(default, Secret)}

    @functools.cached_property
    def hints(self) -> dict[str, Any]:
        """Types of the parameters by name, and of the result under ``return``."""
        found = hints(self.function, self._local_names)
        return divided_hints(self, found) if self.policy.scope else found

    @functools.cached_property
    def returns(self) -> Any:
        """Type of the output; of one batch for a streaming stage."""
        if self.merge is not None:
            return self.merge.returns
        annotation = self.hints.get("return", Any)
        if not self.policy.streaming:
            return annotation
        batch = yielded_type(annotation)
        if batch is None:
            raise refusal(
                InvalidStage,
                f"stage {self.name!r} is streaming, so it returns an Iterator[…], not a {describe(annotation)}",
            )
        return batch

    @functools.cached_property
    def variadic(self) -> tuple[str, str]:
        """Names of the ``*`` and ``**`` parameters; empty if there are none."""
        found = {parameter.kind: name for name, parameter in self.signature.parameters.items()}
        kind = inspect.Parameter
        return found.get(kind.VAR_POSITIONAL, ""), found.get(kind.VAR_KEYWORD, "")

    @functools.cached_property
    def spec(self) -> StageSpec:
        """The stage as plain data, as nodes carry it; each tracing makes it anew."""
        return self.describe(fingerprint(self.function))

    def describe(self, digest: str) -> StageSpec:
        """The stage as plain data, with this fingerprint of its code, kept as ``spec``.

        Raises:
            InvalidStage: the fallback does not fit the function's result.
        """
        if self.policy.has_fallback and (why := mismatch(self.fallback, self.returns, {})) is not None:
            raise refusal(InvalidStage, f"stage {self.name!r}: fallback= does not fit what it returns: {why}")
        parameters = tuple(self.signature.parameters)
        spec = StageSpec(
            name=self.own_name,
            ref=self.path if self.importable else f"{self.path}#{digest[:16]}",
            fingerprint=self._with_values(digest),
            policy=replace(self.policy, reads_key=True) if reads_key(self.function) else self.policy,
            files=tuple(name for name in parameters if is_file(self.hints.get(name))),
            parameters=parameters,
            types={name: describe(self.hints[name]) for name in parameters if name in self.hints},
            returns=describe(self.returns if self.merge is not None else self.hints.get("return", Any)),
            doc=(inspect.getdoc(self.function) or "").partition("\n")[0],
            checks=tuple(map(described, self.checks)),
            merge=self.merge.spec.ref if self.merge is not None else "",
        )
        self.__dict__["spec"] = spec
        return spec

    def _with_values(self, digest: str) -> str:
        """The fingerprint with what counts beside the function's code."""
        if self.policy.scope:
            merge = self.merge.spec.fingerprint if self.merge is not None else ""
            return values_fingerprint(digest, self.function, (self.checks, self.policy.scope, self.policy.by, merge))
        return values_fingerprint(digest, self.function, self.checks) if self.checks else digest

    @property
    def path(self) -> str:
        """``module:qualname`` of the function."""
        return f"{_text(self.function, '__module__')}:{_text(self.function, '__qualname__')}"

    @property
    def importable(self) -> bool:
        """True if importing its module, anywhere, gives this function; not so in ``__main__``, closures and lambdas."""
        module, _, qualname = self.path.partition(":")
        if module == "__main__":
            return False
        found: Any = sys.modules.get(module)
        for part in qualname.split("."):
            found = getattr(found, part, None)
        return found is self.function or (isinstance(found, Stage) and found.function is self.function)

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        if self.importable:
            found = resolve(self.path)
            checks = None if isinstance(found, Stage) and found.checks is self.checks else self.checks
            own = (self.path, self.kind, self.policy, self.fallback, self.name, self.own_name, checks)
            return _from_import, own if self.merge is None else (*own, self.merge)
        return super().__reduce_ex__(protocol)

    def __getstate__(self) -> dict[str, Any]:
        spec = self.spec  # made here, where there is source: the worker has to come to the same reference
        dropped = ("hints", "returns", "variadic", "signature", "parameters", "default_secrets")
        return {**{name: value for name, value in vars(self).items() if name not in dropped}, "spec": spec}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.signature = _signature(self.function, self.name)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}{describe_signature(self.signature)}>"


def _from_import(
    path: str,
    kind: Literal["stage", "dynamic"],
    policy: Policy,
    fallback: Any,
    name: str,
    own_name: str,
    checks: tuple[Check, ...] | None = None,
    merge: Stage[Any, Any] | None = None,
) -> Any:
    """The stage at ``path``; ``checks`` is None for those that it has there."""
    found = resolve(path)
    if isinstance(found, Stage):
        own = checks is None
        if own and fallback is MISSING and (found.name, found.policy, found.kind) == (name, policy, kind):
            return found
        checks = found.checks if checks is None else checks
        found = found.function
    return Stage(
        found, kind, {}, policy, fallback=fallback, name=name, own_name=own_name, checks=checks or (), merge=merge
    )


def resolve(path: str) -> Any:
    """Import the object at ``module:qualname``; raises ImportError or AttributeError."""
    module, _, qualname = path.partition(":")
    __import__(module)
    found: Any = sys.modules[module]
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def _merge(name: str, given: Any) -> Stage[Any, Any]:
    """The function that merges, as a stage: its code travels with the run like any other's."""
    if isinstance(given, Stage):
        given = given.function
    if not callable(given):
        raise InvalidStage(f"stage {name!r}: merge={given!r} is no function of a list of results")
    return Stage(given, "stage", {"name": f"{name}.merge"})


def _text(function: Any, attribute: str) -> str:
    return str(getattr(function, attribute, None) or getattr(type(function), attribute))


def describe_signature(signature: inspect.Signature) -> str:
    """Parameter names of a signature, for people."""
    return f"({', '.join(signature.parameters)})"


def _signature(function: Callable[..., Any], name: str) -> inspect.Signature:
    if not callable(function):
        raise InvalidStage(f"{function!r} is no function, so it cannot be a stage")
    try:
        return inspect.signature(function)
    except (ValueError, TypeError):
        raise InvalidStage(f"{name!r} does not tell its parameters; wrap it in a function of yours") from None


def _check_function(function: Callable[..., Any], name: str, kind: str, streaming: bool) -> None:
    body = inspect.unwrap(function)
    if inspect.iscoroutinefunction(body) or inspect.isasyncgenfunction(body):
        raise InvalidStage(f"{name!r} is async; a stage is an ordinary function (use asyncio.run(…) in its body)")
    if inspect.isgeneratorfunction(body) and not streaming:
        why = "say streaming=True, or return a list" if kind == "stage" else "a @dynamic function returns its value"
        raise InvalidStage(f"{name!r} yields, so it has no value to keep; {why}")


class StageDecorator(Protocol):
    """What ``@stage(...)`` with options returns."""

    def __call__(self, function: Callable[P, R], /) -> Stage[P, R]:
        """Make the function a stage."""
        ...


class MergeDecorator(Protocol[S, M]):
    """What ``@stage(merge=...)`` returns."""

    def __call__(self, function: Callable[P, S], /) -> Stage[P, M]:
        """Make the function a stage that comes to what ``merge`` makes."""
        ...


@overload
def stage(function: Callable[P, R], /, **options: Unpack[StageOptions]) -> Stage[P, R]: ...
@overload
def stage(**options: Unpack[StageOptions]) -> StageDecorator: ...
@overload
def stage(*, merge: Callable[[list[S]], M], **options: Unpack[StageOptions]) -> MergeDecorator[S, M]: ...
def stage(function: Any = None, /, **options: Any) -> Any:
    """Declare a function to be a stage: bare, with options, or as a call ``stage(f, retries=3)``.

    See ``StageOptions`` for the options. ``merge=`` goes with ``scope=``: a function that makes one result of what the
    calls on the parts of a table returned, a list in order. Durations are ``"10ms" "1s" "5m" "2h" "30d"`` or seconds,
    sizes ``"2GiB"`` or bytes.

    Raises:
        InvalidStage: the options contradict each other or the function.
        ImpossibleResources: no machine can give what is asked for.
    """
    return _decorate(function, "stage", options)


@overload
def dynamic(function: Callable[P, R], /) -> Stage[P, R]: ...
@overload
def dynamic(
    *,
    max_steps: int | None = None,
    name: str = ...,
    retries: int | Retry = ...,
    timeout: Duration | None = ...,
    fallback: Any = ...,
    on_item_error: OnItemError = ...,
) -> StageDecorator: ...
def dynamic(function: Any = None, /, **options: Any) -> Any:
    """Declare a function whose body is ordinary Python at run time, each stage called in it a durable step.

    The body is replayed when it resumes: it takes time and randomness from ``step()`` and has no effects of its own.

    Args:
        max_steps: Most calls it may make; None for no limit.

    Raises:
        InvalidStage: the options contradict each other or the function.
    """
    return _decorate(function, "dynamic", options)


def _decorate(function: Any, kind: Literal["stage", "dynamic"], options: Mapping[str, Any]) -> Any:
    if function is None:

        def decorator(decorated: Callable[..., Any], /) -> Stage[..., Any]:
            return _make(decorated, kind, options, enclosing_names(decorated, 2))

        return decorator
    return _make(function, kind, options, enclosing_names(function, 3))


def _make(function: Any, kind: Any, options: Mapping[str, Any], local_names: Mapping[str, Any]) -> Stage[..., Any]:
    if isinstance(function, Stage):
        raise refusal(InvalidStage, f"{function.name!r} is a {function.kind} already; use {function.name}.options(…)")
    return Stage(function, kind, options, local_names=local_names)
