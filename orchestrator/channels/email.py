"""Alerts by e-mail, through an SMTP server; ``Message-ID`` is the same each time a message is tried."""

from __future__ import annotations

import smtplib
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any

from orchestrator.graph.secret import resolve_reference
from orchestrator.ports.alerts import Message

KIND = "email"
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "server": {"type": "string", "minLength": 1},
        "port": {"type": "integer", "minimum": 1, "maximum": 65535},
        "encryption": {"enum": ["starttls", "tls", "none"]},
        "user": {"type": "string"},
        "password": {"type": "string", "pattern": "^(env:|file:)"},
        "from": {"type": "string", "pattern": "@"},
        "to": {"type": "array", "items": {"type": "string", "pattern": "@"}, "minItems": 1},
    },
    "required": ["server", "from", "to"],
    "additionalProperties": False,
}

_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Mailbox:
    """Sends messages through one server."""

    server: str
    port: int
    encryption: str
    user: str
    password: str
    sender: str
    to: tuple[str, ...]

    def send(self, message: Message) -> None:
        """See ``Channel``."""
        mail = EmailMessage()
        mail["Subject"], mail["From"], mail["To"] = message.title, self.sender, ", ".join(self.to)
        mail["Date"] = formatdate(message.notices[0].at if message.notices else None)
        mail["Message-ID"] = f"<{message.id}@{self.sender.rpartition('@')[2].rstrip('>')}>"
        mail.set_content(message.text)
        connect = smtplib.SMTP_SSL if self.encryption == "tls" else smtplib.SMTP
        with connect(self.server, self.port, timeout=_TIMEOUT_S) as server:
            if self.encryption == "starttls":
                server.starttls()
            if self.user:
                server.login(self.user, resolve_reference(self.password))
            server.send_message(mail)


def open_channel(options: Mapping[str, Any]) -> Mailbox:
    """See ``Channel``."""
    encryption = options.get("encryption", "starttls")
    return Mailbox(
        options["server"], options.get("port", _PORTS[encryption]), encryption, options.get("user", ""),
        options.get("password", ""), options["from"], tuple(options["to"]),
    )  # fmt: skip
