"""Releases and rollbacks as runs: what ``orc release``, ``orc rollback``, the pages and the API start.

Both are runs of ready pipelines, so one that is interrupted goes on when its run is resumed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orchestrator.app.handover import BACK, last_change, moves_back, moves_given, moves_out
from orchestrator.app.models import Models
from orchestrator.app.standing import running
from orchestrator.config.job import load_job
from orchestrator.errors import ConfigError, NotFound
from orchestrator.graph.handover import TagMove

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation
    from orchestrator.app.run import Run
    from orchestrator.app.runner import Runner
    from orchestrator.config.settings import Settings
    from orchestrator.ports.journal import RunRow

_RELEASING = "stages.pipelines.releasing"


class SendOut(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A release that is asked for. What is not said here is as in ``stages.pipelines.releasing.send_out``.

    Attributes:
        stage: Where the version has to stand; in production, once any version of the model was promoted.
        force: Past its stage and unsound; ``why`` is the reason, which is recorded.
        alias: Tag that the model gets when it answers all requests; ``beside`` are versions that get it with it.
        keep_tags: Leave tags where they are if it is sent back.
    """

    model: str
    app: str
    how: str = "canary"
    steps: tuple[float, ...] = (5, 25, 100)
    bake: str = "2m"
    rollback_if: str = ""
    min_samples: int = 100
    patience: str = "1h"
    replicas: int = 1
    max_replicas: int = 0
    num_gpus: float = 0.0
    max_batch_size: int = 1
    capture: str = ""
    capture_share: float = 0.01
    metric: str = ""
    split: float = 50
    better: str = "higher"
    horizon: str = "7d"
    min_effect: float | None = None
    slices: tuple[str, ...] = ()
    sample: str | None = None
    max_p99_ms: float = 100.0
    max_size_mib: float = 256.0
    stage: str | None = None
    force: bool = False
    why: str = ""
    alias: str = ""
    beside: tuple[str, ...] = ()
    keep_tags: bool = False


class SendBack(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rollback that is asked for.

    Attributes:
        to: The version to go back to, as the router calls it; tags stay where they are then.
        keep_tags: Leave tags where they are.
    """

    app: str
    to: str | None = None
    keep_tags: bool = False


def send_out(runner: Runner, asked: SendOut, key: str | None = None) -> Run:
    """Begin a release; the very version that is checked here goes out.

    Raises:
        ConfigError: what was asked for contradicts itself, or nothing is up that would outlive this process.
        NotFound: there is no such version.
        PromotionRefused: it stands below where a release takes it from.
    """
    check_order(asked)
    check_stays(runner.installation.settings)
    here = runner.installation
    version = Models(here).releasable(asked.model, asked.stage, asked.force)
    params = {**_params(asked), "model": version.address}
    params["promoted"] = _written(moves_out(here, version, asked.alias, asked.beside))
    params["sent_back"] = [] if asked.keep_tags else _written(moves_given(here, version))
    return start_ready(runner, f"{_RELEASING}:send_out", params, key)


def send_back(runner: Runner, asked: SendBack, key: str | None = None) -> Run:
    """Begin a rollback; one that was interrupted half way back goes on instead.

    Raises:
        ConfigError: nothing is up that would outlive this process.
    """
    here, app = runner.installation, asked.app
    check_stays(here.settings)
    half_way = half_way_back(here, app)
    if half_way is not None:
        return runner.resume(half_way.id)
    last = last_change(here, app)
    moves = [] if last is None or asked.to is not None or asked.keep_tags else moves_back(here, last)
    params = {"app": app, "moves": _written(moves)} | ({} if asked.to is None else {"to": asked.to})
    return start_ready(runner, f"{_RELEASING}:send_back", params, key)


def half_way_back(here: Installation, app: str) -> RunRow | None:
    """The run of a rollback of an application that was interrupted."""
    last = last_change(here, app)
    if last is None or last.pipeline != BACK or last.state != "running" or here.journal.owner(last.id) is not None:
        return None
    return last


def start_ready(runner: Runner, pipeline: str, params: Mapping[str, Any], key: str | None = None) -> Run:
    """Begin a run of a pipeline that comes with the stages."""
    written = [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in params.items()]
    job = load_job(pipeline, written)
    ready = job.pipeline.options(key=key)
    return runner.start(ready, job.params, ready.run_options)


def check_order(asked: SendOut) -> None:
    """Raises ConfigError if what was asked for contradicts itself."""
    if asked.beside and not asked.alias:
        raise ConfigError("--with names versions that get the tag of --alias, and there is none; add --alias champion")
    if asked.force and not asked.why.strip():
        raise ConfigError("to go past what does not hold takes a reason, which is recorded: --force --why TEXT")


def check_stays(settings: Settings) -> None:
    """What is served ends with its Ray, so there has to be one that outlives this process; raises ConfigError."""
    if settings.ray_address:
        return
    try:
        running(settings)
    except NotFound as error:
        raise ConfigError(
            f"what is served ends with its Ray, and none is up that would outlive this command ({error.message}); "
            "or name a cluster with ORC_RAY_ADDRESS"
        ) from None


def _params(asked: SendOut) -> dict[str, Any]:
    params: dict[str, Any] = {
        "app": asked.app, "how": asked.how, "steps": asked.steps, "bake": asked.bake,
        "rollback_if": asked.rollback_if, "min_samples": asked.min_samples, "patience": asked.patience,
        "replicas": asked.replicas, "max_replicas": asked.max_replicas, "num_gpus": asked.num_gpus,
        "max_batch_size": asked.max_batch_size, "capture": asked.capture, "capture_share": asked.capture_share,
    }  # fmt: skip
    if asked.how == "ab":
        params |= {"metric": asked.metric, "split": asked.split, "better": asked.better, "horizon": asked.horizon}
        params |= {"slices": asked.slices}
        params |= {} if asked.min_effect is None else {"min_effect": asked.min_effect}
    params |= {} if asked.sample is None else {"sample": asked.sample}
    if asked.force:
        return params | {"forced": asked.why}
    return params | {"max_p99_ms": asked.max_p99_ms, "max_size_bytes": int(asked.max_size_mib * 2**20)}


def _written(moves: Sequence[TagMove]) -> list[tuple[Any, ...]]:
    return [astuple(move) for move in moves]
