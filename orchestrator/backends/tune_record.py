"""What Ray Tune asks for points and tells about trials, turned into the record that outlives it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ray import tune
from ray.tune.search import Searcher as TuneSearcher

from orchestrator.backends.tune_trial import CHECKPOINT, ERROR, METRICS, NUMBER, OUTPUT, POINT, SETTINGS, VALUE
from orchestrator.ports.tune import Record, Searcher, Trial, TrialState

KEEP_S = 1.0
"""Checkpoints of running trials are kept no more often than this."""

LOST = "its worker was lost too often"


class Recorder(tune.Callback):
    """Keeps the record of all trials; proposes first what an earlier attempt began.

    Args:
        records: By number; changed in place.
        keep: Given all of them when a trial has ended, and now and then for checkpoints.
    """

    def __init__(self, searcher: Searcher, records: dict[int, Record], keep: Callable[[list[Record]], None]) -> None:
        self.adaptive = searcher.adaptive
        self._searcher = searcher
        self._records = records
        self._keep = keep
        self._kept_at = time.monotonic()
        self._begun = sorted(number for number, record in records.items() if not record.ended)
        self._recalled = frozenset(self._begun)
        self._next = max(records, default=-1) + 1
        self._numbers: dict[str, int] = {}
        for record in records.values():
            if record.ended:
                searcher.recall(record.trial.params, record.trial.value)

    def propose(self) -> dict[str, Any] | None:
        """Settings of the next trial; None when there are no more."""
        if self._begun:
            before = self._records[self._begun.pop(0)]
            reports = before.trial.reports if before.checkpoint else ()
            record = Record(before.number, Trial(before.trial.params, "stopped", reports=reports), False)
            checkpoint = before.checkpoint
        else:
            point = self._searcher.suggest(self._next)
            if point is None:
                return None
            record, checkpoint = Record(self._next, Trial(point, "stopped"), False), b""
            self._next += 1
        self._records[record.number] = record
        return {NUMBER: record.number, POINT: dict(record.trial.params), CHECKPOINT: checkpoint}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Remember who it is: a scheduler may give it the settings of another later."""
        self._numbers.setdefault(trial.trial_id, trial.config[SETTINGS][NUMBER])

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A report, or the end."""
        before = self._records[self._numbers[trial.trial_id]]
        reports = before.trial.reports
        if METRICS in result:
            reports = (*reports, result[METRICS])
        ended = Trial(result[POINT], "stopped", result.get(VALUE, before.trial.value), reports, result.get(ERROR, ""))
        checkpoint = result.get(CHECKPOINT, before.checkpoint)
        self._records[before.number] = Record(before.number, ended, False, result.get(OUTPUT, b""), checkpoint)
        if checkpoint and time.monotonic() - self._kept_at >= KEEP_S:
            self._keep_all()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """It returned, was stopped, or raised."""
        record = self._records[self._numbers[trial.trial_id]]
        self._end(record, "failed" if record.trial.error else "finished" if record.output else "stopped")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Its worker was lost, once too often; or it could not begin."""
        number = self._numbers.setdefault(trial.trial_id, trial.config[SETTINGS][NUMBER])
        self._end(self._records[number], "failed")

    def _end(self, record: Record, state: TrialState) -> None:
        trial, number = record.trial, record.number
        error = trial.error or LOST if state == "failed" else ""
        value = trial.value if state != "failed" else None
        ended = Trial(trial.params, state, value, trial.reports, error)
        self._records[number] = Record(number, ended, True, record.output)
        if number in self._recalled:
            self._searcher.recall(ended.params, ended.value)
        else:
            self._searcher.tell(number, ended.value)
        self._keep_all()

    def _keep_all(self) -> None:
        self._kept_at = time.monotonic()
        self._keep([self._records[number] for number in sorted(self._records)])


class Proposer(TuneSearcher):
    """Lets Tune ask for one trial after another, for searchers that learn from those before."""

    def __init__(self, recorder: Recorder, mode: str) -> None:
        super().__init__(metric=VALUE, mode=mode)
        self._recorder = recorder

    def suggest(self, trial_id: str) -> Any:
        """Settings of a trial."""
        settings = self._recorder.propose()
        return TuneSearcher.FINISHED if settings is None else {SETTINGS: settings}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the recorder hears it too, and tells the searcher."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the record is kept elsewhere."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: a new attempt begins with the record."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing: the record is kept elsewhere."""
