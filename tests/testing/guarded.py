"""A small pipeline for sweeps of an engine from which one guard was taken away, and the ways to take one away.

Each ``without_…`` is loaded by the processes of a sweep, where it changes the engine for the rest of their lives.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from orchestrator import pipeline, stage
from orchestrator.backends.bundles.pool import Pool
from orchestrator.engine.committer import Committer
from orchestrator.engine.machine import Machine
from orchestrator.engine.state import SETTLED, NodeState, RunFold
from orchestrator.graph import fact as f
from orchestrator.graph.pipeline import Pipeline
from orchestrator.graph.policy import Policy
from orchestrator.ports import frames
from orchestrator.ports.executor import FromBundle
from orchestrator.ports.journal import Append
from orchestrator.testing import outside, write_ledger

Loaded = tuple[Pipeline[..., Any], Mapping[str, Any]]


@stage
def made_up() -> str:
    return uuid.uuid4().hex


@stage(effects=True)
def sent(payload: str) -> str:
    write_ledger(outside() / "ledger", payload, with_key=True)
    return payload


@stage
def numbers() -> list[int]:
    return [1, 2, 3]


@stage
def doubled(x: int) -> int:
    return 2 * x


@pipeline
def guarded() -> list[Any]:
    return [sent(made_up()), doubled.map(numbers())]


def with_all_guards() -> Loaded:
    return guarded, {}


def without_barriers() -> Loaded:
    """Effects start before their inputs are committed."""
    Policy.barrier = property(lambda self: False)  # type: ignore[method-assign,assignment]
    return guarded, {}


def acknowledging_before_the_commit() -> Loaded:
    """Clients are told of facts that are not durable yet."""

    attempt = Committer._attempt

    def too_early(self: Committer, append: Append) -> bool:
        self._on_committed(append)
        return attempt(self, append)

    Committer._attempt = too_early  # type: ignore[method-assign]
    return guarded, {}


def hearing_everything_twice() -> Loaded:
    """A transport that delivers every frame of outcomes twice: no harm with all guards."""
    poll = Pool.poll

    def twice(self: Pool, timeout_s: float) -> list[Any]:
        events: list[Any] = []
        for event in poll(self, timeout_s):
            if isinstance(event, FromBundle) and isinstance(event.frame, frames.Outcomes):
                events.append(event._replace(frame=msgspec.structs.replace(event.frame, finished=False)))
            events.append(event)
        return events

    Pool.poll = twice  # type: ignore[method-assign]
    return guarded, {}


def believing_everything() -> Loaded:
    """The machine takes every outcome that it hears of; only the fold is left to refuse a second one."""

    def owed(self: Machine, ranges: Any, node: str, start: int, stop: int) -> Iterator[tuple[int, int]]:
        yield start, stop

    def singles(self: Machine, told: f.NodesCompleted, ranges: Any) -> Iterator[f.Fact]:
        yield from map(told.one, range(len(told.nodes)))

    Machine._owed = owed  # type: ignore[method-assign]
    Machine._singles = singles  # type: ignore[method-assign]
    return hearing_everything_twice()


def without_unique_outcomes() -> Loaded:
    """Neither the machine nor the fold minds a second outcome."""

    def settle(self: RunFold, state: NodeState, start: int, stop: int, status: int) -> None:
        state.settled += sum(state.status[index] not in SETTLED for index in range(start, stop))
        state.status[start:stop] = bytes([status]) * (stop - start)

    RunFold._settle = settle  # type: ignore[method-assign]
    return believing_everything()


Load = Callable[[], Loaded]
