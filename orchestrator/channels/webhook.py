"""Alerts as JSON to a URL, by POST; ``Idempotency-Key`` is the same each time a message is tried."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.graph.secret import resolve_reference
from orchestrator.ports.alerts import Message

KIND = "webhook"
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "url": {"type": "string", "pattern": "^(https?://|env:|file:)"},
        "headers": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "required": ["url"],
    "additionalProperties": False,
}

_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Webhook:
    """Posts messages to one URL; it and the headers may be references, ``env:NAME`` or ``file:PATH``."""

    url: str
    headers: Mapping[str, str]

    def send(self, message: Message) -> None:
        """See ``Channel``."""
        headers = {name: _resolved(value) for name, value in self.headers.items()}
        headers |= {"Content-Type": "application/json", "Idempotency-Key": message.id}
        body = {
            "id": message.id, "title": message.title, "text": message.text,
            "alerts": [asdict(one) for one in message.notices],
        }  # fmt: skip
        request = urllib.request.Request(_resolved(self.url), json.dumps(body).encode(), headers, method="POST")
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S):
            pass


def _resolved(value: str) -> str:
    return resolve_reference(value) if value.startswith(("env:", "file:")) else value


def open_channel(options: Mapping[str, Any]) -> Webhook:
    """See ``Channel``."""
    return Webhook(options["url"], options.get("headers", {}))
