"""What is set over a pipeline file: ``ORC_PARAM_…`` variables, then ``key=value`` arguments of the command line.

Precedence: the pipeline's defaults < the file < the environment < the command line. ``path=…`` and ``params.path=…``
set a parameter, ``stages.train.num_gpus=0.5`` an option of a stage.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.config.document import Document, Place, parse_value
from orchestrator.config.schema import OVERRIDABLE, pipeline_schema, validate
from orchestrator.config.settings import PARAMETER_PREFIX
from orchestrator.config.suggestion import did_you_mean, meant_or_known
from orchestrator.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Written:
    """A value as somebody wrote it, and where."""

    text: str
    origin: str


@dataclass(frozen=True, slots=True)
class Overrides:
    """What was set outside of a file.

    Attributes:
        params: Texts by parameter, those of the command line over those of the environment.
        document: Options of stages under ``stages``, to be laid over a file's.
    """

    params: Mapping[str, Written] = field(default_factory=dict)
    document: Document = field(default_factory=lambda: _stage_document({}))


def read_overrides(arguments: Iterable[str], env: Mapping[str, str]) -> Overrides:
    """Read the environment and the ``key=value`` arguments.

    Raises:
        ConfigError: an argument has another form, or names an option that no stage has.
    """
    params = {
        name.removeprefix(PARAMETER_PREFIX).lower(): Written(env[name], name)
        for name in sorted(env)
        if name.startswith(PARAMETER_PREFIX)
    }
    stages: dict[str, dict[str, Any]] = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals or not key:
            raise ConfigError(f"{argument!r} sets nothing; write parameter=value or stages.train.num_gpus=0.5")
        if key.startswith("stages."):
            name, path = _stage_option(key)
            _put(stages.setdefault(name, {}), path, _value(key, text))
        else:
            params[key.removeprefix("params.")] = Written(text, f"the argument {key}=")
    document = _stage_document(stages)
    if stages:
        validate(document, pipeline_schema())
    return Overrides(params, document)


def values_of(params: Mapping[str, Written], annotations: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters' values: text stays text where the pipeline wants text, and is read as YAML elsewhere.

    Args:
        params: What was written, by parameter; names from the environment are in lower case.
        annotations: The pipeline's parameters with their types.

    Raises:
        ConfigError: the pipeline has no such parameter, or the text is no value.
    """
    by_lower = {name.lower(): name for name in annotations}
    values: dict[str, Any] = {}
    for name, written in params.items():
        known = name if name in annotations else by_lower.get(name) if written.origin.startswith("ORC_") else None
        if known is None:
            raise ConfigError(
                f"{written.origin} sets {name!r}, which is no parameter of this pipeline"
                f"{meant_or_known(name, annotations)}"
            )
        values[known] = _typed(written, annotations[known])
    return values


def _stage_option(key: str) -> tuple[str, list[str]]:
    """Split ``stages.NAME.option`` or ``stages.NAME.option.item``; a stage's name may have dots itself."""
    parts = key.split(".")[1:]
    for index in range(1, len(parts)):
        if parts[index] in OVERRIDABLE:
            return ".".join(parts[:index]), parts[index:]
    if len(parts) < 2:
        raise ConfigError(f"{key}= names no option; write stages.train.num_gpus=0.5")
    raise ConfigError(
        f"{key}= names {parts[-1]!r}, which is no option of a stage{did_you_mean(parts[-1], OVERRIDABLE)}"
    )


def _put(target: dict[str, Any], path: list[str], value: Any) -> None:
    for key in path[:-1]:
        inner = target.get(key)
        target[key] = inner if isinstance(inner, dict) else {}
        target = target[key]
    target[path[-1]] = value


def _value(origin: str, text: str) -> Any:
    try:
        return parse_value(text)
    except ConfigError as error:
        raise ConfigError(f"{origin}: {text!r} is no value: {error.message.partition(': ')[2]}") from None


def _stage_document(stages: Mapping[str, Any]) -> Document:
    return Document({"stages": stages}, {(): Place("command line", 0)})


def _typed(written: Written, annotation: Any) -> Any:
    options = _options(annotation)
    if set(options) - {type(None)} != {str}:
        return _value(written.origin, written.text)
    return None if type(None) in options and written.text == "null" else written.text


def _options(annotation: Any) -> tuple[Any, ...]:
    """The types a union is made of, without what ``Annotated`` adds to them."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _options(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(option for member in typing.get_args(annotation) for option in _options(member))
    return (annotation,)
