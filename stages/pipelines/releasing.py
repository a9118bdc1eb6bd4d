"""Releases by hand: a published model goes out to an application, or an application goes back. For ``orc release``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from orchestrator import pipeline, stage, version, when
from orchestrator.errors import ConfigError
from stages.deployment import (
    AB,
    Autoscaling,
    BlueGreen,
    Canary,
    Capture,
    Handover,
    Load,
    Release,
    Shadow,
    Strategy,
    check_soundness,
    hand_back,
    hand_over,
    release,
    rollback,
)
from stages.deployment.handing import Moves
from stages.validation import GateRecord


@stage
def say(record: Release, handed: Handover) -> str:
    """The record of a release in words, with the tags that moved; the release step keeps the record itself."""
    return "\n".join([record.text().rstrip(), *(f"  tag      {move}" for move in handed.moves)])


@stage
def refuse(record: GateRecord) -> str:
    """What is wrong with a model that does not go out."""
    return "\n".join(["not released, because the model is not sound:", *(f"  {why}" for why in record.reasons)])


@pipeline
def send_out(
    model: str, app: str, how: str = "canary", steps: Sequence[float] = (5, 25, 100), bake: str = "2m",
    rollback_if: str = "", min_samples: int = 100, patience: str = "1h", replicas: int = 1, num_gpus: float = 0.0,
    max_replicas: int = 0, max_batch_size: int = 1, capture: str = "", capture_share: float = 0.01, metric: str = "",
    split: float = 50, better: Literal["higher", "lower"] = "higher", horizon: str = "7d",
    min_effect: float | None = None, slices: Sequence[str] = (), sample: str | None = None, max_p99_ms: float = 100.0,
    max_size_bytes: int = 256 * 2**20, forced: str = "", promoted: Moves = (), sent_back: Moves = (),
) -> str:  # fmt: skip
    """Let a published model take over an application, if it is sound.

    Args:
        model: A version: ``model:flights``, ``model:flights@v3``, ``model:flights@staging``.
        app: Name of the application.
        how: ``canary``, ``blue-green``, ``shadow`` or ``ab``.
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
        metric, split, better, horizon, min_effect, slices: Of an A/B experiment, see ``AB``.
        sample, max_p99_ms, max_size_bytes: What the model is asked with before, and its limits, see
            ``check_soundness``.
        forced: Why it goes out without being asked; stands in the record.
        promoted, sent_back: Tags that move if it answers all requests in the end, or if it was sent back.

    Returns:
        The record of the release in words, or what is wrong with the model.
    """
    watched: dict[str, Any] = {"bake": bake, "min_samples": min_samples, "patience": patience}
    if rollback_if:
        watched["rollback_if"] = rollback_if
    experiment = {"metric": metric, "split": split, "better": better, "horizon": horizon, "min_effect": min_effect}
    strategy = _strategy(how, tuple(steps), watched, {**experiment, "slices": tuple(slices)})
    scaling = Autoscaling(max_replicas, min_replicas=replicas) if max_replicas else None

    def send() -> str:
        sent = release(
            version(model), app, strategy=strategy, replicas=1 if scaling else replicas, num_gpus=num_gpus,
            load=Load(max_batch_size=max_batch_size, autoscaling=scaling),
            capture=Capture(capture, capture_share) if capture else None, forced=forced,
        )  # fmt: skip
        handed = hand_over(sent, promoted, sent_back)
        return when(sent.passed, then=lambda: say(sent, handed), otherwise=lambda: say(sent, handed))

    if forced:
        return send()
    rows = None if sample is None else version(sample)
    sound = check_soundness(version(model), rows, max_p99_ms=max_p99_ms, max_size_bytes=max_size_bytes)
    return when(sound.passed, then=send, otherwise=lambda: refuse(sound))


def _strategy(how: str, steps: tuple[float, ...], watched: dict[str, Any], experiment: dict[str, Any]) -> Strategy:
    match how:
        case "canary":
            return Canary(steps=steps, **watched)
        case "blue-green":
            return BlueGreen(**watched)
        case "shadow":
            return Shadow(percent=steps[-1], **watched)
        case "ab":
            return AB(**experiment, **watched)
    raise ConfigError(f"how={how!r}: write canary, blue-green, shadow or ab")


@pipeline
def send_back(app: str, to: str | None = None, moves: Moves = ()) -> dict[str, Any]:
    """Give all requests of an application to its last good version.

    Args:
        to: The version to go back to, if it is not clear which.
        moves: Tags that go back with them.
    """
    gone = rollback(app, to)
    return {"router": gone, "tags": hand_back(gone, moves).moves}
