"""``orc release`` and ``orc rollback``: move the requests of a served application to another version, and back.

Both, and ``orc preview``, are runs of ready pipelines, so a release that is interrupted goes on with ``orc resume``,
and ``orc show`` tells what became of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.app.checkout import git_branch
from orchestrator.app.installation import Installation
from orchestrator.app.releasing import SendBack, SendOut, check_stays, half_way_back, send_back, send_out, start_ready
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
from orchestrator.errors import ConfigError, NotFound
from orchestrator.types import seconds

_PREVIEWING = "stages.pipelines.previewing"


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


def preview(
    target: Annotated[
        str | None,
        typer.Argument(metavar="[VERSION|RUN]", help="model:NAME, then @v3 or @TAG; or the run that made it"),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="of the preview (default: the git branch, or the run)")
    ] = None,
    lasts: Annotated[str, typer.Option("--for", metavar="DURATION", help="how long it answers")] = "2h",
    remove: Annotated[str | None, typer.Option("--remove", metavar="NAME", help="end a preview now")] = None,
    listed: Annotated[bool, typer.Option("--list", help="say which there are")] = False,
    timeout: TimeLimit = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Serve a model for a while under a name of its own, list what is served so, or end it."""
    if (target is not None) + (remove is not None) + listed != 1:
        raise ConfigError("say what to show (orc preview model:NAME@v3, or a run), or --list, or --remove NAME")
    if listed:
        return _run(_standing_runner(), f"{_PREVIEWING}:look", {}, timeout, json, quiet)
    if remove is not None:
        return _run(_standing_runner(), f"{_PREVIEWING}:remove", {"name": remove}, timeout, json, quiet)
    lasts_s = seconds(lasts)
    model, of_run = _previewed(Installation(), target or "")
    params = {"model": model, "name": name or of_run or git_branch(Path.cwd()) or model, "lasts_s": lasts_s}
    return _run(_standing_runner(), f"{_PREVIEWING}:show", params, timeout, json, quiet)


def _previewed(here: Installation, target: str) -> tuple[str, str]:
    """The version to show, and the run if that was named."""
    if target.startswith("model:"):
        return target, ""
    run = here.journal.run(target).id
    made = [version.address for version in here.registry.versions() if version.run == run]
    models = [address for address in made if address.startswith("model:")]
    if len(models) == 1:
        return models[0], run
    if models:
        raise ConfigError(f"run {run} published {', '.join(models)}; name the one to show")
    raise NotFound(
        f"no model version is from run {run}; give the stage that makes one publish='model:NAME', or name the version, "
        "which may be of an earlier run that made the same: orc models"
    )


def _standing_runner() -> Runner:
    runner = Runner()
    check_stays(runner.installation.settings)
    return runner


def _run(runner: Runner, pipeline: str, params: dict[str, Any], timeout: str | None, json: bool, quiet: bool) -> int:
    return watch(runner.installation, lambda: start_ready(runner, pipeline, params), timeout, False, json, quiet)


def _percents(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--steps {text}: write percents with commas between them, such as 5,25,100") from None
