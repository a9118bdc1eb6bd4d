"""Actions that begin something new: runs, releases, rollbacks, promotions. A process of their own does them."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from blake3 import blake3

from orchestrator.api.idempotency import Answers
from orchestrator.api.problems import Refused
from orchestrator.api.schemas import Accepted
from orchestrator.app.installation import Installation
from orchestrator.app.launching import (
    PROMOTION_S,
    Begun,
    Fork,
    Inspect,
    Inspected,
    Order,
    Promoted,
    Release,
    Rollback,
    Start,
    launch,
)
from orchestrator.app.promoting import Promote
from orchestrator.app.releasing import SendBack, SendOut
from orchestrator.errors import ConfigError

_MOST, _PROMOTIONS = 4, 2
"""Processes at a time that have not yet answered."""

_PATIENCE_S = 5.0
"""How long a request waits for its turn; it takes the place of one that wants to look at something."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Launches:
    """What begins something new; each happens once for a key. Thread-safe.

    Args:
        installation: Where runs are kept.
        project: Directory in which pipelines are found.
    """

    def __init__(self, installation: Installation, project: Path) -> None:
        self._here = installation
        self._project = project
        self._answers = Answers(installation.settings.home / "requests")
        self._free = threading.BoundedSemaphore(_MOST)
        self._promoting = threading.BoundedSemaphore(_PROMOTIONS)

    def start(
        self, what: str, values: Mapping[str, str], tags: Mapping[str, str], on: str | None, key: str | None
    ) -> Accepted:
        """Run a pipeline.

        Raises:
            OrchestratorError: there is no such pipeline, or it cannot be run like this.
        """
        _check_names(values)

        def order(run_key: str) -> Order:
            return Order(start=Start(what=what, values=values, tags=tags, on=on, key=run_key))

        return self._begun("start", key, [what, dict(values), dict(tags), on], order)

    def fork(
        self, run: str, step: str, what: str, values: Mapping[str, str], repeat: Sequence[str], key: str | None
    ) -> Accepted:
        """Begin a run with the history of another up to a step, then with the code of the project.

        Args:
            what: A pipeline file; empty for the pipeline of the run, as it is now.

        Raises:
            OrchestratorError: there is no such run, step or pipeline, or it cannot go on like this.
        """
        _check_names(values)

        def order(run_key: str) -> Order:
            return Order(fork=Fork(run=run, step=step, what=what, values=values, repeat=list(repeat), key=run_key))

        begun = self._begun("fork", key, [run, step, what, dict(values), list(repeat)], order)
        return begun.model_copy(update={"step": self._here.created(begun.run).forked})

    def release(self, asked: SendOut, key: str | None) -> Accepted:
        """Begin a release; raises OrchestratorError if it may not begin."""
        told = {name: getattr(asked, name) for name in asked.__struct_fields__}
        return self._begun("release", key, told, lambda k: Order(release=Release(asked=asked, key=k)))

    def roll_back(self, asked: SendBack, key: str | None) -> Accepted:
        """Begin a rollback; raises OrchestratorError if it cannot begin."""
        told = {name: getattr(asked, name) for name in asked.__struct_fields__}
        return self._begun("rollback", key, told, lambda k: Order(rollback=Rollback(asked=asked, key=k)))

    def promote(self, asked: Promote, key: str | None) -> Accepted:
        """Move a model version, after its checks.

        Raises:
            PromotionRefused: it may not go there.
        """

        def act() -> Accepted:
            with _turn(self._promoting):
                done = launch(self._here, Order(promote=asked), Promoted, self._project, PROMOTION_S)
            return Accepted(run=done.run, action="promote", step=done.address, driver=None)

        told = {name: getattr(asked, name) for name in asked.__struct_fields__}
        return self._answers.once(key, json.dumps(["promote", told], default=list), act)

    def inspect(self, what: str, values: Mapping[str, str]) -> Inspected:
        """What a pipeline takes and what a run of it would do; raises OrchestratorError."""
        _check_names(values)
        with _turn(self._free):
            return launch(self._here, Order(inspect=Inspect(what=what, values=values)), Inspected, self._project)

    def _begun(self, action: str, key: str | None, told: object, order: Callable[[str], Order]) -> Accepted:
        request = json.dumps([action, told], sort_keys=True, default=list)
        run_key = f"{action}-{blake3((key or '').encode()).hexdigest()[:32]}"

        def act() -> Accepted:
            with _turn(self._free):
                run = launch(self._here, order(run_key), Begun, self._project).run
            driver = self._here.journal.owner(run)
            return Accepted.model_validate({"run": run, "action": action, "step": "", "driver": driver})

        return self._answers.once(key, request, act)


@contextmanager
def _turn(free: threading.BoundedSemaphore) -> Iterator[None]:
    if not free.acquire(timeout=_PATIENCE_S):
        raise Refused(503, "too many requests of this kind are under way; try again later, with the same key")
    try:
        yield
    finally:
        free.release()


def _check_names(values: Mapping[str, str]) -> None:
    for name in values:
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"params: {name!r} is no name of a parameter; options of stages stand in the pipeline's file"
            )
