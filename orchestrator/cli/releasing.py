"""``orc release`` and ``orc rollback``: move the requests of a served application to another version, and back.

Both, and ``orc preview``, are runs of ready pipelines, so a release that is interrupted goes on with ``orc resume``,
and ``orc show`` tells what became of it.
"""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.app.releasing import SendBack, SendOut, half_way_back, send_back, send_out
from orchestrator.app.runner import Runner
from orchestrator.cli.output import note
from orchestrator.cli.release_options import (
    Alias,
    App,
    Bake,
    Beside,
    Better,
    CaptureFolder,
    CaptureShare,
    Force,
    Horizon,
    How,
    KeepTags,
    MaxBatchSize,
    MaxP99Ms,
    MaxReplicas,
    MaxSizeMib,
    Metric,
    MinEffect,
    MinSamples,
    NumGpus,
    Patience,
    Replicas,
    RollbackIf,
    Sample,
    Slices,
    Split,
    Stage,
    Steps,
    Version,
    Why,
)
from orchestrator.cli.running import Json, Quiet, TimeLimit, watch
from orchestrator.errors import ConfigError


def release(
    model: Version,
    app: App,
    how: How = "canary",
    steps: Steps = "5,25,100",
    bake: Bake = "2m",
    rollback_if: RollbackIf = "",
    min_samples: MinSamples = 100,
    patience: Patience = "1h",
    replicas: Replicas = 1,
    max_replicas: MaxReplicas = 0,
    num_gpus: NumGpus = 0.0,
    max_batch_size: MaxBatchSize = 1,
    capture: CaptureFolder = "",
    capture_share: CaptureShare = 0.01,
    metric: Metric = "",
    split: Split = 50,
    better: Better = "higher",
    horizon: Horizon = "7d",
    min_effect: MinEffect = None,
    slices: Slices = None,
    stage: Stage = None,
    sample: Sample = None,
    max_p99_ms: MaxP99Ms = 100.0,
    max_size_mib: MaxSizeMib = 256.0,
    force: Force = False,
    why: Why = "",
    alias: Alias = "",
    beside: Beside = None,
    keep_tags: KeepTags = False,
    timeout: TimeLimit = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Let a published model take over an application, watched; exit code 3 if it may not, or was sent back."""
    asked = SendOut(
        model=model, app=app, how=how, steps=_percents(steps), bake=bake, rollback_if=rollback_if,
        min_samples=min_samples, patience=patience, replicas=replicas, max_replicas=max_replicas, num_gpus=num_gpus,
        max_batch_size=max_batch_size, capture=capture, capture_share=capture_share, metric=metric, split=split,
        better=better, horizon=horizon, min_effect=min_effect, slices=tuple(slices or ()), sample=sample,
        max_p99_ms=max_p99_ms, max_size_mib=max_size_mib, stage=stage, force=force, why=why, alias=alias,
        beside=tuple(beside or ()), keep_tags=keep_tags,
    )  # fmt: skip
    runner = Runner()
    return watch(runner.installation, lambda: send_out(runner, asked), timeout, False, json, quiet)


def rollback(
    app: App,
    to: Annotated[
        str | None, typer.Option("--to", metavar="VERSION", help="as the router calls it; tags stay where they are")
    ] = None,
    keep_tags: KeepTags = False,
    timeout: TimeLimit = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Give all requests of an application, with its tags, to its last good version; a release under way ends."""
    runner, asked = Runner(), SendBack(app=app, to=to, keep_tags=keep_tags)
    half_way = half_way_back(runner.installation, app)
    if half_way is not None:
        note(f"run {half_way.id} was interrupted half way back; it goes on")
    return watch(runner.installation, lambda: send_back(runner, asked), timeout, False, json, quiet)


def _percents(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--steps {text}: write percents with commas between them, such as 5,25,100") from None
