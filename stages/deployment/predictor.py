"""A model as a server needs it: from bytes, rows of plain values in, predictions out.

Knows nothing of Ray or HTTP. Rows become an Arrow table and take the way that training rows took
(``predict`` of the model); the payload is JSON, so loading it runs no code of its author.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from orchestrator.errors import ConfigError, OrchestratorError
from stages.columns import suggestion
from stages.deployment.examples import example_rows
from stages.errors import RowRejected
from stages.features import Calendar, Category, Features, Number
from stages.training import Model, ModelFile, model_file_from_payload, model_file_to_payload
from stages.training.model_file import FORMAT as FILE_FORMAT
from stages.transforms import InputKind

FORMAT = "stages.model/1"

DEFAULT_MAX_ROWS = 10_000

_WANTED = {
    "numbers": "a list of finite numbers",
    "text": "text",
    "number": "a finite number",
    "time": "an ISO time without a zone, like 2013-07-01T17:30",
}

_ARROW_TYPES = {
    "text": pa.string(),
    "number": pa.float64(),
    "time": pa.timestamp("s"),
    "numbers": pa.list_(pa.float64()),
}


def model_to_payload(model: Model | ModelFile) -> bytes:
    """The model as JSON; equal models give equal bytes."""
    if isinstance(model, ModelFile):
        return model_file_to_payload(model)
    document = {"format": FORMAT, "model": asdict(model)}
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def model_from_payload(payload: bytes) -> Model | ModelFile:
    """The model back from its JSON.

    Raises:
        ConfigError: these bytes are no such model.
    """
    try:
        document = json.loads(payload)
        if document["format"] == FILE_FORMAT:
            return model_file_from_payload(payload)
        if document["format"] != FORMAT:
            raise ConfigError(f"The payload has the format {document['format']!r}; this predictor reads {FORMAT!r}.")
        fields = document["model"]
        state = fields["features"]
        features = Features(
            categories=[Category(**entry) for entry in state["categories"]],
            numbers=[Number(**entry) for entry in state["numbers"]],
            calendars=[Calendar(**entry) for entry in state["calendars"]],
            names=state["names"],
            categorical=state["categorical"],
        )
        return Model(kind=fields["kind"], text=fields["text"], features=features, target=fields["target"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"The payload is no model that model_to_payload wrote: {error!r}") from error


class Predictor:
    """Answers rows with predictions.

    Args:
        payload: What ``model_to_payload`` gave.
        config: ``max_rows``: most rows of one request.
    """

    def __init__(self, payload: bytes, config: Mapping[str, Any] | None = None) -> None:
        self.model = model_from_payload(payload)
        self.max_rows = int((config or {}).get("max_rows", DEFAULT_MAX_ROWS))
        self._nullable: dict[str, bool] = {}
        self._warm_up()

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Prediction of the target for each row.

        Args:
            rows: Each with all inputs of the model; None where a value is missing, times as ISO text or
                ``datetime`` without a zone. What the model does not use is ignored.

        Returns:
            ``{"probability": p}`` for each row, in order; for other than two classes ``{"label", "probabilities"}``,
            for a regression ``{"value"}``.

        Raises:
            RowRejected: a row lacks an input, carries one of the wrong kind, or null where the model gives no answer
                without a value; or there are too many rows.
        """
        table = self.to_table(rows)
        if not table.num_rows:
            return []
        if isinstance(self.model, ModelFile):
            return self.model.answers(table)
        return [{"probability": float(value)} for value in self.model.predict(table)]

    def _warm_up(self) -> None:
        """Answer an example, so that no request waits for what a first answer loads; what fails is for requests."""
        with suppress(Exception):
            self.model.predict(example_rows(self.model, 1))

    def takes_null(self, name: str) -> bool:
        """Whether an input may be unknown: an example row is answered with a finite number, and without it still."""
        if name not in self._nullable:
            example = example_rows(self.model, 1)
            kind = _ARROW_TYPES[self.model.features.inputs[name]]
            without = example.set_column(example.column_names.index(name), name, pa.nulls(1, kind))
            self._nullable[name] = _answers(self.model, without) or not _answers(self.model, example)
        return self._nullable[name]

    def to_table(self, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
        """Checked rows as a table of the model's inputs; raises RowRejected."""
        if not isinstance(rows, list | tuple):
            raise RowRejected(f"Rows must be a list of objects, not {type(rows).__name__}.")
        if len(rows) > self.max_rows:
            raise RowRejected(f"{len(rows)} rows in one request are too many; send at most {self.max_rows}.")
        inputs = self.model.features.inputs
        columns: dict[str, list[Any]] = {name: [] for name in inputs}
        for position, row in enumerate(rows):
            if not isinstance(row, Mapping):
                raise RowRejected(f"Row {position} is {type(row).__name__}, not an object.", row=position)
            for name, kind in inputs.items():
                if name not in row:
                    raise RowRejected(
                        f"Row {position} lacks the input {name!r}.{suggestion(name, map(str, row))} "
                        f"Every row needs: {', '.join(inputs)} (null where unknown).",
                        row=position,
                        input=name,
                    )
                columns[name].append(_checked(row[name], kind, position, name))
                if row[name] is None and not self.takes_null(name):
                    raise RowRejected(
                        f"Row {position}: {name!r} must be {_WANTED[kind]}, not null: this model gives no answer where "
                        "it is unknown.",
                        row=position,
                        input=name,
                    )
        return pa.table({name: pa.array(columns[name], _ARROW_TYPES[kind]) for name, kind in inputs.items()})


def _answers(model: Model | ModelFile, table: pa.Table) -> bool:
    try:
        return bool(np.isfinite(np.asarray(model.predict(table), dtype=np.float64)).all())
    except (OrchestratorError, ValueError):
        return False


def _checked(value: Any, kind: InputKind, position: int, name: str) -> Any:
    if value is None:
        return None
    if kind == "text" and isinstance(value, str):
        return value
    if kind == "number" and isinstance(value, int | float) and (number := _finite(value)) is not None:
        return number
    if kind == "time" and isinstance(value, str | datetime) and (time := _local_time(value)) is not None:
        return time
    if kind == "numbers" and isinstance(value, list | tuple):
        found = [_finite(entry) if isinstance(entry, int | float) else None for entry in value]
        if None not in found:
            return found
    raise RowRejected(f"Row {position}: {name!r} must be {_WANTED[kind]}, not {value!r}.", row=position, input=name)


def _finite(value: int | float) -> float | None:
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and not isinstance(value, bool) else None


def _local_time(value: str | datetime) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    return value.replace(microsecond=0) if value.tzinfo is None else None
