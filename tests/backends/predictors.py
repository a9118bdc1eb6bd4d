"""Predictors for tests of serving: importable in replicas."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.errors import UserError


class Scaled:
    """Multiplies ``x`` by the number in the payload; tells its process."""

    def __init__(self, payload: bytes, config: Mapping[str, Any]) -> None:
        self.factor = int(payload) * int(config.get("times", 1))

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """``{"y": …, "pid": …}`` for each row."""
        if not all(isinstance(row, Mapping) and "x" in row for row in rows):
            raise UserError("every row needs x", input="x")
        return [{"y": self.factor * row["x"], "pid": os.getpid()} for row in rows]


class Broken:
    """Cannot be built."""

    def __init__(self, payload: bytes, config: Mapping[str, Any]) -> None:
        raise ValueError("the payload is no model: 42")


class Moody:
    """Multiplies ``x`` by the number in the payload; if it heeds ``mood`` in the first row, that says how it fails."""

    def __init__(self, payload: bytes, config: Mapping[str, Any]) -> None:
        self.factor = int(payload)
        self.heeds = bool(config.get("heeds", False))

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """``{"y": …}`` for each row."""
        for position, row in enumerate(rows):
            if "x" not in row:
                raise UserError(f"row {position} lacks the input 'x'")
        match rows[0].get("mood") if self.heeds else None:
            case "agree":
                return [{"y": 2 * row["x"]} for row in rows]
            case "crash":
                os._exit(17)
            case "hang":
                time.sleep(60)
            case "fail":
                raise RuntimeError("the model is in a mood")
            case "refuse":
                raise UserError("every row needs a field that nobody knows of")
            case "few":
                return [{"y": 1}] * (len(rows) - 1)
            case "empty":
                return [{} for _ in rows]
            case "nan":
                return [{"y": float("nan")} for _ in rows]
        return [{"y": self.factor * row["x"]} for row in rows]


class Held:
    """Answers 2 * x, with how many rows it was given at once, when there is the file that the payload names."""

    def __init__(self, payload: bytes, config: Mapping[str, Any]) -> None:
        self.gate = Path(payload.decode())

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """``{"y": …, "rows": …}`` for each row."""
        if not all("x" in row for row in rows):
            raise UserError("every row needs x", input="x")
        while not self.gate.exists():
            time.sleep(0.01)
        return [{"value": 2 * row["x"], "rows": len(rows)} for row in rows]
