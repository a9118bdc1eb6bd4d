"""Alerts to any of the places that Apprise knows: Slack, Teams, PagerDuty, Matrix, Telegram and a hundred more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import ConfigError
from orchestrator.graph.secret import resolve_reference
from orchestrator.ports.alerts import Message

KIND = "apprise"
SCHEMA: Mapping[str, Any] = {
    "anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]
}


@dataclass(frozen=True, slots=True)
class Chat:
    """Notifies some of Apprise's URLs, each of which may be a reference, ``env:NAME`` or ``file:PATH``."""

    urls: tuple[str, ...]

    def send(self, message: Message) -> None:
        """See ``Channel``."""
        try:
            import apprise
        except ModuleNotFoundError:
            raise ConfigError(
                "alerts to apprise need it: pip install 'ray-orchestrator[alerts]' where orc up runs"
            ) from None
        box = apprise.Apprise()
        for url in self.urls:
            if not box.add(resolve_reference(url) if url.startswith(("env:", "file:")) else url):
                raise ConfigError(f"apprise does not understand the URL of kind {url.partition(':')[0]!r}")
        level = apprise.NotifyType.SUCCESS if _all_over(message) else apprise.NotifyType.FAILURE
        if not box.notify(body=message.text, title=message.title, notify_type=level):
            raise OSError("apprise could not deliver to all of its URLs")


def _all_over(message: Message) -> bool:
    return bool(message.notices) and all(one.state == "resolved" for one in message.notices)


def open_channel(options: str | list[str]) -> Chat:
    """See ``Channel``."""
    return Chat((options,) if isinstance(options, str) else tuple(options))
