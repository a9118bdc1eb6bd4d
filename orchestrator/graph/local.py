"""Stages as plain functions: calls outside of any run, and pipelines run eagerly in this process."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from orchestrator.errors import InvalidPipeline, MapError, StepLimitExceeded
from orchestrator.graph.context import StepContext, active, current, local_context
from orchestrator.graph.item import Each, Fixed, ItemError, Survivors
from orchestrator.graph.node import Node
from orchestrator.graph.secret import resolve_secrets
from orchestrator.graph.source import refusal
from orchestrator.graph.version import resolve_versions

if TYPE_CHECKING:
    from orchestrator.graph.stage import Stage

_ANSWERS: ContextVar[Mapping[str, Any]] = ContextVar("orchestrator_answers", default={})  # noqa: B039 - never changed


class LocalCaller:
    """Runs the calls of an eager pipeline or ``@dynamic`` body at once, in this process.

    Unlike a plain call, a failure is replaced by the stage's fallback, and a stream is taken whole as a list.
    """

    def __init__(self, name: str = "", max_steps: int | None = None) -> None:
        self._name = name
        self._max_steps = max_steps
        self._calls = 0

    def call(self, stage: Stage[Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], mapped: bool) -> Any:
        """See ``context.Caller``."""
        self._count()
        if mapped:
            return map_plain(stage, args, kwargs, or_fallback)
        output = or_fallback(stage, args, kwargs)
        return list(output) if stage.policy.streaming else output

    def wait(self, node: Node) -> Any:
        """The answer that ``answering`` has for this approval or signal."""
        self._count()
        answers = _ANSWERS.get()
        if node.prompt not in answers:
            raise refusal(
                InvalidPipeline,
                f"{node.kind} {node.prompt!r} waits, and a pipeline called as a function has nobody to ask; "
                f"use .run(), or in a test: with answering({{{node.prompt!r}: True}})",
            )
        return answers[node.prompt]

    def _count(self) -> None:
        self._calls += 1
        if self._max_steps is not None and self._calls > self._max_steps:
            raise StepLimitExceeded(f"{self._name!r} made more than {self._max_steps} calls, its max_steps")


@contextmanager
def answering(answers: Mapping[str, Any]) -> Iterator[None]:
    """Answer ``approve`` and ``signal`` by their text or name while a pipeline is called as a function."""
    token = _ANSWERS.set({**_ANSWERS.get(), **answers})
    try:
        yield
    finally:
        _ANSWERS.reset(token)


def call_plain(stage: Stage[Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Call a stage's function with a local step context; inside another stage's body, with that one's."""
    args = tuple(resolve_versions(resolve_secrets(value)) for value in args)
    named = {name: resolve_versions(resolve_secrets(value)) for name, value in kwargs.items()}
    named.update(_default_secrets(stage, args, named))
    function = type(stage).divided(stage) if stage.policy.scope else stage.function
    context = current()
    if context is not None and context.caller is None and stage.kind == "stage":
        return function(*args, **named)
    caller = LocalCaller(stage.name, stage.policy.max_steps) if stage.kind == "dynamic" else None
    context = local_context(stage.name, stage.policy.uses, caller)
    if inspect.isgeneratorfunction(inspect.unwrap(stage.function)):
        return _generate(stage.function(*args, **named), context)
    with active(context):
        return function(*args, **named)


def _generate(batches: Iterator[Any], context: StepContext) -> Iterator[Any]:
    """The batches of a streaming stage, each made under its step context."""
    end = object()
    try:
        while True:
            with active(context):
                batch = next(batches, end)
            if batch is end:
                return
            yield batch
    finally:
        batches.close()  # type: ignore[attr-defined]


def _default_secrets(stage: Stage[Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, str]:
    secrets = stage.default_secrets
    given = set(list(stage.signature.parameters)[: len(args)]) | kwargs.keys() if secrets else set()
    return {name: secret.resolve() for name, secret in secrets.items() if name not in given}


def or_fallback(stage: Stage[Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Output of a stage, or its fallback if it fails."""
    try:
        return call_plain(stage, args, kwargs)
    except Exception:
        if stage.policy.has_fallback:
            return stage.fallback
        raise


def map_plain(
    stage: Stage[Any, Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    call: Callable[[Stage[Any, Any], tuple[Any, ...], Mapping[str, Any]], Any] = call_plain,
) -> list[Any]:
    """Outputs of ``stage.map(*args, **kwargs)``, item after item.

    Raises:
        MapError: the iterables differ in length, or there is none.
    """
    spread = [value.value if isinstance(value, Fixed) else _Items(value) for value in args]
    named = {key: _Items(value.values) if isinstance(value, Each) else _whole(value) for key, value in kwargs.items()}
    mapped = [value for value in (*spread, *named.values()) if isinstance(value, _Items)]
    if not mapped:
        raise refusal(MapError, f"{stage.name}.map(…) has nothing to go over; give it a list, or call {stage.name}(…)")
    if len({items.width for items in mapped}) > 1:
        widths = ", ".join(str(items.width) for items in mapped)
        raise refusal(MapError, f"{stage.name}.map(…): its iterables differ in length: {widths}")
    if stage.policy.streaming:
        raise refusal(MapError, f"{stage.name} yields a stream, which cannot be mapped; return a list instead")
    width = mapped[0].width
    alive = [index for index in range(width) if all(index in items.at for items in mapped)]
    outputs: dict[int, Any] = {}
    for index in alive:
        item_args = tuple(_pick(value, index) for value in spread)
        item_kwargs = {key: _pick(value, index) for key, value in named.items()}
        try:
            outputs[index] = call(stage, item_args, item_kwargs)
        except Exception as error:
            if stage.policy.on_item_error == "fail":
                raise
            if stage.policy.on_item_error == "keep":
                outputs[index] = ItemError.of(error)
    if len(outputs) == width:
        return list(outputs.values())
    return Survivors(outputs.values(), tuple(outputs), width)


class _Items:
    """A list by index, with gaps where an earlier map dropped items."""

    def __init__(self, values: Any) -> None:
        values = values.values if isinstance(values, Each) else values
        if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__iter__"):
            raise refusal(MapError, f"a {type(values).__name__} cannot be mapped over; use fixed(…) to give it whole")
        items = values if isinstance(values, Survivors) else list(values)
        indexes = values.indexes if isinstance(values, Survivors) else range(len(items))
        self.at: dict[int, Any] = dict(zip(indexes, items, strict=True))
        self.width = values.width if isinstance(values, Survivors) else len(items)


def _whole(value: Any) -> Any:
    return value.value if isinstance(value, Fixed) else value


def _pick(value: Any, index: int) -> Any:
    return value.at[index] if isinstance(value, _Items) else value
