"""A program: many clients of the event stream of one run, as cheap as clients can be, so that what is measured is the
server.

    python -m benchmarks.watchers http://127.0.0.1:8710/ RUN 500

It says ``ready`` when each client has had its first event, and at the end, in JSON, what the clients got.
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import sys
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

LONGEST_S = 300.0
_FIRST, _END = b"event: ", b"event: end\n"
_ID = re.compile(rb"^id: (\d+)$", re.MULTILINE)
_KEPT = 64


@dataclass
class Client:
    """One connection: how many bytes came, and which facts (ids that stand in two reads are put together)."""

    socket: socket.socket
    bytes: int = 0
    seen: set[int] = field(default_factory=set)
    rest: bytes = b""
    begun: bool = False
    ended: bool = False

    def take(self, data: bytes) -> None:
        """What has come."""
        self.bytes += len(data)
        text = self.rest + data
        self.begun = self.begun or _FIRST in text
        self.ended = self.ended or _END in text
        whole = text.rfind(b"\n") + 1
        self.seen.update(map(int, _ID.findall(text[:whole])))
        self.rest = text[whole:][-_KEPT:] if len(text) - whole > _KEPT else text[whole:]


def main(url: str, run: str, count: str) -> int:
    """Watch until the run has ended; 1 if a client was cut off before."""
    place = urlsplit(url)
    assert place.hostname is not None
    asked = f"GET /api/v1/runs/{run}/events HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode()
    clients = []
    with selectors.DefaultSelector() as selector:
        for _ in range(int(count)):
            client = Client(socket.create_connection((place.hostname, place.port or 80), 60.0))
            client.socket.sendall(asked)
            client.socket.setblocking(False)
            selector.register(client.socket, selectors.EVENT_READ, client)
            clients.append(client)
        cut = _watch(selector, clients)
    facts = {len(client.seen) for client in clients}
    print(json.dumps({"clients": len(clients), "facts": sorted(facts), "bytes": sum(one.bytes for one in clients)}))
    return 1 if cut else 0


def _watch(selector: selectors.BaseSelector, clients: list[Client]) -> bool:
    told, deadline = False, time.monotonic() + LONGEST_S
    left = len(clients)
    while left and time.monotonic() < deadline:
        for key, _ in selector.select(1.0):
            client: Client = key.data
            data = client.socket.recv(1 << 18)
            if data:
                client.take(data)
            if not data or client.ended:
                selector.unregister(client.socket)
                client.socket.close()
                left -= 1
        if not told and all(client.begun for client in clients):
            told = True
            print("ready", flush=True)
    return any(not client.ended for client in clients)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
