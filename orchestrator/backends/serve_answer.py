"""From the body of a request to the answer of a predictor: the same wherever a predictor is served."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from orchestrator.errors import OrchestratorError
from orchestrator.ports.serving import Predictor

_LOG = logging.getLogger(__name__)


class Answer(NamedTuple):
    """What a version says to a request: HTTP status and JSON; ``broken`` if it is no answer to it."""

    status: int
    body: bytes
    broken: bool = False


def predict(predictor: Predictor, body: bytes) -> Answer:
    """Answer ``{"rows": [...]}``; bad rows are 422, whatever the predictor does wrong is 500."""
    try:
        rows = _rows(body)
    except (ValueError, KeyError, TypeError, RecursionError):
        return refused(400, 'the body must be a JSON object {"rows": [...]}')
    try:
        predictions = list(predictor.predict(rows))
    except OrchestratorError as error:
        return refused(422, str(error), place=_place(error)) if error.user_fault else refused(500, str(error))
    except Exception as error:
        return refused(500, f"the predictor failed: {type(error).__name__}: {error}")
    problem = _problem(rows, predictions)
    if problem:
        return refused(500, f"the predictor gave no answer: {problem}", broken=True)
    try:
        return Answer(200, _json({"predictions": predictions}))
    except (ValueError, TypeError, RecursionError) as error:
        return refused(500, f"the predictor gave no answer: {error}", broken=True)


def predict_all(predictor: Predictor, bodies: Sequence[bytes]) -> list[Answer]:
    """Answer several requests in one call of the predictor, each as it would be answered alone.

    If anything is wrong with any of them, each is asked alone, so that nobody gets an error of somebody else.
    """
    if len(bodies) > 1:
        try:
            parts = [_rows(body) for body in bodies]
            predictions = list(predictor.predict([row for part in parts for row in part]))
            ends = list(accumulate(len(part) for part in parts))
            given = [predictions[end - len(part) : end] for part, end in zip(parts, ends, strict=True)]
            if len(predictions) == ends[-1] and not any(map(_problem, parts, given)):
                return [Answer(200, _json({"predictions": some})) for some in given]
        except Exception as error:
            _LOG.debug("a batch of %d requests is answered one by one: %s", len(bodies), error)
    return [predict(predictor, body) for body in bodies]


def refused(status: int, message: str, broken: bool = False, place: Mapping[str, Any] | None = None) -> Answer:
    """An answer that says what is wrong, and in which ``field`` of which ``row`` if that is known."""
    return Answer(status, _json({"error": message, **(place or {})}), broken)


def _rows(body: bytes) -> list[Any]:
    rows = json.loads(body)["rows"]
    if not isinstance(rows, list):
        raise TypeError
    return rows


def _place(error: OrchestratorError) -> dict[str, Any]:
    """Which field of a row an error is about, and which row, as its details have them."""
    field, row = error.details.get("input") or error.details.get("column"), error.details.get("row")
    found: dict[str, Any] = {"field": field} if isinstance(field, str) else {}
    return found | ({"row": row} if isinstance(row, int) else {})


def _problem(rows: Sequence[Mapping[str, Any]], predictions: Sequence[Any]) -> str:
    if len(predictions) != len(rows):
        return f"{len(predictions)} predictions for {len(rows)} rows"
    for row, prediction in enumerate(predictions):
        if prediction is None or (isinstance(prediction, dict | list | str) and not prediction):
            return f"an empty one ({prediction!r}) for row {row}"
    return ""


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
