"""Waits for actors to end, on a thread of its own, and says in plain words why they did."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from orchestrator.backends.bundles.ray_actor import VersionsDiffer

_ROUND_S = 0.05
"""Between two looks. Waiting inside Ray would keep this process from leaving it when nothing runs any more."""


_GONE = "its Ray has ended"


class Ended(NamedTuple):
    """An actor has ended; ``never`` if it could not and never can be placed or set up."""

    name: str
    reason: str
    never: bool = False


class ActorWatch:
    """Tells of every watched actor once when its ``run`` has ended, one way or another.

    Args:
        ended: Called from the watching thread.
    """

    def __init__(self, ended: Callable[[Ended], None]) -> None:
        self._ended = ended
        self._refs: dict[Any, str] = {}
        self._changed = threading.Condition()
        self._stopped = False
        self._paused = False
        self._thread = threading.Thread(target=self._run, name="orc-ray-watch", daemon=True)
        self._thread.start()

    def add(self, name: str, ref: Any) -> None:
        """Watch one more actor by the result of its ``run``."""
        with self._changed:
            self._refs[ref] = name
            self._changed.notify()

    def pause(self, paused: bool) -> None:
        """Do not look for a while, or go on; once it returns, nothing of this thread is inside Ray."""
        with self._changed:
            self._paused = paused
            self._changed.notify()

    def stop(self) -> None:
        """End the thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join(5.0)

    def _run(self) -> None:
        import ray

        while True:
            with self._changed:
                while (self._paused or not self._refs) and not self._stopped:
                    self._changed.wait()
                if self._stopped:
                    return
                ended = self._look(ray)
            for one in ended:
                self._ended(one)
            with self._changed:
                if not (ended or self._paused or self._stopped):
                    self._changed.wait(_ROUND_S)

    def _look(self, ray: Any) -> list[Ended]:
        """Who has ended since the last look; with the lock held, so that ``pause`` waits for the end of it."""
        if not ray.is_initialized():  # to ask now would start or find another one
            names, self._refs = list(self._refs.values()), {}
            return [Ended(name, _GONE) for name in names]
        refs = list(self._refs)
        ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0, fetch_local=False)
        return [_outcome(ray, self._refs.pop(ref), ref) for ref in ready]


def _outcome(ray: Any, name: str, ref: Any) -> Ended:
    try:
        return Ended(name, str(ray.get(ref)))
    except Exception as error:
        cause = getattr(error, "cause", None)
        never = isinstance(error, ray.exceptions.RuntimeEnvSetupError | ray.exceptions.ActorUnschedulableError)
        never = never or type(cause).__name__ == VersionsDiffer.__name__  # it was sent by value: not the same class
        return Ended(name, _reason(ray, error), never)


def _reason(ray: Any, error: Exception) -> str:
    """Why an actor ended: Ray's explanation without its identifiers and advice."""
    text = str(error)
    if isinstance(error, ray.exceptions.ActorDiedError):
        said = [line.strip() for line in text.splitlines() if line.strip().startswith("The actor")]
        text = said[-1] if said else text
        text = text.partition("Some common causes include")[0]
        text = text.replace("The actor is dead because ", "").replace(
            "Worker exit type: SYSTEM_ERROR Worker exit detail: ", ""
        )
    elif isinstance(error, ray.exceptions.RayTaskError):
        text = f"{type(error.cause).__name__}: {error.cause}"
    return " ".join(text.split())[:600]
