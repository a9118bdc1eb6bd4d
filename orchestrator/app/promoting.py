"""Promotion of a model version: past the gates of its run and, on its way up, past soundness checks in a run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orchestrator.app.models import Models
from orchestrator.app.outputs import Outputs
from orchestrator.app.releasing import start_ready
from orchestrator.ports.promotion import GateCheck, Promotion, needs_checks

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation
    from orchestrator.app.models import ModelVersion
    from orchestrator.app.run import Run
    from orchestrator.app.runner import Runner

_SOUNDNESS = "stages.pipelines.promoting:examine"
_RELATION = {"<=": "at most", "<": "below", ">=": "at least", ">": "above"}


class Promote(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A promotion that is asked for.

    Attributes:
        model: The version, ``flights@v3``.
        to: ``staging``, ``production`` or ``dev``.
        by: Who asks.
        force: Although checks did not pass; ``why`` is the reason, which is recorded.
        alias: Tag that it gets at once.
        sample, max_p99_ms, max_size_mib: What the model is asked with, and its limits.
    """

    model: str
    to: str
    by: str
    why: str = ""
    force: bool = False
    alias: str = ""
    sample: str | None = None
    max_p99_ms: float = 100.0
    max_size_mib: float = 256.0


def promote(runner: Runner, asked: Promote) -> Promotion:
    """Move a version, after the checks that this takes; returns when it is done.

    Raises:
        NotFound: there is no such version.
        ConfigError: there is no such stage, the alias cannot be one, or ``force`` comes without a reason.
        PromotionRefused: it may not go there.
    """
    known = Models(runner.installation)
    version, wanted = known.wanted(asked.model, asked.to, asked.by, asked.why, asked.force, asked.alias)
    if needs_checks(known.standing(version.row.name), version.row.number, wanted.to):
        run = examine(runner, version, asked).wait()
        checks = (*version.gates, *soundness_of(runner.installation, run.id))
        wanted = replace(wanted, checks=checks, run=run.id)
    return known.promote(wanted)


def examine(runner: Runner, version: ModelVersion, asked: Promote) -> Run:
    """Begin the run of the soundness checks."""
    params: dict[str, Any] = {"model": version.address} | ({} if asked.sample is None else {"sample": asked.sample})
    limits = {"max_p99_ms": asked.max_p99_ms, "max_size_bytes": int(asked.max_size_mib * 2**20)}
    return start_ready(runner, _SOUNDNESS, params | limits)


def soundness_of(here: Installation, run: str) -> list[GateCheck]:
    """What the run of the soundness checks found."""
    fold = here.fold(run)
    if fold.finished is None or fold.finished.state != "succeeded":
        return [GateCheck("soundness", False, fold.finished.reason if fold.finished else f"run {run} has not ended")]
    record = Outputs(here, fold).result()
    return [GateCheck(found["check"], found["passed"], _said(found)) for found in record["findings"]]


def _said(finding: dict[str, Any]) -> str:
    if not finding["passed"]:
        return str(finding["why"]).removeprefix(finding["check"]).strip()
    limit = finding["threshold"]
    wanted = "" if limit is None else f", {_RELATION[finding['relation']]} {_shown(limit)}"
    return f"{_shown(finding['measured'])}{wanted}"


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
