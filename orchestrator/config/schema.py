"""The JSON Schema of a pipeline file: the one description that is published, validated against and documented.

Validation is jsonschema's; this module turns its findings into one error that names the line and, for a key that
does not exist, the key that was probably meant. ``python -m orchestrator.config.schema`` prints the published form.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from orchestrator.config.document import Document, KeyPath
from orchestrator.config.suggestion import meant_or_known
from orchestrator.errors import ConfigError
from orchestrator.graph.context import PORTS

SCHEMA_ID: Final = "urn:ray-orchestrator:schema:pipeline:1"

_REFERENCE_NOTE = "Text that begins with `$` is a reference (`$node.field`, `$params.name`); `$$` is a dollar."
_DURATION: Final = {
    "description": "A duration: '10ms', '1s', '5m', '2h', '30d', or a number of seconds.",
    "anyOf": [{"type": "string", "minLength": 1}, {"type": "number", "minimum": 0}],
}
_NUMBER: Final = {"type": "number", "minimum": 0}
_TEXTS: Final = {"type": "object", "additionalProperties": {"type": "string"}}
_NAMED: Final = {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*$"}
_GRAPH: Final[Mapping[str, Any]] = {
    "type": "object",
    "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_-]*$", "not": {"const": "params"}},
    "additionalProperties": {"$ref": "#/$defs/node"},
}

_STAGE_OPTIONS: Final[Mapping[str, Any]] = {
    "cache": {
        "description": "How long an output may be reused: a duration, true for ever, false never.",
        "anyOf": [*_DURATION["anyOf"], {"type": "boolean"}, {"type": "null"}],
    },
    "retries": {
        "description": "Repetitions after the first attempt, or how to repeat.",
        "anyOf": [
            {"type": "integer", "minimum": 0},
            {
                "type": "object",
                "properties": {
                    "attempts": {"type": "integer", "minimum": 1, "description": "Attempts in all."},
                    "backoff": {"description": "'1s..60s': first and largest delay.", "type": ["string", "number"]},
                    "on": {
                        "description": "Exceptions that are retried, as module:Class or the name of a built-in one.",
                        "type": "array",
                        "items": {"type": "string"},
                        "minItems": 1,
                    },
                },
                "additionalProperties": False,
            },
        ],
    },
    "timeout": {
        "description": "Limit of each attempt; null for none.",
        "anyOf": [*_DURATION["anyOf"], {"type": "null"}],
    },
    "fallback": {"description": "Value that takes the place of a failure; the run is then degraded."},
    "num_cpus": {"description": "CPUs of one step.", **_NUMBER},
    "num_gpus": {"description": "GPUs of one step, also a fraction of one.", **_NUMBER},
    "memory": {
        "description": "Memory of one step: '2GiB', or bytes.",
        "anyOf": [{"type": "string", "minLength": 1}, {"type": "integer", "minimum": 0}],
    },
    "resources": {
        "description": "Custom resources of the cluster.",
        "type": "object",
        "additionalProperties": _NUMBER,
    },
    "accelerator_type": {"description": "Type of accelerator, as Ray names it.", "type": ["string", "null"]},
    "label_selector": {"description": "Labels that a node must have.", **_TEXTS},
    "runtime_env": {"description": "Ray runtime environment of the steps.", "type": ["object", "null"]},
    "isolated": {"description": "Whether each step has a process of its own.", "type": "boolean"},
    "on_item_error": {"description": "What a failed item means for its map.", "enum": ["fail", "drop", "keep"]},
    "profile": {"description": "Whether tables that come out are described.", "type": "boolean"},
    "checks": {
        "description": "What is checked about the output, in place of the checks that the code declares.",
        "type": "array",
        "items": {"$ref": "#/$defs/check"},
    },
    "max_steps": {"description": "Most calls of a dynamic stage.", "type": ["integer", "null"], "minimum": 1},
}

OVERRIDABLE: Final = frozenset(_STAGE_OPTIONS)
"""Options of a stage that a file or the command line may set; the others belong to its code."""

_CALL_OPTIONS: Final[Mapping[str, Any]] = {
    **_STAGE_OPTIONS,
    "effects": {"description": "Whether the stage touches the outside world.", "type": "boolean"},
    "publish": {
        "description": "Name under which the output is a new version: 'data:flights', 'model:delay'.",
        "type": ["string", "null"],
    },
    "uses": {
        "description": "Parts of the engine that the body drives.",
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"enum": list(PORTS)}}],
    },
}
"""Options of one call in a graph, which is code in itself."""

_CHECK: Final[Mapping[str, Any]] = {
    "description": "A rule about an output.",
    "type": "object",
    "properties": {
        "uses": {"description": "What makes the rule, as module:name, such as stages.quality:not_null.", **_NAMED},
        "with": {"description": "Its parameters by name; several of one kind are a list.", "type": "object"},
        "severity": {
            "description": "Whether a failure fails the step, or is only recorded.",
            "enum": ["block", "warn"],
        },
    },
    "required": ["uses"],
    "additionalProperties": False,
}


_CALL: Final[Mapping[str, Any]] = {
    "uses": {"description": "The stage or pipeline to call, as module:name.", **_NAMED},
    "name": {"description": "Name of the step, if it is not that of the node.", "type": "string", "minLength": 1},
    "with": {"description": f"Arguments by name. {_REFERENCE_NOTE}", "type": "object"},
    "map": {
        "description": "Names of the arguments under `with` that are taken item by item.",
        "anyOf": [
            {"type": "string"},
            {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True},
        ],
    },
    "options": {"description": "Options of the stage for this call.", "$ref": "#/$defs/call_options"},
}

_INNER: Final[Mapping[str, Any]] = {
    "graph": {"description": "Nodes of a part of the graph, in a scope of their own.", **_GRAPH},
    "output": {"description": f"What stands for that part outside of it. {_REFERENCE_NOTE}"},
}


def pipeline_schema() -> dict[str, Any]:
    """The schema of a pipeline file, JSON Schema draft 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "Pipeline file",
        "description": "A pipeline to run: one written in Python with its parameters, or a graph of stages.",
        "type": "object",
        "properties": {
            "extends": {"description": "Another pipeline file that this one is laid over.", "type": "string"},
            "description": {"description": "What the pipeline is for.", "type": "string"},
            "pipeline": {"description": "The pipeline, as module:name.", **_NAMED},
            "params": {
                "description": "Values of the pipeline's parameters; with `graph`, the parameters and their defaults.",
                "type": "object",
                "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
            },
            "stages": {
                "description": "Options of stages, by the name of the stage or of a node of the graph.",
                "type": "object",
                "additionalProperties": {"$ref": "#/$defs/options"},
            },
            "graph": {"description": "Nodes by name, in any order.", **_GRAPH, "minProperties": 1},
            "output": {"description": f"What the pipeline returns; with `graph` only. {_REFERENCE_NOTE}"},
            "on": {
                "description": "What makes orc up run it, in place of what its code says: `cron:`, `artifact:` or "
                "`webhook:`, each with its options.",
                "type": "array",
                "items": {"type": "object", "minProperties": 1},
            },
            "concurrency": {
                "description": "How many runs that triggers made may go on at once; others wait in order.",
                "type": ["integer", "null"],
                "minimum": 1,
            },
        },
        "additionalProperties": False,
        "$defs": {
            "options": {"type": "object", "properties": dict(_STAGE_OPTIONS), "additionalProperties": False},
            "call_options": {"type": "object", "properties": dict(_CALL_OPTIONS), "additionalProperties": False},
            "check": dict(_CHECK),
            **_nodes(),
        },
    }


def _nodes() -> dict[str, Any]:
    """What may stand under a name in a graph: a call, a part of the graph, or a choice between such."""
    choice = {
        "if": {"description": "The node runs only if this is true: a reference, or true or false."},
        "then": {"description": "In place of `uses`: what runs if so; as `else`."},
        "else": {"description": "What stands for it if not: `uses` …, `graph` …, or a value."},
    }
    return {
        "node": {
            "type": "object",
            "properties": {**_CALL, **_INNER, **choice},
            "anyOf": [{"required": ["uses"]}, {"required": ["graph"]}, {"required": ["then"]}],
            "dependentRequired": {
                "map": ["with"], "with": ["uses"], "options": ["uses"], "output": ["graph"], "else": ["if"],
                "then": ["if"],
            },
            "additionalProperties": False,
        },
        "call": {
            "type": "object",
            "properties": dict(_CALL),
            "required": ["uses"],
            "dependentRequired": {"map": ["with"]},
            "additionalProperties": False,
        },
        "inner": {
            "type": "object",
            "properties": dict(_INNER),
            "required": ["graph"],
            "additionalProperties": False,
        },
    }  # fmt: skip


def published() -> str:
    """The schema as it is published under ``docs/schemas``."""
    return json.dumps(pipeline_schema(), indent=2) + "\n"


_RANK: Final = {"additionalProperties": 0, "required": 1, "anyOf": 1}
"""Of several findings in a line, a key that does not exist explains one that is missing, and that one the rest."""


def validate(document: Document, schema: Mapping[str, Any], at: KeyPath = ()) -> None:
    """Check a document, or the part of it at ``at``.

    Raises:
        ConfigError: the first finding in the document's order, with its line.
    """
    from jsonschema import Draft202012Validator

    findings = list(Draft202012Validator(schema).iter_errors(document.at(at)))
    if findings:
        errors = [(_RANK.get(finding.validator, len(_RANK)), _explain(document, at, finding)) for finding in findings]
        raise min(errors, key=lambda pair: (pair[1].details["line"], pair[0], pair[1].message))[1]


def _explain(document: Document, at: KeyPath, finding: Any) -> ConfigError:
    path: KeyPath = (*at, *finding.absolute_path)
    name = ".".join(map(str, path)) or "the file"
    value = finding.instance
    if "propertyNames" in finding.absolute_schema_path:
        return document.error((*path, value), f"{name}: {value!r} cannot be a name here")
    match finding.validator:
        case "additionalProperties":
            known = finding.schema.get("properties", {})
            extra = next(key for key in value if key not in known)
            return document.error((*path, extra), f"{name}: unknown key {extra!r}{meant_or_known(extra, known)}")
        case "required":
            missing = next(key for key in finding.validator_value if key not in value)
            return document.error(path, f"{name}: the key {missing!r} is missing")
        case "dependentRequired":
            key, needed = next((key, need) for key, need in finding.validator_value.items() if key in value)
            return document.error((*path, key), f"{name}: {key!r} needs {needed[0]!r} beside it")
        case "pattern":
            return document.error(path, f"{name}: {value!r} is not of the form module:name")
        case "enum":
            return document.error(path, f"{name}: {value!r} is none of {', '.join(finding.validator_value)}")
        case "anyOf" if all(set(choice) == {"required"} for choice in finding.validator_value):
            keys = [choice["required"][0] for choice in finding.validator_value]
            return document.error(
                path, f"{name}: the key {keys[0]!r} is missing (or {' or '.join(map(repr, keys[1:]))})"
            )
        case "anyOf" if (closest := _closest(finding)) is not None:
            return _explain(document, at, closest)
        case "type" | "anyOf":
            return document.error(path, f"{name}: {_shown(value)} is not {_expected(finding.schema)}")
        case "minimum":
            return document.error(path, f"{name}: {value!r} is less than {finding.validator_value}")
    return document.error(path, f"{name}: {finding.message}")


def _closest(finding: Any) -> Any:
    """Of the choices, what is wrong with the one that has the right type; None if none has."""
    for inner in finding.context:
        if inner.validator != "type" or inner.relative_path:
            return inner
    return None


_TYPE_WORDS: Final = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "a mapping",
    "string": "text",
}


def _expected(schema: Mapping[str, Any]) -> str:
    """The types a schema allows, in words."""
    words: list[str] = []
    for choice in schema.get("anyOf", [schema]):
        types = choice.get("type", [])
        words += [_TYPE_WORDS[name] for name in ([types] if isinstance(types, str) else types)]
    return " or ".join(dict.fromkeys(words))


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else text[:39] + "…"


if __name__ == "__main__":
    print(published(), end="")
