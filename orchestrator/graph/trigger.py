"""What a pipeline says about when it is to run by itself; what the kinds of triggers mean is none of the graph's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from orchestrator.errors import InvalidPipeline
from orchestrator.graph.source import refusal


@runtime_checkable
class Declared(Protocol):
    """A trigger as it is declared: a frozen value that can be written down."""

    @property
    def kind(self) -> str:
        """``cron``, ``artifact``, …"""
        ...

    def document(self) -> Mapping[str, Any]:
        """As it stands under ``on:`` in a pipeline file."""
        ...


def check_triggers(name: str, on: Sequence[Any]) -> tuple[Declared, ...]:
    """The triggers of a pipeline.

    Raises:
        InvalidPipeline: something else is among them, or one of them twice.
    """
    found = (on,) if isinstance(on, Declared) else tuple(on)
    for place, one in enumerate(found):
        if isinstance(one, type) or not isinstance(one, Declared):
            raise refusal(
                InvalidPipeline,
                f"pipeline {name!r}: on={one!r} is no trigger; write cron(…), artifact(…) or webhook(…) of "
                "orchestrator.triggers",
            )
        if any(one.document() == other.document() for other in found[:place]):
            raise refusal(InvalidPipeline, f"pipeline {name!r}: on= names {one!r} twice")
    return found


def check_concurrency(name: str, concurrency: Any) -> int | None:
    """How many triggered runs may go on at once; raises InvalidPipeline."""
    if concurrency is None:
        return None
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        raise refusal(
            InvalidPipeline, f"pipeline {name!r}: concurrency={concurrency!r}; write how many triggered runs may go on"
        )
    return concurrency
