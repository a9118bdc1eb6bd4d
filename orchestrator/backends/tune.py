"""Sweeps on Ray Tune: its controller decides about trials, and nothing that it remembers is needed again.

What is known of the trials is kept by the caller, in the journal; outputs and checkpoints are artifacts. Tune's own
folder holds what it moves between actors, and goes when the sweep is over.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from orchestrator.backends.quiet import environment
from orchestrator.ports.tune import Asha, Choice, Range, Record, Searcher, Space, TuneTask

if TYPE_CHECKING:
    from orchestrator.backends.tune_record import Recorder
    from orchestrator.backends.tune_trial import Source

DEATHS = 3
"""How often a trial may lose its worker."""

_QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "TUNE_MAX_PENDING_TRIALS_PG": "2",
    "TUNE_WARN_THRESHOLD_S": "86400",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}
"""Tune writes no logs and no state of its own, and starts few actors at a time: each costs a second."""


class RayTune:
    """See ``ports.tune.Tune``.

    Args:
        source: Where trials get code and values from.
        folder: Where Tune may write; on a cluster of several machines it has to be shared by them.
    """

    def __init__(self, source: Source, folder: Path) -> None:
        self._source = source
        self._folder = folder

    def run(
        self, task: TuneTask, searcher: Searcher, known: Sequence[Record], keep: Callable[[list[Record]], None]
    ) -> list[Record]:
        """See ``Tune``."""
        remaining = task.trials - sum(record.ended for record in known)
        records = {record.number: record for record in known}
        if remaining <= 0:
            return _in_order(records)
        with environment(_QUIET):
            from orchestrator.backends.tune_record import Recorder

            self._run(task, Recorder(searcher, records, keep), remaining)
        return _in_order(records)

    def _run(self, task: TuneTask, recorder: Recorder, count: int) -> None:
        from ray import tune

        from orchestrator.backends import tune_trial
        from orchestrator.backends.tune_record import Proposer

        shared = tune_trial.Task(
            self._source, task.stage, self._source.encode(dict(task.given)), task.metric, task.name, task.seed
        )
        first: list[Any] = []
        if not recorder.adaptive:
            first = [settings for _ in range(count) if (settings := recorder.propose()) is not None]
        try:
            tune.run(
                tune.with_parameters(tune_trial.StageTrainable, task=shared),
                name=task.name,
                mode=task.mode,
                metric=tune_trial.VALUE,
                config={} if recorder.adaptive else {tune_trial.SETTINGS: tune.grid_search(first)},
                num_samples=count if recorder.adaptive else 1,
                search_alg=Proposer(recorder, task.mode) if recorder.adaptive else None,
                scheduler=_scheduler(task),
                callbacks=[recorder],
                resources_per_trial=_resources(task),
                storage_path=str(self._folder),
                trial_dirname_creator=lambda trial: trial.trial_id,
                checkpoint_config=tune.CheckpointConfig(
                    checkpoint_frequency=1 if task.checkpoints else 0, checkpoint_at_end=False
                ),
                max_failures=DEATHS,
                reuse_actors=True,
                raise_on_failed_trial=False,
                max_concurrent_trials=task.concurrency or None,
                verbose=0,
            )
        finally:
            shutil.rmtree(self._folder / task.name, ignore_errors=True)

    def load(self, stored: bytes) -> Any:
        """See ``Tune``."""
        return self._source.load(stored)


def _in_order(records: Mapping[int, Record]) -> list[Record]:
    return [records[number] for number in sorted(records)]


def _resources(task: TuneTask) -> Any:
    from ray import tune

    needs = task.resources
    bundle = {"CPU": needs.num_cpus, "GPU": needs.num_gpus, "memory": needs.memory or 0, **needs.resources}
    return tune.PlacementGroupFactory([{name: amount for name, amount in bundle.items() if amount} or {"CPU": 0.001}])


def _scheduler(task: TuneTask) -> Any:
    from ray.tune import schedulers

    from orchestrator.backends.tune_trial import POINT, SETTINGS

    settings = task.scheduler
    if settings is None:
        return None
    if isinstance(settings, Asha):
        return schedulers.AsyncHyperBandScheduler(
            max_t=settings.max_t,
            grace_period=settings.grace_period,
            reduction_factor=settings.reduction_factor,
            stop_last_trials=False,
        )
    drawn = Random(task.seed)

    def explore(config: dict[str, Any]) -> dict[str, Any]:
        """Changed parameters, brought back into their ranges."""
        settings = config[SETTINGS]
        point = {name: within(task.spaces[name], value) for name, value in settings[POINT].items()}
        return {**config, SETTINGS: {**settings, POINT: point}}

    return schedulers.PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=settings.perturbation_interval,
        quantile_fraction=settings.quantile_fraction,
        resample_probability=settings.resample_probability,
        hyperparam_mutations={SETTINGS: {POINT: {n: _mutation(space, drawn) for n, space in task.spaces.items()}}},
        custom_explore_fn=explore,
        require_attrs=False,
        synch=settings.synch,
        log_config=False,
    )


def _mutation(space: Space, drawn: Random) -> Any:
    """What Tune draws new values of a parameter from."""
    if isinstance(space, Choice):
        return list(space.values)
    low, high, log, whole = space.low, space.high, space.log, space.whole

    def draw() -> Any:
        part = drawn.random()
        value = low * (high / low) ** part if log else low + (high - low) * part
        return within(space, round(value) if whole else value)

    return draw


def within(space: Space, value: Any) -> Any:
    """The value itself, or the nearest of the space."""
    if not isinstance(space, Range):
        return value
    value = min(max(value, space.low), space.high)
    if space.step:
        value = space.low + round((value - space.low) / space.step) * space.step
        value = value - space.step if value > space.high else value
    return round(value) if space.whole else value
