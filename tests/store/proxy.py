"""A proxy before a server that cuts a connection at an exact place: before or after a COMMIT, and its answer never."""

from __future__ import annotations

import select
import socket
import threading
from typing import Literal

Moment = Literal["before", "after"]


class CuttingProxy:
    """Passes bytes on until it is armed; the next COMMIT is then the last thing that its connection sees.

    Attributes:
        cuts: How many connections were cut.
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._armed: list[Moment] = []
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        """Where clients connect."""
        port: int = self._listener.getsockname()[1]
        return port

    def cut(self, *moments: Moment) -> None:
        """Cut at the next COMMITs: ``before`` the server gets it, or ``after`` it has answered."""
        self._armed += moments

    def close(self) -> None:
        """Accept no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server:
            while True:
                readable, _, _ = select.select([client, server], [], [])
                for source in readable:
                    data = source.recv(1 << 16)
                    if not data:
                        return
                    if source is server:
                        client.sendall(data)
                    elif b"COMMIT" in data and self._armed:
                        self.cuts += 1
                        if self._armed.pop(0) == "after":
                            server.sendall(data)
                            server.recv(1 << 16)  # committed; the answer goes nowhere
                        return
                    else:
                        server.sendall(data)
