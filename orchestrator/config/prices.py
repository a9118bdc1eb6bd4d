"""What resources cost: ``ORC_HOME/prices.yaml``. Without it, round figures of a cloud's list price."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from orchestrator.config.document import read_document
from orchestrator.config.schema import validate
from orchestrator.errors import NotFound
from orchestrator.ports.prices import Prices

FILE: Final = "prices.yaml"
_DEFAULT_GPU: Final = "default"

_AMOUNT: Final[Mapping[str, Any]] = {"type": "number", "minimum": 0}
_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "currency": {"type": "string", "minLength": 1, "maxLength": 10},
        "cpu_hour": _AMOUNT,
        "memory_gib_hour": _AMOUNT,
        "gpu_hour": {"anyOf": [_AMOUNT, {"type": "object", "additionalProperties": _AMOUNT}]},
    },
    "additionalProperties": False,
}


def read_prices(home: Path) -> Prices:
    """The prices of an installation; the defaults of ``Prices`` where nothing is written.

    Raises:
        ConfigError: the file is broken; names the line.
    """
    try:
        document = read_document(home / FILE)
    except NotFound:
        return Prices()
    validate(document, _SCHEMA)
    written, known = document.data, Prices()
    gpu = written.get("gpu_hour", known.gpu)
    gpus = gpu if isinstance(gpu, Mapping) else {}
    return Prices(
        written.get("currency", known.currency),
        float(written.get("cpu_hour", known.cpu)),
        float(written.get("memory_gib_hour", known.memory)),
        float(gpus.get(_DEFAULT_GPU, known.gpu) if isinstance(gpu, Mapping) else gpu),
        {name: float(amount) for name, amount in gpus.items() if name != _DEFAULT_GPU},
    )
