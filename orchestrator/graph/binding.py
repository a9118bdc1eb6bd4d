"""Arguments by name: from a call to a node, and in the worker from a node back to a call."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

from orchestrator.errors import MissingArgument, UnknownArgument
from orchestrator.graph.source import refusal

_KIND = inspect.Parameter


class Bound(NamedTuple):
    """Arguments of a call by parameter; variadic ones apart."""

    named: dict[str, Any]
    extra: tuple[Any, ...] = ()
    extra_named: Mapping[str, Any] | None = None


class Parameters:
    """What a call has to know of a signature, found out once."""

    def __init__(self, signature: inspect.Signature) -> None:
        every = self.every = list(signature.parameters.values())
        self.positional = [p for p in every if p.kind in (_KIND.POSITIONAL_ONLY, _KIND.POSITIONAL_OR_KEYWORD)]
        self.by_keyword = {p.name for p in every if p.kind in (_KIND.POSITIONAL_OR_KEYWORD, _KIND.KEYWORD_ONLY)}
        self.takes_more = any(p.kind is _KIND.VAR_POSITIONAL for p in every)
        self.takes_names = any(p.kind is _KIND.VAR_KEYWORD for p in every)
        self.names = tuple(p.name for p in every)
        self.is_plain = len(self.positional) == len(every)


def bind(what: str, parameters: Parameters, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Bound:
    """Match a call against a signature, as Python would; ``what`` names the callee in errors.

    Raises:
        UnknownArgument: too many arguments, one of an unknown name, or one given twice.
        MissingArgument: a parameter without default is left out.
    """
    if parameters.is_plain and not kwargs and len(args) == len(parameters.names):
        return Bound(dict(zip(parameters.names, args, strict=True)))
    positional, by_keyword = parameters.positional, parameters.by_keyword
    if len(args) > len(positional) and not parameters.takes_more:
        count = len(positional)
        raise refusal(UnknownArgument, f"{what} takes {count} positional argument{'s' * (count != 1)}, not {len(args)}")
    named = {p.name: value for p, value in zip(positional, args, strict=False)}
    extra_named: dict[str, Any] = {}
    for name, value in kwargs.items():
        if name in by_keyword:
            if name in named:
                raise refusal(UnknownArgument, f"{what} got {name!r} twice, by position and by name")
            named[name] = value
        elif parameters.takes_names:
            extra_named[name] = value
        else:
            close = difflib.get_close_matches(name, by_keyword, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(sorted(by_keyword)) or 'none'}"
            raise refusal(UnknownArgument, f"{what} has no parameter {name!r}; {hint}")
    variadic = (_KIND.VAR_POSITIONAL, _KIND.VAR_KEYWORD)
    missing = [
        p.name for p in parameters.every if p.kind not in variadic and p.default is p.empty and p.name not in named
    ]
    if missing:
        raise refusal(MissingArgument, f"{what} needs {', '.join(map(repr, missing))}")
    ordered = {name: named[name] for name in parameters.names if name in named}
    return Bound(ordered, args[len(positional) :], extra_named)


def call_arguments(signature: inspect.Signature, values: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments of the call that a node's ``args`` describe, given their values.

    ``values`` has a key per parameter; variadic ones are under ``*`` and ``**``, or in a map one by one under ``*0``,
    ``*1``, … and ``**name``.
    """
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    extra = [*values.get("*", ())]
    position = 0
    while f"*{position}" in values:
        extra.append(values[f"*{position}"])
        position += 1
    for name, parameter in signature.parameters.items():
        if parameter.kind in (_KIND.VAR_POSITIONAL, _KIND.VAR_KEYWORD):
            continue
        if name not in values:
            continue
        if parameter.kind is _KIND.POSITIONAL_ONLY or (extra and parameter.kind is _KIND.POSITIONAL_OR_KEYWORD):
            args.append(values[name])
        else:
            kwargs[name] = values[name]
    args.extend(extra)
    kwargs.update(values.get("**", {}))
    kwargs.update({key[2:]: value for key, value in values.items() if key.startswith("**") and key != "**"})
    return args, kwargs
