"""Predictors for tests of serving: importable in replicas."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.errors import UserError


class Scaled:
    """Multiplies ``x`` by the number in the payload; tells its process."""

    def __init__(self, payload: bytes, config: Mapping[str, Any]) -> None:
        self.factor = int(payload) * int(config.get("times", 1))

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """``{"y": …, "pid": …}`` for each row."""
        if not all(isinstance(row, Mapping) and "x" in row for row in rows):
            raise UserError("every row needs x")
        return [{"y": self.factor * row["x"], "pid": os.getpid()} for row in rows]


class Broken:
    """Cannot be built."""

    def __init__(self, payload: bytes, config: Mapping[str, Any]) -> None:
        raise ValueError("the payload is no model: 42")
