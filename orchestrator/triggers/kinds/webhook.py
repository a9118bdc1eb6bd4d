"""``webhook("retrain")``: when somebody posts to ``/api/v1/triggers/retrain/events``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.errors import InvalidPipeline
from orchestrator.graph.source import refusal
from orchestrator.ports.triggers import Look, World

KIND: Final = "webhook"
SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"webhook": {"description": "Its name in the address.", "type": "string"}},
    "required": ["webhook"],
    "additionalProperties": False,
}

_NAME = re.compile(r"[A-Za-z0-9](?:[\w.-]{0,62}[A-Za-z0-9_])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Webhook:
    """Requests to an address; made by ``webhook``. They come to it by themselves, so it never looks."""

    name: str

    @property
    def kind(self) -> str:
        """See ``Trigger``."""
        return KIND

    @property
    def text(self) -> str:
        """See ``Trigger``."""
        return f"events posted to {self.name}"

    @property
    def zone(self) -> str:
        """See ``Trigger``."""
        return ""

    def document(self) -> dict[str, Any]:
        """See ``Trigger``."""
        return {"webhook": self.name}

    def identity(self) -> dict[str, Any]:
        """See ``Trigger``."""
        return self.document()

    def begin(self, now: float, world: World) -> None:
        """See ``Trigger``."""

    def look(self, place: Any, now: float, world: World) -> Look:
        """See ``Trigger``."""
        return Look((), place)

    def upcoming(self, after: float, until: float, most: int) -> Sequence[float]:
        """See ``Trigger``."""
        return ()


def webhook(name: str) -> Webhook:
    """Run when somebody posts to ``/api/v1/triggers/NAME/events``; parameters of the run may stand in the body.

    Raises:
        InvalidPipeline: the name cannot stand in an address.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise refusal(InvalidPipeline, f"webhook({name!r}): letters, digits, '_', '.' and '-', at most 64")
    return Webhook(name)


def read(written: Mapping[str, Any]) -> Webhook:
    """See ``Trigger``."""
    return webhook(written[KIND])
