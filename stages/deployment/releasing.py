"""Releases as steps of a pipeline: a new version of a model takes over from the one that answers, watched, or not.

The controller is ``orchestrator.serving``; here it gets the step's checkpoints to keep its state in. So whoever goes on
with the run after a crash goes on with the release, wherever it was.
"""

from __future__ import annotations

import hashlib
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from orchestrator import stage, step
from orchestrator.errors import ConfigError, ServingFailed
from orchestrator.serving import (
    Canary,
    Capture,
    Carrier,
    Load,
    Release,
    ReleaseState,
    Strategy,
    begin,
    failed_at_start,
    send_back,
    state_from_json,
    without_another,
)
from stages.deployment.client import number_of
from stages.deployment.examples import example_rows
from stages.deployment.predictor import DEFAULT_MAX_ROWS, Predictor, model_to_payload
from stages.deployment.serving import PREDICTOR, TOLERANCE, plain_rows, signed
from stages.training import Model, ModelFile

SAMPLE_ROWS = 20


@stage(uses=("serving",), num_cpus=0, effects=True)
def release(
    model: Model | ModelFile, app: str, canary: Canary | None = None, strategy: Strategy | None = None,
    sample: pa.Table | None = None, max_rows: int = DEFAULT_MAX_ROWS, replicas: int = 1, start_timeout_s: float = 120.0,
    num_cpus: float = 0.0, num_gpus: float = 0.0, load: Load | None = None, capture: Capture | None = None,
    forced: str = "",
) -> Release:  # fmt: skip
    """Let a model take over an application, as far as it does no worse than the version that answers now.

    The candidate is deployed beside that version and gets requests only when it is healthy. The first version of an
    application gets all requests at once. The same model again changes nothing.

    Args:
        app: Name of the application, also part of its URL.
        canary: How traffic moves, in steps; the default one if no ``strategy`` is given either.
        strategy: Another way: ``BlueGreen``, ``Shadow``, ``AB``.
        sample: Rows that the model has to answer, before anything is deployed, as it does offline; rows made from its
            inputs when not given.
        start_timeout_s: How long the candidate may take to become healthy; then it is sent back.
        max_rows, replicas, num_cpus, num_gpus, load, capture: As those of ``deploy``, for the candidate.
        forced: Why it goes out although it may not answer the sample, or did not pass what came before; recorded.

    Returns:
        The record: ``passed`` if the model answers all requests now, and why, or why not.

    Raises:
        ConfigError: another release of the application is under way, both a canary and a strategy were given, or the
            model does not answer the sample.
        ServingFailed: the versions that the release was moving requests between are gone, with their Ray.
    """
    if canary is not None and strategy is not None:
        raise ConfigError("release(…) takes canary= or strategy=, not both")
    plan = strategy or canary or Canary()
    payload = model_to_payload(model)
    if not forced:
        _check_sound(payload, model, sample)
    version = hashlib.blake2b(payload, digest_size=6).hexdigest()
    here = step()
    serving, router, kept = here.serving, here.routing, here.restored()
    serve = partial(
        serving.deploy, app=app, version=version, predictor=PREDICTOR, payload=payload, config={"max_rows": max_rows},
        replicas=replicas, num_cpus=num_cpus, num_gpus=num_gpus, load=load, capture=signed(capture, model),
        timeout_s=start_timeout_s,
    )  # fmt: skip
    now = router.traffic(app)
    id = hashlib.blake2b(here.key.encode(), digest_size=6).hexdigest()
    if kept is not None and now is None:
        raise ServingFailed(
            f"{app}: release {id} was under way when its Ray ended, and every version with it; run the pipeline again"
        )
    if kept is None and (now is None or (now.stable == version and now.phase != "baking")):
        serve()
        return without_another(router, id, app, version, plan, now, here.now(), forced)
    state = begin(id, app, version, plan, now, here.now(), forced=forced) if kept is None else state_from_json(kept)
    try:
        serve()
    except ServingFailed as error:
        if kept is None:
            return failed_at_start(state, now, error.message, here.now())
    return Carrier(serving, router, here.checkpoint, _Curves()).carry_out(state)


def _check_sound(payload: bytes, model: Model | ModelFile, sample: pa.Table | None) -> None:
    """The model is read as a replica reads it, and answers rows as it does offline."""
    predictor = Predictor(payload)  # what cannot be built here cannot be built in a replica
    rows = (example_rows(model) if sample is None else sample).slice(0, SAMPLE_ROWS).select(list(model.features.inputs))
    answers = np.array([number_of(answer) for answer in predictor.predict(plain_rows(rows))], dtype=float)
    expected = np.asarray(model.predict(rows), dtype=float)
    if answers.shape != expected.shape or not np.isfinite(answers).all():
        raise ConfigError(
            f"the model does not answer {rows.num_rows} sample rows with finite numbers; it is not released"
        )
    if not np.allclose(answers, expected, atol=TOLERANCE):
        raise ConfigError("the model answers sample rows otherwise than it does offline: not released")


class _Curves:
    """Reports how far a release is, whenever that changes."""

    def __init__(self) -> None:
        self._told: tuple[float, ...] = ()

    def __call__(self, state: ReleaseState) -> None:
        """Report it."""
        weight = state.trail.moments[-1].weight if state.trail.moments else 0.0
        told = (weight, float(state.step))
        if told != self._told:
            self._told = told
            step().report(weight=weight, step=state.step, requests=state.step_samples)


@stage(uses=("serving",), num_cpus=0, effects=True, timeout="5m")
def rollback(app: str, to: str | None = None) -> dict[str, Any]:
    """Give all requests of an application to its last good version, at once; a release under way ends.

    Args:
        to: The version to go back to, if it is not clear which.

    Returns:
        What the router does now: ``app``, ``version``, ``generation``.

    Raises:
        NotFound: nothing was released under this name, or there is no version to go back to.
        ConfigError: there are several to choose from.
    """
    here = step()
    traffic = send_back(here.serving, here.routing, app, to, by=f"{here.address} of run {here.run_id}")
    return {"app": app, "version": traffic.stable, "generation": traffic.generation}
