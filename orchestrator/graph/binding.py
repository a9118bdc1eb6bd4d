"""Arguments by name: from a call to a node, and in the worker from a node back to a call."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import MissingArgument, UnknownArgument
from orchestrator.graph.source import refusal

_KIND = inspect.Parameter


@dataclass(frozen=True, slots=True)
class Bound:
    """Arguments of a call by parameter; variadic ones apart."""

    named: dict[str, Any]
    extra: tuple[Any, ...] = ()
    extra_named: Mapping[str, Any] | None = None


def bind(what: str, signature: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Bound:
    """Match a call against a signature, as Python would; ``what`` names the callee in errors.

    Raises:
        UnknownArgument: too many arguments, one of an unknown name, or one given twice.
        MissingArgument: a parameter without default is left out.
    """
    parameters = list(signature.parameters.values())
    positional = [p for p in parameters if p.kind in (_KIND.POSITIONAL_ONLY, _KIND.POSITIONAL_OR_KEYWORD)]
    takes_more = any(p.kind is _KIND.VAR_POSITIONAL for p in parameters)
    takes_names = any(p.kind is _KIND.VAR_KEYWORD for p in parameters)
    if len(args) > len(positional) and not takes_more:
        count = len(positional)
        raise refusal(UnknownArgument, f"{what} takes {count} positional argument{'s' * (count != 1)}, not {len(args)}")
    named = {p.name: value for p, value in zip(positional, args, strict=False)}
    by_keyword = {p.name for p in parameters if p.kind in (_KIND.POSITIONAL_OR_KEYWORD, _KIND.KEYWORD_ONLY)}
    extra_named: dict[str, Any] = {}
    for name, value in kwargs.items():
        if name in by_keyword:
            if name in named:
                raise refusal(UnknownArgument, f"{what} got {name!r} twice, by position and by name")
            named[name] = value
        elif takes_names:
            extra_named[name] = value
        else:
            close = difflib.get_close_matches(name, by_keyword, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(sorted(by_keyword)) or 'none'}"
            raise refusal(UnknownArgument, f"{what} has no parameter {name!r}; {hint}")
    variadic = (_KIND.VAR_POSITIONAL, _KIND.VAR_KEYWORD)
    missing = [p.name for p in parameters if p.kind not in variadic and p.default is p.empty and p.name not in named]
    if missing:
        raise refusal(MissingArgument, f"{what} needs {', '.join(map(repr, missing))}")
    ordered = {p.name: named[p.name] for p in parameters if p.name in named}
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
