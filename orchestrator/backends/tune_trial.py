"""A trial in the actor that Ray Tune gives it: the stage runs in a thread, and waits at each report to be let on.

So a scheduler decides about a trial before it does more, and an actor takes one trial after another.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from random import Random
from typing import Any, Protocol

from ray import tune

from orchestrator.graph.context import StepContext, active

STOP_S = 5.0
"""How long an ended trial may take to clean up before its actor is replaced."""

SETTINGS = "orc"
NUMBER = "orc_number"
POINT = "orc_point"
VALUE = "orc_value"
METRICS = "orc_metrics"
OUTPUT = "orc_output"
CHECKPOINT = "orc_checkpoint"
ERROR = "orc_error"
"""Keys of what Tune carries: of a trial's settings, which are under the first, and of its results."""

_POLL_S = 1.0


class Source(Protocol):
    """Code and values of the run."""

    def function(self, reference: str) -> Any:
        """The function of a stage of the run."""
        ...

    def encode(self, value: Any) -> bytes:
        """Store a value; gives its stored form, which is small."""
        ...

    def load(self, stored: bytes) -> Any:
        """The value of a stored form."""
        ...


@dataclass(frozen=True, slots=True)
class Task:
    """What all trials of a sweep have in common; ``given`` is the stored form of the shared arguments."""

    source: Source
    stage: str
    given: bytes
    metric: str
    name: str
    seed: int


class TrialEnded(BaseException):
    """Raised in a trial's thread, at its next report, when nobody wants it to go on."""


class Body(threading.Thread):
    """The stage of one trial, running; it moves only between ``next`` and the result that this gives."""

    def __init__(self, task: Task, function: Any, given: Any, settings: Mapping[str, Any], restored: bytes) -> None:
        super().__init__(name=f"trial {settings[NUMBER]}", daemon=True)
        self.kept = restored
        self._task = task
        self._function = function
        self._given = given
        self._settings = settings
        self._results: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._go = threading.Semaphore(0)
        self._ended = False

    def next(self) -> dict[str, Any]:
        """Let it run to its next report or its end."""
        if self.ident is None:
            self.start()
        self._go.release()
        while True:
            try:
                return self._results.get(timeout=_POLL_S)
            except Empty:
                if not self.is_alive() and self._results.empty():
                    raise RuntimeError(f"{self.name} of {self._task.name} ended without a result") from None

    def end(self) -> bool:
        """End it at its next report; False if it does not."""
        self._ended = True
        if self.ident is None:
            return True
        self._go.release()
        self.join(STOP_S)
        return not self.is_alive()

    def run(self) -> None:
        """The body of the thread."""
        self._go.acquire()
        number = self._settings[NUMBER]
        seed = Random(f"{self._task.seed}/{number}").getrandbits(63)
        context = StepContext(
            self._task.name,
            "trial",
            number,
            seed=seed,
            on_report=self._reported,
            save=self._save,
            restore=self._restore,
        )
        try:
            with active(context):
                outcome = self._function(self._settings[POINT], self._given)
            stored = self._task.source.encode(outcome)
            self._results.put({VALUE: outcome.value, OUTPUT: stored, tune.result.DONE: True})
        except TrialEnded:
            return
        except BaseException as error:
            self._results.put({ERROR: f"{type(error).__name__}: {error}", tune.result.DONE: True})

    def _reported(self, metrics: Mapping[str, float]) -> None:
        result: dict[str, Any] = {METRICS: dict(metrics), CHECKPOINT: self.kept}
        if self._task.metric in metrics:
            result[VALUE] = metrics[self._task.metric]
        self._results.put(result)
        self._go.acquire()
        if self._ended:
            raise TrialEnded

    def _save(self, value: Any) -> None:
        self.kept = self._task.source.encode(value)

    def _restore(self) -> Any:
        return self._task.source.load(self.kept) if self.kept else None


class StageTrainable(tune.Trainable):
    """One actor of a sweep; see Ray Tune's class ``Trainable`` for the methods."""

    def setup(self, config: dict[str, Any], task: Task | None = None) -> None:
        """Find the code and the shared arguments, once an actor."""
        assert task is not None
        self._task = task
        self._function = task.source.function(task.stage)
        self._given = task.source.load(task.given)
        self._body = self._fresh(config[SETTINGS][CHECKPOINT])

    def step(self) -> dict[str, Any]:
        """To the next report or the end."""
        return {**self._body.next(), POINT: self.config[SETTINGS][POINT]}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take another trial; or the same with other parameters."""
        ended = self._body.end()
        self.config = new_config
        self._body = self._fresh(new_config[SETTINGS][CHECKPOINT])
        return ended

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """What the stage kept last."""
        return {CHECKPOINT: self._body.kept}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Go on from what a stage kept, maybe that of another trial."""
        self._body.end()
        self._body = self._fresh((checkpoint or {}).get(CHECKPOINT, b""))

    def cleanup(self) -> None:
        """The actor is about to go."""
        self._body.end()

    def _fresh(self, kept: bytes) -> Body:
        return Body(self._task, self._function, self._given, self.config[SETTINGS], kept)
