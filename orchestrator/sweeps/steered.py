"""The body of a steered sweep: one step that drives Ray Tune, and keeps what is known of its trials as a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import ArtifactMissing
from orchestrator.graph.context import step
from orchestrator.graph.stage import Stage
from orchestrator.ports.tune import Mode, Record, Scheduler, Space, Tune, TuneTask
from orchestrator.sweeps.result import Best, best_place
from orchestrator.sweeps.search import SearcherName, create_searcher


@dataclass(frozen=True, slots=True)
class Steering:
    """How the trials of a sweep are steered; see ``ports.tune``."""

    scheduler: Scheduler | None
    checkpoint: bool


def steer(
    trial: Stage[..., Any],
    over: Mapping[str, Space],
    given: Mapping[str, Any],
    metric: str,
    mode: Mode,
    trials: int,
    searcher: SearcherName,
    concurrency: int,
    steering: Steering,
) -> Best[Any]:
    """Run a sweep on ``step().tune``; trials that had ended in an earlier attempt are not run again.

    Raises:
        StepError: no trial came to a value.
    """
    context = step()
    tune: Tune = context.tune
    known = _still_there(tune, context.restored() or [])
    asked = create_searcher(searcher, over, mode, context.seed)
    if known and asked.adaptive:
        asked = create_searcher(searcher, over, mode, context.seed + len(known))  # not the same beginning once more
    task = TuneTask(
        stage=trial.spec.ref,
        spaces=over,
        given=given,
        metric=metric,
        mode=mode,
        trials=trials,
        resources=trial.policy.resources,
        scheduler=steering.scheduler,
        checkpoints=steering.checkpoint,
        concurrency=concurrency,
        name=re.sub(r"[^A-Za-z0-9._-]+", "-", f"{context.run_id}-{context.node}-{context.index}"),
        seed=context.seed,
    )
    records = tune.run(task, asked, known, context.checkpoint)
    found = [record.trial for record in records]
    place = best_place(found, mode, trial.name)
    best = found[place]
    assert best.value is not None
    return Best(best.params, tune.load(records[place].output).output, best.value, found, metric, mode)


def _still_there(tune: Tune, known: Iterable[Record]) -> list[Record]:
    """Without trials whose output was collected since: nothing but this step refers to them."""
    found: list[Record] = []
    for record in known:
        try:
            for stored in filter(None, (record.output, record.checkpoint)):
                tune.load(stored)
        except ArtifactMissing:
            continue
        found.append(record)
    return found
