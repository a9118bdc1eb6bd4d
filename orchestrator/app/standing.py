"""The standing Ray of an installation: started in the background, looked at, ended (``orc up``, ``orc down``)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

from orchestrator.backends import standing
from orchestrator.backends.bundles import orphans
from orchestrator.backends.cluster import within
from orchestrator.backends.ray_head import ClusterUse
from orchestrator.backends.standing import StandingRay
from orchestrator.backends.standing_keeper import Wish, keep
from orchestrator.config.settings import Settings
from orchestrator.errors import ClusterUnreachable, NotFound

__all__ = ["ClusterUse", "Keeper", "StandingRay", "Up", "Wish", "end", "find", "keep", "running", "start_in_background",
           "use"]  # fmt: skip

START_S = 150.0
"""Longest time to wait for a standing Ray, or for the one that somebody else is starting."""

END_S = 20.0
"""How long its keeper may take to end it in order, and then what is left of it to disappear."""

_LOOK_S = 0.05
_ANSWER_S = 10.0
_ROOT = str(Path(__file__).resolve().parents[2])
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from importlib import import_module; "
    "sys.exit(import_module(sys.argv[2]).main(*sys.argv[3:]))"
)


class Keeper(NamedTuple):
    """The module whose ``main`` keeps a Ray, told of ``ORC_HOME``, of the wish in JSON, and of ``more``."""

    module: str
    more: Sequence[str] = ()


RAY_ONLY = Keeper("orchestrator.backends.standing_keeper")


class Up(NamedTuple):
    """A standing Ray that is up; ``started`` if this call did it."""

    ray: StandingRay
    started: bool


def start_in_background(
    settings: Settings, wish: Wish, starting: Callable[[StandingRay | None], None], keeper: Keeper = RAY_ONLY
) -> Up:
    """The standing Ray of an installation, started if it is not up; it outlives this process.

    Args:
        starting: Called if it has to be started, which takes some seconds; with the one that ended unexpectedly.
        keeper: What keeps it.

    Raises:
        ClusterUnreachable: it could not be started; says why, or where the log is.
    """
    found = standing.find(settings.home)
    if found is not None and found.alive:
        return Up(found, False)
    starting(found)
    log = log_path(settings)
    with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, _ROOT, keeper.module, str(settings.home), json.dumps(asdict(wish)),
             *keeper.more],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, cwd=settings.home, start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        found = standing.find(settings.home)
        if found is not None and found.alive:
            return Up(found, found.pid == process.pid)
        if ended:
            said = process.communicate()[0].decode(errors="replace")
            raise ClusterUnreachable(f"the background Ray did not start: {said or f'see {log}'}")
        time.sleep(_LOOK_S)
    process.terminate()
    raise ClusterUnreachable(f"the background Ray was not up within {START_S:g} s; see {log}")


def log_path(settings: Settings) -> Path:
    """Where a standing Ray in the background says why it ended."""
    return settings.logs_dir / "up.log"


def running(settings: Settings) -> StandingRay:
    """The standing Ray that is up.

    Raises:
        NotFound: none is; says so if it ended without being told to.
    """
    found = standing.find(settings.home)
    if found is None:
        raise NotFound(f"no Ray is up for {settings.home}; start one with: orc up --background")
    if not found.alive:
        raise NotFound(
            f"the background Ray (process {found.pid}) has ended unexpectedly; its logs are in {found.session} and "
            f"{log_path(settings)}; start it again with: orc up --background"
        )
    return found


def find(settings: Settings) -> StandingRay | None:
    """The standing Ray that is up, if one is."""
    found = standing.find(settings.home)
    return found if found is not None and found.alive else None


def use(ray: StandingRay) -> ClusterUse:
    """Who uses a standing Ray and how much of it; attaches nothing.

    Raises:
        ClusterUnreachable: it does not answer.
    """
    late = ClusterUnreachable(f"the background Ray at {ray.address} does not answer; end it with: orc down")
    return within(_ANSWER_S, partial(standing.use_of, ray), late)


def end(settings: Settings) -> StandingRay | None:
    """End the standing Ray and everything that runs on it; None if there is none.

    Only processes of it are touched: its keeper, known by process id and start time, and what carries its mark.

    Raises:
        ClusterUnreachable: some of its processes do not end.
    """
    with standing.only_one(settings.home):  # if one is just being started, it is that one
        found = standing.find(settings.home)
        if found is not None:
            _end_keeper(found)
            _end_processes(found)
            standing.remove(settings.home, found)
    return found


def _end_keeper(ray: StandingRay) -> None:
    deadline = time.monotonic() + END_S
    if ray.alive:
        _signal(ray, signal.SIGTERM)
    while ray.alive:
        if time.monotonic() > deadline:
            _signal(ray, signal.SIGKILL)
        time.sleep(_LOOK_S)


def _signal(ray: StandingRay, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        os.kill(ray.pid, number)


def _end_processes(ray: StandingRay) -> None:
    deadline = time.monotonic() + END_S
    while orphans.are_there(ray.mark):
        orphans.kill_children(ray.mark)
        if time.monotonic() > deadline:
            raise ClusterUnreachable(
                f"some processes of the background Ray do not end; see: ps -ef | grep {ray.session}"
            )
        time.sleep(_LOOK_S)
