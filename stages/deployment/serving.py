"""Putting a model behind HTTP, and asking it over HTTP what it answers.

``deploy`` acts through ``step().serving``; ``exercise`` is an ordinary HTTP client, so it measures what a
user of the endpoint would see.
"""

from __future__ import annotations

import hashlib
import http.client
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from orchestrator import stage, step
from orchestrator.errors import ConfigError
from orchestrator.serving import Capture, Load
from stages.deployment.client import Client
from stages.deployment.predictor import DEFAULT_MAX_ROWS, model_to_payload
from stages.training import Model, ModelFile

PREDICTOR = "stages.deployment.predictor:Predictor"
"""The class that a server builds from the payload."""

TOLERANCE = 1e-9
"""Largest difference between an answer and the offline prediction that still counts as agreement."""


@dataclass(frozen=True)
class Deployment:
    """A model version that answers at ``url``; the version is the digest of what was deployed."""

    app: str
    version: str
    url: str


@dataclass(frozen=True)
class Exercise:
    """What real requests to an endpoint found.

    Attributes:
        deployment: What was asked.
        passed: Every request was answered, and every answer agreed with the offline prediction.
        failures: Requests that were not answered with predictions; ``first_failure`` says why, for the first.
        p50_ms, p95_ms, p99_ms: Latency as the client saw it, connection set-up included in the first request only.
        max_difference: Largest difference to the offline prediction; None if nothing was answered.
    """

    deployment: Deployment
    passed: bool
    requests: int
    rows: int
    failures: int
    first_failure: str | None
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_difference: float | None

    def __str__(self) -> str:
        answered = f"{self.requests - self.failures} of {self.requests} requests answered ({self.rows} rows)"
        times = f"p50 {self.p50_ms:.1f} ms, p95 {self.p95_ms:.1f} ms, p99 {self.p99_ms:.1f} ms"
        difference = "unknown" if self.max_difference is None else f"{self.max_difference:.1e}"
        failure = f"; first failure: {self.first_failure}" if self.first_failure else ""
        return (
            f"{self.deployment.app} {self.deployment.version}: {answered}, {times}, "
            f"largest difference to offline {difference}{failure}"
        )


@stage(uses=("serving",), effects=True, timeout="5m")
def deploy(
    model: Model | ModelFile,
    app: str,
    max_rows: int = DEFAULT_MAX_ROWS,
    replicas: int = 1,
    num_cpus: float = 0.0,
    num_gpus: float = 0.0,
    load: Load | None = None,
    capture: Capture | None = None,
) -> Deployment:
    """Serve a model under an application's name; the same model again changes nothing.

    Args:
        app: Name of the application, also part of its URL.
        max_rows: Most rows of one request.
        replicas: How many there are, unless ``load`` has an ``autoscaling``.
        num_cpus, num_gpus: What each replica reserves, also fractions of one.
        load: How much a replica takes on: queues, batches, autoscaling.
        capture: Which requests are kept with their answers, and where; inputs are those of the model.

    Raises:
        ServingFailed: the deployment did not become healthy.
        ConfigError: no replica could be like that.
    """
    return _deployed(
        step().serving, model, app, max_rows, replicas=replicas, num_cpus=num_cpus, num_gpus=num_gpus, load=load,
        capture=signed(capture, model),
    )  # fmt: skip


@stage(uses=("serving",), num_cpus=0, effects=True, timeout="10m")
def deploy_versions(
    models: Sequence[Model | ModelFile], app: str, max_rows: int = DEFAULT_MAX_ROWS
) -> list[Deployment]:
    """Serve several versions of an application side by side, begun all at once; none gets requests of the others.

    A ``release`` of such a model with the same options finds its candidate there, and the application's router, and
    waits for neither to start. Until the first one the router answers 503; it ends with the application, by ``retire``.

    Raises:
        ServingFailed: one of them, or the router, did not become healthy.
    """
    serving, router = step().serving, step().routing
    with ThreadPoolExecutor(len(models) + 1) as pool:
        preparing = pool.submit(router.prepare, app)
        deployed = list(pool.map(lambda model: _deployed(serving, model, app, max_rows), models))
        preparing.result()
    return deployed


def _deployed(serving: Any, model: Model | ModelFile, app: str, max_rows: int, **more: Any) -> Deployment:
    payload = model_to_payload(model)
    version = hashlib.blake2b(payload, digest_size=6).hexdigest()
    endpoint = serving.deploy(
        app=app, version=version, predictor=PREDICTOR, payload=payload, config={"max_rows": max_rows}, **more
    )
    return Deployment(app, version, str(endpoint.url))


@stage(uses=("serving",), effects=True, timeout="5m")
def deploy_many(
    models: Mapping[str, Model | ModelFile],
    app: str,
    max_rows: int = DEFAULT_MAX_ROWS,
    replicas: int = 1,
    num_cpus: float = 0.0,
    num_gpus: float = 0.0,
    load: Load | None = None,
    capture: Capture | None = None,
) -> Deployment:
    """Serve many small models under one application's name; a request says in its header ``X-Model`` which it is for.

    A replica builds a model when it is asked for, and keeps those that were used last: ``max_num_models_per_replica``
    of ``load``.

    Args:
        models: By the name that requests use.
        capture: As for ``deploy``; only for models that have the same inputs, which are the columns of what is kept.

    Raises:
        ServingFailed: the deployment did not become healthy.
        ConfigError: no replica could be like that, or the models have different inputs and are to be captured.
    """
    payload = {name: model_to_payload(model) for name, model in sorted(models.items())}
    digest = hashlib.blake2b(digest_size=6)
    for name, one in payload.items():
        digest.update(f"{len(name.encode())} {len(one)} {name}".encode() + one)
    signatures = [dict(model.features.inputs) for model in models.values()]
    if capture is not None and not capture.inputs and any(one != signatures[0] for one in signatures):
        raise ConfigError(
            f"the models of {app} have different inputs, so their requests do not fit into one table; serve them as "
            "several applications, or without capture"
        )
    endpoint = step().serving.deploy(
        app=app, version=digest.hexdigest(), predictor=PREDICTOR, payload=payload, config={"max_rows": max_rows},
        replicas=replicas, num_cpus=num_cpus, num_gpus=num_gpus, load=load,
        capture=signed(capture, next(iter(models.values()))) if models else None,
    )  # fmt: skip
    return Deployment(app, digest.hexdigest(), str(endpoint.url))


def signed(capture: Capture | None, model: Model | ModelFile) -> Capture | None:
    """A capture with the signature of a model, if it has none of its own."""
    return capture if capture is None or capture.inputs else replace(capture, inputs=dict(model.features.inputs))


@stage(uses=("serving",), num_cpus=0, effects=True, timeout="5m")
def retire(app: str) -> str:
    """End an application, its router and all its versions; no error if there is none.

    Returns:
        Its name, for what is to come after that.
    """
    step().serving.undeploy(app)
    return app


@stage(effects=True, timeout="5m")
def exercise(
    deployment: Deployment,
    model: Model | ModelFile,
    table: pa.Table,
    requests: int = 100,
    rows_per_request: int = 1,
    timeout_s: float = 10.0,
) -> Exercise:
    """Send rows of a table to an endpoint on this machine and compare the answers with offline predictions.

    Rows are spread evenly over the table. Requests go one after the other over one connection.

    Raises:
        ConfigError: the endpoint is not on this machine, or there are not enough rows.
        NotFound, DataRejected: the table lacks an input of the model or has one of the wrong type.
    """
    needed = requests * rows_per_request
    if not 0 < needed <= table.num_rows:
        raise ConfigError(f"{requests} requests of {rows_per_request} rows need {needed} of {table.num_rows} rows")
    chosen = table.take(pa.array(np.linspace(0, table.num_rows - 1, needed).astype(np.int64)))
    expected = model.predict(chosen)
    rows = plain_rows(chosen.select(list(model.features.inputs)))
    client = Client(deployment.url, timeout_s)
    latencies, differences, failures = [], [], []
    try:
        for start in range(0, needed, rows_per_request):
            part = slice(start, start + rows_per_request)
            began = time.perf_counter()
            try:
                answers, _ = client.predict(rows[part])
                if answers.shape != expected[part].shape:
                    raise ValueError(f"answers of shape {answers.shape} for predictions of {expected[part].shape}")
            except (OSError, http.client.HTTPException, ValueError) as error:
                failures.append(f"{type(error).__name__}: {error}")
                continue
            latencies.append((time.perf_counter() - began) * 1000)
            differences.append(float(np.abs(answers - expected[part]).max()))
    finally:
        client.close()
    p50, p95, p99 = np.percentile(latencies, [50, 95, 99]) if latencies else (0.0, 0.0, 0.0)
    largest = max(differences) if differences else None
    return Exercise(
        deployment=deployment,
        passed=not failures and largest is not None and largest <= TOLERANCE,
        requests=requests,
        rows=needed,
        failures=len(failures),
        first_failure=failures[0] if failures else None,
        p50_ms=float(p50),
        p95_ms=float(p95),
        p99_ms=float(p99),
        max_difference=largest,
    )


def plain_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Rows as JSON values; times as ISO text, null for NaN, which JSON does not know."""
    return [{name: _plain(value) for name, value in row.items()} for row in table.to_pylist()]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return None if isinstance(value, float) and value != value else value
