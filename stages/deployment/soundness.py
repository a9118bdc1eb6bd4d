"""Is a model sound enough to be served? Loaded and asked in a fresh process, timed and weighed, before a release.

The findings are a gate: ``when(check_soundness(model, test).passed, then=lambda: release(model, app))``.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pyarrow as pa

from orchestrator import stage
from orchestrator.errors import ConfigError
from stages.columns import Floats, require_columns
from stages.deployment import trial
from stages.deployment.client import number_of
from stages.deployment.examples import example_rows
from stages.deployment.predictor import model_to_payload
from stages.deployment.serving import TOLERANCE, plain_rows
from stages.rows import rows_digest
from stages.training import Model, ModelFile
from stages.validation import Finding, GateRecord, found, gate

SAMPLE_ROWS = 200


@stage(timeout="15m")
def check_soundness(
    model: Model | ModelFile,
    sample: pa.Table | None = None,
    max_p99_ms: float = 100.0,
    max_size_bytes: int = 256 * 2**20,
    max_load_s: float = 60.0,
    requests: int = 200,
) -> GateRecord:
    """Load a model in a process of its own, as a replica does, and ask it.

    Args:
        sample: Raw rows to ask with, best those it was judged by; rows made from its inputs when not given.
        max_p99_ms: Limit of the time for one row, without HTTP, on this machine.
        max_size_bytes: Limit of what a replica is sent.
        max_load_s: Limit of the time from the start of the process to the first answer it could give.
        requests: Rows that are timed one by one.

    Returns:
        Whether it loads, answers with finite numbers of the right shape that equal those of the model as it was
        trained, how long one row takes, and its size; each against its limit.

    Raises:
        ConfigError: this is no model that can be served, or the sample has no rows.
        NotFound, DataRejected: the sample lacks an input of the model or has one of the wrong type.
    """
    if not isinstance(model, Model | ModelFile):
        raise ConfigError(
            f"{type(model).__name__} is no model that can be served; publish the Model or ModelFile in it, such as "
            "trained.model"
        )
    payload = model_to_payload(model)
    rows = (example_rows(model) if sample is None else sample).slice(0, SAMPLE_ROWS)
    if not rows.num_rows:
        raise ConfigError("a sample without rows says nothing about a model")
    require_columns(rows.column_names, model.features.inputs, "The sample given to check_soundness")
    rows = rows.select(list(model.features.inputs))
    seen = _tried(payload, rows, requests, max_load_s)
    count, digest = rows.num_rows, rows_digest(rows)

    def finding(check: str, measured: float | None, limit: float | None, why: str | None = None) -> Finding:
        return found(check, measured, "<=", limit, count, digest, why=why)

    size = finding("size in bytes", float(len(payload)), max_size_bytes)
    if isinstance(seen, str):
        return gate([finding("seconds to load in a fresh process", None, max_load_s, seen), size])
    expected = np.asarray(model.predict(rows), dtype=np.float64)
    return gate(
        [
            finding("seconds to load in a fresh process", seen["loaded_s"], max_load_s),
            *_answered(seen["answers"], expected, finding),
            *_timed(seen["took_ms"], max_p99_ms, finding),
            size,
        ]
    )


def _answered(answers: list[Any], expected: Floats, finding: Any) -> list[Finding]:
    try:
        given = np.array([number_of(answer) for answer in answers], dtype=np.float64)
    except (KeyError, TypeError, ValueError) as error:
        given = np.empty(0)
        wrong = f"the answers are no predictions: {error!r}"
    else:
        wrong = f"answers of shape {given.shape} for predictions of shape {expected.shape}"
    if given.shape != expected.shape:
        return [finding("rows without a finite answer of the right shape", None, 0, wrong)]
    bad = ~np.isfinite(given).reshape(len(given), -1).all(axis=1)
    difference = float(np.abs(given - expected).max()) if not bad.any() else None
    return [
        finding("rows without a finite answer of the right shape", float(bad.sum()), 0),
        finding("largest difference to the model as it was trained", difference, TOLERANCE),
    ]


def _timed(took_ms: list[float], max_p99_ms: float, finding: Any) -> list[Finding]:
    p50, p99 = np.percentile(took_ms, [50, 99]) if took_ms else (None, None)
    return [
        finding("p50 of one row in ms", None if p50 is None else float(p50), None),
        finding("p99 of one row in ms", None if p99 is None else float(p99), max_p99_ms),
    ]


def _tried(payload: bytes, rows: pa.Table, requests: int, max_load_s: float) -> dict[str, Any] | str:
    """What ``trial`` says, or why it said nothing."""
    asked = {
        "payload": base64.b64encode(payload).decode(), "rows": plain_rows(rows), "requests": requests,
        "began": time.monotonic(),
    }  # fmt: skip
    try:
        done = subprocess.run(
            [sys.executable, "-c", f"from {trial.__name__} import main; main()"],
            input=json.dumps(asked), capture_output=True, text=True, errors="replace",
            timeout=max_load_s + 6 * trial.LONGEST_S,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        return f"a fresh process that loads the model did not answer within {error.timeout:.0f} s"
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return f"a fresh process that loads the model ended with {done.returncode}: {said[:500]}"
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
