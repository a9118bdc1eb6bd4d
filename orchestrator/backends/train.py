"""Trainings on Ray Train: it places the processes and connects them, and nothing that it remembers is needed again.

When a process dies, Ray Train is started anew from the last checkpoint, which is the step's own: so the death of a
process and that of the step or its driver are the same case.
"""

from __future__ import annotations

import shutil
import threading
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.backends.quiet import environment
from orchestrator.errors import BackendError

if TYPE_CHECKING:
    from orchestrator.backends.tune_trial import Source

DEATHS = 3
"""How often a training may lose a process."""

TAKE_S = 0.2
"""How often what the processes say is asked for."""

_QUIET = {
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}


class RayTrain:
    """See ``ports.train.Train``.

    Args:
        source: Where processes get code and values from.
        folder: Where Ray Train may write; on a cluster of several machines it has to be shared by them.
    """

    def __init__(self, source: Source, folder: Path) -> None:
        self._source = source
        self._folder = folder

    def run(
        self,
        *,
        work: str,
        given: Any,
        workers: int,
        resources: Mapping[str, float],
        restored: Any,
        report: Callable[[Mapping[str, float]], None],
        keep: Callable[[Any], None],
    ) -> Any:
        """See ``Train``."""
        import ray

        from orchestrator.backends.train_worker import Post, Shared

        first = b"" if restored is None else self._source.encode(restored)
        post: Any = ray.remote(num_cpus=0)(Post).remote(first)
        shared = Shared(self._source, work, self._source.encode(given), post)
        said = _Said(self._source, post, report, keep)
        try:
            for _ in range(1 + DEATHS):
                failure = self._once(shared, workers, resources, said)
                said.take()
                if failure is None:
                    return self._source.load(said.outcome)
                _raise_own(failure)
        finally:
            ray.kill(post)  # one that nobody waits for any more ends when it next says something
        raise BackendError(f"a training of {workers} processes lost one {1 + DEATHS} times: {failure}")

    def _once(self, shared: Any, workers: int, resources: Mapping[str, float], said: _Said) -> Exception | None:
        """Let Ray Train run until it ends; gives the error that it ended with."""
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer

        from orchestrator.backends.train_worker import SHARED, work

        name = f"train-{uuid.uuid4().hex}"  # under one it knows, it would go on from files of its own
        with environment(_QUIET):
            trainer = TorchTrainer(
                work,
                train_loop_config={SHARED: shared},
                torch_config=TorchConfig(backend="nccl" if resources.get("GPU") else "gloo"),
                scaling_config=ScalingConfig(
                    num_workers=workers, use_gpu=bool(resources.get("GPU")), resources_per_worker=dict(resources)
                ),
                run_config=RunConfig(
                    name=name, storage_path=str(self._folder), failure_config=FailureConfig(max_failures=0)
                ),
            )
            fitting = _Fitting(trainer)
            fitting.start()
            try:
                while fitting.is_alive():
                    said.take()
                    fitting.join(TAKE_S)
            finally:
                shutil.rmtree(self._folder / name, ignore_errors=True)
        return fitting.failure


class _Fitting(threading.Thread):
    """Ray Train's own call, which ends with the training; it ends with this process if nobody waits for it."""

    def __init__(self, trainer: Any) -> None:
        super().__init__(name="ray train", daemon=True)
        self.failure: Exception | None = None
        self._trainer = trainer

    def run(self) -> None:
        """The body of the thread."""
        try:
            self._trainer.fit()
        except Exception as error:
            self.failure = error


class _Said:
    """What rank 0 has said, passed on to the step in this thread."""

    def __init__(
        self,
        source: Source,
        post: Any,
        report: Callable[[Mapping[str, float]], None],
        keep: Callable[[Any], None],
    ) -> None:
        self.outcome = b""
        self._source = source
        self._post = post
        self._report = report
        self._keep = keep

    def take(self) -> None:
        """Pass on what has come."""
        import ray

        for posted in ray.get(self._post.take.remote()):
            self.outcome = posted.outcome or self.outcome
            if posted.metrics is not None:
                self._report(posted.metrics)
            if posted.checkpoint:
                self._keep(self._source.load(posted.checkpoint))


def _raise_own(failure: Exception) -> None:
    """Raise what the function raised; return if a process died, which the others see as a broken connection."""
    from ray.train import WorkerGroupError

    if not isinstance(failure, WorkerGroupError):
        raise BackendError(f"Ray Train failed: {failure}") from failure
    raised = list(failure.worker_failures.values())
    died = any(type(error).__module__.startswith("ray.") for error in raised)
    for error in raised:
        if not died and type(error) is not RuntimeError:
            raise error
