"""What alerts are: rules that raise them, messages about them, and channels that bring these to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Kind = Literal["fail", "degraded", "late", "stuck", "quality", "drift", "budget"]
Period = Literal["run", "day", "month"]


@dataclass(frozen=True, slots=True)
class Rule:
    """When an alert is raised, and who is told.

    Attributes:
        pipelines: Names with ``*`` and ``?``.
        tags: A run needs all of them; an empty value is any.
        to: Names of channels.
        repeat_s: While it goes on, people are told again after so long; until then it is only counted.
        resolved: Whether people are told when it is over.
        after_s: ``stuck``: time without any fact.
        factor, least: ``late``: times the 95th percentile of its own successful runs, once there are so many.
        limit, per: ``budget``: an amount in the currency of the prices.
    """

    name: str
    on: Kind
    pipelines: tuple[str, ...] = ("*",)
    tags: Mapping[str, str] = field(default_factory=dict)
    to: tuple[str, ...] = ()
    repeat_s: float = 14400.0
    resolved: bool = True
    after_s: float = 3600.0
    factor: float = 1.5
    least: int = 5
    limit: float = 0.0
    per: Period = "run"


@dataclass(slots=True)
class Alert:
    """Something that people should know.

    Attributes:
        key: Of what is the same: the rule, the pipeline, and for a budget its period, for drift its step.
        count: How often it happened since it was raised.
        told_at: When people were told last.
        resolved_at: When it was over; None while it goes on.
    """

    id: str
    key: str
    rule: str
    kind: Kind
    pipeline: str
    run: str
    text: str
    at: float
    last_at: float
    told_at: float
    count: int = 1
    resolved_at: float | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """What people are told about an alert; the id is that of this telling."""

    id: str
    kind: Kind
    state: Literal["raised", "again", "resolved"]
    pipeline: str
    run: str
    text: str
    at: float
    count: int


@dataclass(frozen=True, slots=True)
class Message:
    """Notices that go to a channel together; ``id`` is the same each time it is tried."""

    id: str
    title: str
    text: str
    notices: Sequence[Notice]


class Channel(Protocol):
    """Brings messages to people.

    A channel is a module of ``orchestrator/channels/`` (or an entry point of ``orchestrator.channels``) with ``KIND``,
    its name in the rules, ``SCHEMA``, the JSON Schema of what stands below that name, and ``open_channel(options)``.
    """

    def send(self, message: Message) -> None:
        """Send, or raise any exception: then it is tried again later."""
        ...


class ChannelModule(Protocol):
    """See ``Channel``."""

    KIND: str
    SCHEMA: Mapping[str, Any]

    def open_channel(self, options: Any) -> Channel:
        """A channel with these options, which fit the schema."""
        ...
