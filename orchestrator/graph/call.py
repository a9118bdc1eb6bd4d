"""One call of a stage, plain or mapped: arguments by name, checked against the stage's annotations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.errors import MapError, WrongType
from orchestrator.graph.annotation import Stream, describe, item_type
from orchestrator.graph.binding import Bound, bind
from orchestrator.graph.item import Each, Fixed
from orchestrator.graph.placeholder import Placeholder
from orchestrator.graph.source import refusal
from orchestrator.graph.wiring import Bindings, mismatch, output_type

if TYPE_CHECKING:
    from orchestrator.graph.stage import Stage


_MARKS = (Each, Fixed)


class BoundCall(NamedTuple):
    """Arguments of a call as a node has them.

    Attributes:
        args: Values (placeholders allowed) by parameter, variadic ones under ``*`` and ``**`` or, in a map, one by one.
        mapped: Names among them that are taken item by item.
        output: Type of the result.
        width: Number of items of a map, where it is known.
    """

    args: dict[str, Any]
    mapped: tuple[str, ...]
    output: Any
    width: int | None


def bind_call(stage: Stage[Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], mapped: bool) -> BoundCall:
    """Match and check a call.

    Raises:
        UnknownArgument, MissingArgument, WrongType, MapError: the call does not fit the stage.
    """
    if mapped:
        return _bind_map(stage, args, kwargs)
    for value in (*args, *kwargs.values()):
        if isinstance(value, _MARKS):
            raise refusal(MapError, f"{type(value).__name__.lower()}(…) belongs into {stage.name}.map(…)")
    bound = bind(stage.name, stage.parameters, args, kwargs)
    values = dict(bound.named)
    bindings: Bindings = {}
    for name, value in values.items():
        check_argument(stage, name, name, value, bindings)
    _check_extra(stage, bound, bindings)
    if bound.extra:
        values["*"] = bound.extra
    if bound.extra_named:
        values["**"] = dict(bound.extra_named)
    _add_default_secrets(stage, values)
    output = output_type(stage.returns, bindings)
    if stage.policy.streaming:
        output = Stream[output]  # type: ignore[valid-type]
    return BoundCall(values, (), output, None)


def _bind_map(stage: Stage[Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> BoundCall:
    if stage.policy.publish:
        name = stage.policy.publish
        raise refusal(MapError, f"{stage.name} publishes {name!r}, which a map would do once for each item; publish a "
                                "stage that takes the whole list")  # fmt: skip
    if stage.policy.streaming:
        raise refusal(MapError, f"{stage.name} yields a stream, which cannot be mapped; return a list instead")
    spread = tuple(value if isinstance(value, Fixed) else Each(_unwrapped(value)) for value in args)
    bound = bind(stage.name, stage.parameters, spread, kwargs)
    values = dict(bound.named)
    values.update({f"*{position}": value for position, value in enumerate(bound.extra)})
    values.update({f"**{name}": value for name, value in (bound.extra_named or {}).items()})
    bindings: Bindings = {}
    widths: dict[str, int] = {}
    mapped: list[str] = []
    for name, value in values.items():
        parameter = _parameter(stage, name)
        shown = f"**{parameter}" if name.startswith("**") else name
        if isinstance(value, Each):
            items = values[name] = _items(stage, shown, value.values)
            mapped.append(name)
            width = len(items) if isinstance(items, list) else items._orc_origin.width
            if width is not None:
                widths[shown] = width
            _check_items(stage, shown, parameter, items, bindings)
        else:
            values[name] = _unwrapped(value)
            check_argument(stage, shown, parameter, values[name], bindings)
    if not mapped:
        raise refusal(MapError, f"{stage.name}.map(…) has nothing to go over; give it a list, or call {stage.name}(…)")
    if len(set(widths.values())) > 1:
        told = ", ".join(f"{name} has {width}" for name, width in widths.items())
        raise refusal(MapError, f"{stage.name}.map(…): its iterables differ in length: {told}")
    _add_default_secrets(stage, values)
    output = Any if stage.policy.on_item_error == "keep" else output_type(stage.returns, bindings)
    return BoundCall(values, tuple(mapped), list[output], next(iter(widths.values()), None))  # type: ignore[valid-type]


def _unwrapped(value: Any) -> Any:
    if isinstance(value, Each):
        return value.values
    return value.value if isinstance(value, Fixed) else value


def _parameter(stage: Stage[Any, Any], name: str) -> str:
    if not name.startswith("*"):
        return name
    return stage.variadic[1] if name.startswith("**") else stage.variadic[0]


def _items(stage: Stage[Any, Any], name: str, values: Any) -> Any:
    if isinstance(values, Placeholder):
        return values
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        found = type(values).__name__
        raise refusal(MapError, f"{stage.name}.map(…): {name} is a {found}, not a list; use fixed(…) to give it whole")
    return list(values)


def _check_items(stage: Stage[Any, Any], shown: str, parameter: str, items: Any, bindings: Bindings) -> None:
    target = stage.hints.get(parameter, Any)
    if isinstance(items, Placeholder):
        source = items._orc_origin.type
        found = item_type(source)
        if found is None:
            raise refusal(
                WrongType,
                f"{stage.name}.map(…): {shown} is a {describe(source)}, and only lists and tuples can be mapped over",
            )
        items = Placeholder(_one_of(items, found))
        why = mismatch(items, target, bindings)
    else:
        why = mismatch(items, list[target], bindings)  # type: ignore[valid-type]
    if why is not None:
        raise refusal(WrongType, f"{stage.name}.map(…): an item of {shown} is to be a {describe(target)}, but {why}")


def _one_of(items: Placeholder, annotation: Any) -> Any:
    origin = items._orc_origin
    return type(origin)(origin.trace, origin.ref, annotation)


def check_argument(stage: Any, shown: str, parameter: str, value: Any, bindings: Bindings) -> None:
    """Refuse a value that does not fit the parameter of a stage or pipeline."""
    target = stage.hints.get(parameter, Any)
    if target is Any or (type(value) is Placeholder and value._orc_origin.type is target and isinstance(target, type)):
        return
    why = mismatch(value, target, bindings)
    if why is not None:
        raise refusal(WrongType, f"{stage.name}: {shown} is to be a {describe(target)}, but {why}")


def _check_extra(stage: Any, bound: Bound, bindings: Bindings) -> None:
    for position, value in enumerate(bound.extra):
        check_argument(stage, f"*{position}", stage.variadic[0], value, bindings)
    for name, value in (bound.extra_named or {}).items():
        check_argument(stage, f"**{name}", stage.variadic[1], value, bindings)


def _add_default_secrets(stage: Stage[Any, Any], values: dict[str, Any]) -> None:
    """A Secret that is a parameter's default has to be resolved too, so it becomes an argument."""
    for name, secret in stage.default_secrets.items():
        values.setdefault(name, secret)
