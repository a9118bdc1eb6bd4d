"""A process of its own that builds a predictor from bytes and asks it: what a replica will do, tried beforehand.

Reads one JSON document from standard input and writes one to standard output; see ``soundness``.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from typing import Any

from stages.deployment.predictor import Predictor

LONGEST_S = 10.0
"""After so long no more requests are timed; those that were say enough."""


def main() -> None:
    """Answer the document on standard input; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    asked = json.load(sys.stdin)
    json.dump(tried(base64.b64decode(asked["payload"]), asked["rows"], asked["requests"], asked["began"]), answers)
    answers.close()


def tried(payload: bytes, rows: list[dict[str, Any]], requests: int, began: float) -> dict[str, Any]:
    """What became of it: seconds until the predictor was there, all answers, milliseconds of single rows.

    Args:
        began: When this process was started, on the machine's monotonic clock.
    """
    predictor = Predictor(payload, {"max_rows": max(len(rows), 1)})
    loaded_s = time.monotonic() - began
    answers = predictor.predict(rows)
    took_ms: list[float] = []
    first = time.perf_counter()
    for number in range(requests if rows else 0):
        row = rows[number % len(rows)]
        start = time.perf_counter()
        predictor.predict([row])
        now = time.perf_counter()
        took_ms.append(1000 * (now - start))
        if now - first > LONGEST_S:
            break
    return {"loaded_s": loaded_s, "answers": answers, "took_ms": took_ms}
