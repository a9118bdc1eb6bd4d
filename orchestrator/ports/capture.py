"""Port of prediction capture: which requests a served version keeps with their answers, and where they go.

What is kept is for monitoring and for training later, so it is a sample, and never worth a request: what cannot be
written in time is dropped and counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from orchestrator.errors import ConfigError

InputKind = Literal["text", "number", "time", "numbers"]

KINDS: tuple[str, ...] = ("text", "number", "time", "numbers")

PREFIX = "answer_"
"""Columns about the answer begin with it, so no input may."""


@dataclass(frozen=True, slots=True)
class Capture:
    """What a version keeps of the requests that it answers.

    Attributes:
        folder: Absolute path or URL; parts are written below ``folder/APP/VERSION``.
        share: Part of the requests, over 0 up to 1; the id of a request decides, so that versions keep the same ones.
        every_s: Parts are written at least so often while there is something to write.
        part_requests: A part is written at once when so many requests wait.
        queue_bytes: Most bytes of requests and answers that may wait; more are dropped, and counted.
        inputs: The signature, by name; a row that does not match it is kept apart. ``deploy`` and ``release`` take it
            from the model.
    """

    folder: str
    share: float = 0.01
    every_s: float = 10.0
    part_requests: int = 1_000
    queue_bytes: int = 16 * 1024 * 1024
    inputs: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.folder.startswith("/") and "://" not in self.folder:
            raise ConfigError(f"capture: {self.folder!r} is no absolute path and no URL; replicas have other folders")
        if not 0 < self.share <= 1:
            raise ConfigError(f"capture: share={self.share!r} has to be over 0 and at most 1")
        if not 0 < self.every_s <= 3600:
            raise ConfigError(f"capture: every_s={self.every_s!r} has to be over 0 and at most 3600 seconds")
        if self.part_requests < 1 or self.queue_bytes < 1:
            raise ConfigError(
                f"capture: part_requests={self.part_requests} and queue_bytes={self.queue_bytes} have to be positive"
            )
        for name, kind in self.inputs.items():
            if kind not in KINDS:
                raise ConfigError(f"capture: the input {name!r} is {kind!r}; it can be {', '.join(KINDS)}")
            if name.startswith(PREFIX):
                raise ConfigError(
                    f"capture: the input {name!r} begins with {PREFIX!r}, as columns about the answer do; rename it"
                )


class Folder(Protocol):
    """Where parts are written; each is seen whole or not at all."""

    def create(self, path: str, data: bytes) -> bool:
        """Write a file unless there is one; raises StoreUnavailable."""
        ...

    def replace(self, path: str, data: bytes) -> None:
        """Write a file, whatever was there; raises StoreUnavailable."""
        ...
