"""One process of a training on Ray Train, and the post office between it and the step that waits for it.

Nothing is kept with Ray Train's own checkpoints: rank 0 stores values as artifacts, and posts their small stored forms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
import ray.train

from orchestrator.backends.tune_trial import Source

SHARED = "shared"
"""Key of ``Shared`` in what Ray Train hands to each process."""

_POSTED_S = 60.0


@dataclass(frozen=True, slots=True)
class Posted:
    """Something that rank 0 said: metrics, a stored checkpoint, or the stored outcome."""

    metrics: Mapping[str, float] | None = None
    checkpoint: bytes = b""
    outcome: bytes = b""


class Post:
    """An actor that takes what rank 0 says and gives it to the step; it knows the last checkpoint.

    Args:
        checkpoint: Stored form of what an earlier attempt kept; empty if nothing.
    """

    def __init__(self, checkpoint: bytes) -> None:
        self._checkpoint = checkpoint
        self._waiting: list[Posted] = []

    def put(self, posted: Posted) -> None:
        """Take something."""
        self._checkpoint = posted.checkpoint or self._checkpoint
        self._waiting.append(posted)

    def take(self) -> list[Posted]:
        """Give what has come since."""
        taken, self._waiting = self._waiting, []
        return taken

    def checkpoint(self) -> bytes:
        """The last one."""
        return self._checkpoint


@dataclass(frozen=True, slots=True)
class Shared:
    """What all processes of a training have in common; ``given`` is a stored form."""

    source: Source
    work: str
    given: bytes
    post: Any


class Worker:
    """See ``ports.train.TrainWorker``."""

    def __init__(self, shared: Shared, rank: int, size: int, restored: Any) -> None:
        self.rank = rank
        self.size = size
        self.restored = restored
        self._shared = shared

    def report(self, metrics: Mapping[str, float]) -> None:
        """See ``TrainWorker``."""
        self.post(Posted(metrics=dict(metrics)))

    def checkpoint(self, value: Any) -> None:
        """See ``TrainWorker``."""
        if self.rank == 0:
            self.post(Posted(checkpoint=self._shared.source.encode(value)))

    def post(self, posted: Posted) -> None:
        """Say something, if this is rank 0."""
        if self.rank == 0:
            ray.get(self._shared.post.put.remote(posted), timeout=_POSTED_S)


def work(config: Mapping[str, Any]) -> None:
    """What Ray Train calls in each process."""
    shared: Shared = config[SHARED]
    context = ray.train.get_context()
    kept = ray.get(shared.post.checkpoint.remote(), timeout=_POSTED_S)
    restored = shared.source.load(kept) if kept else None
    worker = Worker(shared, context.get_world_rank(), context.get_world_size(), restored)
    outcome = shared.source.function(shared.work)(shared.source.load(shared.given), worker)
    if worker.rank == 0:
        worker.post(Posted(outcome=shared.source.encode(outcome)))
