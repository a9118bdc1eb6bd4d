"""``orc release`` and ``orc rollback``: move the requests of a served application to another version, and back.

Both are runs of ready pipelines, so a release that is interrupted goes on with ``orc resume``,
and ``orc show`` tells what became of it.
"""

from __future__ import annotations

import json as json_text
from collections.abc import Sequence
from dataclasses import astuple
from typing import Annotated, Any

import typer

from orchestrator.app.handover import BACK, last_change, moves_back, moves_given, moves_out
from orchestrator.app.models import Models
from orchestrator.app.runner import Runner
from orchestrator.app.standing import running
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
from orchestrator.config.job import load_job
from orchestrator.config.settings import Settings
from orchestrator.errors import ConfigError, NotFound
from orchestrator.graph.handover import TagMove

_RELEASING = "stages.pipelines.releasing"


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
    if beside and not alias:
        raise ConfigError("--with names versions that get the tag of --alias, and there is none; add --alias champion")
    if force and not why.strip():
        raise ConfigError("to go past what does not hold takes a reason, which is recorded: --force --why TEXT")
    params: dict[str, Any] = {
        "app": app, "how": how, "steps": _percents(steps), "bake": bake, "rollback_if": rollback_if,
        "min_samples": min_samples, "patience": patience, "replicas": replicas,
        "max_replicas": max_replicas, "num_gpus": num_gpus, "max_batch_size": max_batch_size, "capture": capture,
        "capture_share": capture_share,
    }  # fmt: skip
    if how == "ab":
        params |= {"metric": metric, "split": split, "better": better, "horizon": horizon, "slices": slices or []}
        params |= {} if min_effect is None else {"min_effect": min_effect}
    params |= {} if sample is None else {"sample": sample}
    params |= {"forced": why} if force else {"max_p99_ms": max_p99_ms, "max_size_bytes": int(max_size_mib * 2**20)}
    runner = standing_runner()
    version = Models(runner.installation).releasable(model, stage, force)  # the very version that is checked goes out
    params["promoted"] = _written(moves_out(runner.installation, version, alias, beside or []))
    params["sent_back"] = [] if keep_tags else _written(moves_given(runner.installation, version))
    return run_ready(runner, f"{_RELEASING}:send_out", {"model": version.address, **params}, timeout, json, quiet)


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
    runner = standing_runner()
    here = runner.installation
    last = last_change(here, app)
    if last is not None and last.pipeline == BACK and last.state == "running" and here.journal.owner(last.id) is None:
        note(f"run {last.id} was interrupted half way back; it goes on")
        return watch(here, lambda: runner.resume(last.id), timeout, False, json, quiet)
    moves = [] if last is None or to is not None or keep_tags else moves_back(here, last)
    params = {"app": app, "moves": _written(moves)} | ({} if to is None else {"to": to})
    return run_ready(runner, f"{_RELEASING}:send_back", params, timeout, json, quiet)


def _written(moves: Sequence[TagMove]) -> list[tuple[Any, ...]]:
    return [astuple(move) for move in moves]


def standing_runner() -> Runner:
    """A runner, if there is a Ray that outlives this command."""
    runner = Runner()
    check_stays(runner.installation.settings)
    return runner


def run_ready(
    runner: Runner, pipeline: str, params: dict[str, Any], timeout: str | None, json: bool, quiet: bool
) -> int:
    """Run a ready pipeline to its end, as ``orc run`` does."""
    written = [f"{key}={value if isinstance(value, str) else json_text.dumps(value)}" for key, value in params.items()]
    job = load_job(pipeline, written)
    return watch(
        runner.installation,
        lambda: runner.start(job.pipeline, job.params, job.pipeline.run_options),
        timeout, False, json, quiet,
    )  # fmt: skip


def check_stays(settings: Settings) -> None:
    """Raises ConfigError if there is no Ray that outlives this command: what is served ends with it."""
    if settings.ray_address:
        return
    try:
        running(settings)
    except NotFound as error:
        raise ConfigError(
            f"what is served ends with its Ray, and none is up that would outlive this command ({error.message}); "
            "or name a cluster with ORC_RAY_ADDRESS"
        ) from None


def _percents(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--steps {text}: write percents with commas between them, such as 5,25,100") from None
