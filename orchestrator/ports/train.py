"""Port of trainings by several processes that work on one model together, as ``step().train`` gives it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol


class TrainWorker(Protocol):
    """One process of a training, as the function that it runs sees it; PyTorch's process group is set up.

    Attributes:
        rank: Its number, from 0.
        size: How many there are.
        restored: What the last checkpoint kept; None if nothing.
    """

    rank: int
    size: int
    restored: Any

    def report(self, metrics: Mapping[str, float]) -> None:
        """Report metrics of the step; only those of rank 0 count."""
        ...

    def checkpoint(self, value: Any) -> None:
        """Keep a value, in place of the one before; only that of rank 0 counts."""
        ...


class Train(Protocol):
    """Runs trainings. A process that dies ends the others; they all begin again from the last checkpoint."""

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
        """Run a function in several processes at once.

        Args:
            work: ``module:name`` of a function of the project, called with ``given`` and a ``TrainWorker``.
            resources: What each process reserves, under Ray's names.
            restored: What an earlier attempt kept; None if nothing.
            report: Called in this process with what is reported, ``keep`` with what is kept.

        Returns:
            What the function of rank 0 returned.

        Raises:
            BackendError: processes died too often.
            Exception: what the function raised.
        """
        ...
