"""Releases by hand: a published model goes out to an application, or an application goes back. For ``orc release``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator import pipeline, stage, version, when
from orchestrator.errors import ConfigError
from stages.deployment import (
    Autoscaling,
    BlueGreen,
    Canary,
    Capture,
    Load,
    Release,
    Shadow,
    Strategy,
    release,
    rollback,
)


@stage
def say(record: Release) -> str:
    """The record of a release in words; the release step keeps the record itself."""
    return record.text().rstrip()


@pipeline
def send_out(
    model: str,
    app: str,
    how: str = "canary",
    steps: Sequence[float] = (5, 25, 100),
    bake: str = "2m",
    rollback_if: str = "",
    min_samples: int = 100,
    patience: str = "1h",
    replicas: int = 1,
    num_gpus: float = 0.0,
    max_replicas: int = 0,
    max_batch_size: int = 1,
    capture: str = "",
    capture_share: float = 0.01,
) -> str:
    """Let a published model take over an application.

    Args:
        model: A version: ``model:flights``, ``model:flights@v3``, ``model:flights@staging``.
        app: Name of the application.
        how: ``canary``, ``blue-green`` or ``shadow``.
        steps: Percent of the requests at each step of a canary; the share that is copied, for a shadow, is the last.
        bake: How long each step is watched at least.
        rollback_if: Limits that send everything back, such as ``error_rate > 0.01 or p95_ms > 80``.
        min_samples: Requests that the candidate has to have answered in a step before the next.
        patience: How long after the bake a step waits for those; then everything goes back.
        replicas: Of the candidate; the least, if ``max_replicas`` is given.
        num_gpus: What each of them reserves, also a part of one.
        max_replicas: As many there may be if there is much to do; 0 for always ``replicas``.
        max_batch_size: Requests that are answered in one call of the model.
        capture: Folder or URL where a share of the requests is kept with their answers; none if empty.
        capture_share: That share, up to 1.

    Returns:
        The record of the release in words.
    """
    watched: dict[str, Any] = {"bake": bake, "min_samples": min_samples, "patience": patience}
    if rollback_if:
        watched["rollback_if"] = rollback_if
    strategy: Strategy
    match how:
        case "canary":
            strategy = Canary(steps=tuple(steps), **watched)
        case "blue-green":
            strategy = BlueGreen(**watched)
        case "shadow":
            strategy = Shadow(percent=steps[-1], **watched)
        case _:
            raise ConfigError(f"how={how!r}: write canary, blue-green or shadow")
    scaling = Autoscaling(max_replicas, min_replicas=replicas) if max_replicas else None
    sent = release(
        version(model), app, strategy=strategy, replicas=1 if scaling else replicas, num_gpus=num_gpus,
        load=Load(max_batch_size=max_batch_size, autoscaling=scaling),
        capture=Capture(capture, capture_share) if capture else None,
    )  # fmt: skip
    return when(sent.passed, then=lambda: say(sent), otherwise=lambda: say(sent))


@pipeline
def send_back(app: str, to: str | None = None) -> dict[str, Any]:
    """Give all requests of an application to its last good version.

    Args:
        to: The version to go back to, if it is not clear which.
    """
    return rollback(app, to)
