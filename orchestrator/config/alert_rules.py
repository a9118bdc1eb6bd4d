"""Which alerts are raised and who is told: ``ORC_HOME/alerts.yaml``. Without it there are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from orchestrator.config.document import Document, KeyPath, read_document
from orchestrator.config.schema import validate
from orchestrator.config.suggestion import did_you_mean
from orchestrator.errors import InvalidDuration, NotFound
from orchestrator.ports.alerts import ChannelModule, Rule
from orchestrator.types import seconds

FILE: Final = "alerts.yaml"

_DURATION: Final[Mapping[str, Any]] = {"anyOf": [{"type": "string"}, {"type": "number", "minimum": 0}]}
_NAMES: Final[Mapping[str, Any]] = {"type": "array", "items": {"type": "string"}, "minItems": 1}
_RULE: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "on": {"enum": ["fail", "degraded", "late", "stuck", "quality", "drift", "budget"]},
        "pipelines": _NAMES,
        "tags": {"type": "object", "additionalProperties": {"type": ["string", "null"]}},
        "to": _NAMES,
        "repeat": _DURATION,
        "resolved": {"type": "boolean"},
        "after": _DURATION,
        "factor": {"type": "number", "exclusiveMinimum": 0},
        "least": {"type": "integer", "minimum": 1},
        "limit": {"type": "number", "minimum": 0},
        "per": {"enum": ["run", "day", "month"]},
    },
    "required": ["on", "to"],
    "additionalProperties": False,
}
_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "channels": {
            "type": "object",
            "additionalProperties": {"type": "object", "minProperties": 1, "maxProperties": 1},
        },
        "rules": {"type": "array", "items": _RULE},
        "group": _DURATION,
        "url": {"type": "string", "pattern": "^https?://"},
    },
    "required": ["channels", "rules"],
    "additionalProperties": False,
}
_ONLY_FOR: Final = {"after": "stuck", "factor": "late", "least": "late", "limit": "budget", "per": "budget"}


@dataclass(frozen=True, slots=True)
class AlertRules:
    """What ``alerts.yaml`` says.

    Attributes:
        channels: Kind and options of each channel, by its name.
        group_s: What is raised within so long goes out in one message.
        url: Address of the web pages, for links; empty for none.
    """

    rules: tuple[Rule, ...] = ()
    channels: Mapping[str, tuple[str, Any]] = field(default_factory=dict)
    group_s: float = 10.0
    url: str = ""


def read_alert_rules(home: Path, kinds: Mapping[str, ChannelModule]) -> AlertRules:
    """The rules of an installation; none if there is no file.

    Args:
        kinds: Kinds of channels.

    Raises:
        ConfigError: the file is broken; names the line.
    """
    try:
        document = read_document(home / FILE)
    except NotFound:
        return AlertRules()
    validate(document, _SCHEMA)
    written = document.data
    channels = {name: _channel(document, name, kinds) for name in written["channels"]}
    rules = tuple(_rule(document, number, channels) for number in range(len(written["rules"])))
    names = [rule.name for rule in rules]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise document.error(("rules", number), f"rules.{number}: another rule is called {name!r}; give it a name")
    group_s = _seconds(document, ("group",), written.get("group", 10))
    return AlertRules(rules, channels, group_s, written.get("url", "").rstrip("/"))


def _channel(document: Document, name: str, kinds: Mapping[str, ChannelModule]) -> tuple[str, Any]:
    ((kind, options),) = document.data["channels"][name].items()
    path: KeyPath = ("channels", name, kind)
    if kind not in kinds:
        raise document.error(path, f"channels.{name}: there is no kind {kind!r}{did_you_mean(kind, kinds)}")
    validate(document, kinds[kind].SCHEMA, path)
    return kind, options


def _rule(document: Document, number: int, channels: Mapping[str, Any]) -> Rule:
    path: KeyPath = ("rules", number)
    written = document.at(path)
    for key, kind in _ONLY_FOR.items():
        if key in written and written["on"] != kind:
            raise document.error((*path, key), f"rules.{number}: {key} is for rules on {kind}")
    if written["on"] == "budget" and "limit" not in written:
        raise document.error(path, f"rules.{number}: a budget needs a limit")
    for name in written["to"]:
        if name not in channels:
            raise document.error((*path, "to"), f"rules.{number}: there is no channel {name!r}"
                                 f"{did_you_mean(name, channels)}")  # fmt: skip
    given: dict[str, Any] = {
        f"{key}_s": _seconds(document, (*path, key), written[key]) for key in ("repeat", "after") if key in written
    }
    given |= {key: written[key] for key in ("resolved", "factor", "least", "limit", "per") if key in written}
    return Rule(
        written.get("name", written["on"]), written["on"], tuple(written.get("pipelines", ("*",))),
        {name: value or "" for name, value in written.get("tags", {}).items()}, tuple(written["to"]),
        **given,
    )  # fmt: skip


def _seconds(document: Document, path: KeyPath, value: Any) -> float:
    try:
        return seconds(value)
    except InvalidDuration as error:
        raise document.error(path, error.message) from error
