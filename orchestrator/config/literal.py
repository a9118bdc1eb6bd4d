"""Values that YAML has no form for, as mappings with one key that begins with a dollar.

``{$tuple: [1, 2]}``, ``{$secret: "env:DB_PASSWORD"}``, ``{$version: "data:flights@prod"}``, and for a dataclass
``{$new: "module:Class", with: {field: value}}``. Reading and writing are inverse to each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Final

from orchestrator.config.locations import import_named
from orchestrator.config.suggestion import did_you_mean
from orchestrator.errors import ConfigError, OrchestratorError
from orchestrator.graph.options import class_path
from orchestrator.graph.secret import Secret
from orchestrator.graph.version import VersionInput, parse_version

_PLAIN: Final = frozenset({type(None), bool, int, float})


def is_literal(value: Mapping[str, Any]) -> bool:
    """True for a mapping with a key that begins with exactly one dollar."""
    return any(key.startswith("$") and not key.startswith("$$") for key in value)


def literal_value(written: Mapping[str, Any]) -> Any:
    """What such a mapping means, everything inside it being values already.

    Raises:
        ConfigError: it is no literal, or the class cannot be imported or made.
    """
    kind = next(key for key in written if key.startswith("$") and not key.startswith("$$"))
    if kind not in _READERS:
        raise ConfigError(f"{kind!r} is no kind of value{did_you_mean(kind, _READERS)}; $$ stands for a dollar")
    extra = set(written) - ({kind, "with"} if kind == "$new" else {kind})
    if extra:
        raise ConfigError(f"beside {kind} there cannot be {', '.join(map(repr, sorted(extra)))}")
    return _READERS[kind](written)


def _tuple(written: Mapping[str, Any]) -> tuple[Any, ...]:
    items = written["$tuple"]
    if not isinstance(items, list):
        raise ConfigError(f"$tuple takes a list, not {items!r}")
    return tuple(items)


def _secret(written: Mapping[str, Any]) -> Secret:
    return Secret(str(written["$secret"]))


def _version(written: Mapping[str, Any]) -> VersionInput:
    return VersionInput(parse_version(str(written["$version"])))


def _new(written: Mapping[str, Any]) -> Any:
    name, given = written["$new"], written.get("with") or {}
    found = import_named(str(name))
    if not (isinstance(found, type) and is_dataclass(found)):
        raise ConfigError(f"$new: {name} is no dataclass")
    return made(found, str(name), given)


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Any]]] = {
    "$tuple": _tuple,
    "$secret": _secret,
    "$version": _version,
    "$new": _new,
}


def made(make: Callable[..., Any], name: str, given: Mapping[str, Any], args: tuple[Any, ...] = ()) -> Any:
    """What a class or function gives for these arguments.

    Raises:
        ConfigError: it refuses them; names it.
    """
    try:
        return make(*args, **given)
    except OrchestratorError as error:
        raise ConfigError(f"{name}: {error.message}") from None
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name}: {error}") from None


def written_value(value: Any) -> Any:
    """A value as a pipeline file has it; ``resolved`` gives it back.

    Raises:
        ConfigError: YAML cannot hold it; names its type.
    """
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Secret):
        return {"$secret": value.reference}
    if isinstance(value, VersionInput):
        return {"$version": str(value.address)}
    if type(value) is str:
        return written_text(value)
    if type(value) is list:
        return [written_value(item) for item in value]
    if type(value) is tuple:
        return {"$tuple": [written_value(item) for item in value]}
    if type(value) is dict and all(type(key) is str for key in value):
        return {written_text(key): written_value(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return _written_object(value)
    raise ConfigError(f"a {type(value).__module__}.{type(value).__qualname__} has no form in YAML")


def written_text(text: str) -> str:
    """A text as it stands in a pipeline file: a dollar at its beginning twice."""
    return f"${text}" if text.startswith("$") else text


def _written_object(value: Any) -> dict[str, Any]:
    """A dataclass with the fields that are not as its class has them anyway."""
    kind = type(value)
    path = class_path(kind)
    try:
        importable = import_named(path) is kind
    except OrchestratorError:
        importable = False
    if not importable:
        raise ConfigError(f"a {path} cannot be imported under that name, so YAML cannot make one")
    given = {}
    for field in fields(value):
        held = getattr(value, field.name)
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        if default is not MISSING and type(held) is type(default) and held == default:
            continue
        if not field.init:
            raise ConfigError(f"a {path} keeps {field.name!r}, which it is not made with")
        given[field.name] = written_value(held)
    return {"$new": path, **({"with": given} if given else {})}
