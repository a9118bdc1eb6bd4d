"""What the remote store asks of wherever its objects are: a handful of requests, each visible whole or not at all.

Paths are relative to the URL and never begin with a slash. Anything that keeps a request from being answered is
StoreUnavailable, whose message names the request and the URL; an implementation bounds its own retries.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

Data = bytes | memoryview


class Stored(NamedTuple):
    """One object; ``modified_at`` in wall-clock seconds."""

    path: str
    size: int
    modified_at: float


class Objects(Protocol):
    """Objects under a URL. Thread-safe."""

    url: str

    def create(self, path: str, data: Data) -> bool:
        """Write an object unless there is one at this path, decided by the store; False if there is."""
        ...

    def replace(self, path: str, data: Data) -> None:
        """Write an object, whatever was there."""
        ...

    def read(self, path: str) -> Iterator[Data]:
        """The bytes, a few at a time.

        Raises:
            FileNotFoundError: there is no such object.
        """
        ...

    def head(self, path: str, count: int) -> bytes:
        """The first bytes, ``count`` at most.

        Raises:
            FileNotFoundError: there is no such object.
        """
        ...

    def find(self, path: str) -> Stored | None:
        """Size and time of an object; None if there is none."""
        ...

    def list(self) -> Iterator[Stored]:
        """All objects under the URL."""
        ...

    def remove(self, path: str) -> None:
        """Remove an object; no error if there is none."""
        ...
