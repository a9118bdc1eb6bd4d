"""Where workers in Ray actors call their driver back.

On this machine that is a Unix socket in a directory only its owner can enter; on a cluster, a TCP port on the driver's
node. Either way both sides prove that they know the token which the actor was started with.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import secrets
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.backends.bundles.ray_actor import IDENTITY, NONCE, proof, read_exactly
from orchestrator.errors import WorkerStartFailed

_HANDSHAKE_S = 10.0
_BACKLOG = 128


class Listener:
    """Accepts workers and hands their sockets over.

    Args:
        host: Address of the driver's node that workers can reach; empty for workers on this machine only.
        port: Fixed TCP port, 0 for any.
        token_of: Token of an expected worker by its identity; None if it is not expected.
        greeting: What an accepted worker is told, in JSON values.
        arrived: Called with identity and connected socket, from a thread of the listener.
    """

    def __init__(
        self,
        host: str,
        port: int,
        token_of: Callable[[bytes], bytes | None],
        greeting: Callable[[], dict[str, Any]],
        arrived: Callable[[bytes, socket.socket], None],
    ) -> None:
        self._token_of = token_of
        self._greeting = greeting
        self._arrived = arrived
        self._directory = Path(tempfile.mkdtemp(prefix="orc-"))
        self._closed = False
        try:
            self._socket, self.endpoint = self._bind(host, port)
        except OSError as error:
            shutil.rmtree(self._directory, ignore_errors=True)
            where = host or "this machine"
            raise WorkerStartFailed(f"the driver cannot listen for its workers on {where}: {error}") from error
        self._socket.listen(_BACKLOG)
        self._thread = threading.Thread(target=self._accept, name="orc-ray-listener", daemon=True)
        self._thread.start()

    def _bind(self, host: str, port: int) -> tuple[socket.socket, str | tuple[str, int]]:
        if not host:
            path = str(self._directory / "driver")
            listening = socket.socket(socket.AF_UNIX)
            listening.bind(path)
            return listening, path
        listening = socket.create_server((host, port))
        return listening, (host, listening.getsockname()[1])

    def close(self) -> None:
        """Accept no more workers; no error if already done."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the accepting thread on Linux; closing does elsewhere
        self._socket.close()
        self._thread.join(1.0)
        shutil.rmtree(self._directory, ignore_errors=True)

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                if self._closed:
                    return
                continue
            threading.Thread(target=self._welcome, args=(connection,), name="orc-ray-welcome", daemon=True).start()

    def _welcome(self, connection: socket.socket) -> None:
        connection.settimeout(_HANDSHAKE_S)
        try:
            identity = greet(connection, self._token_of, self._greeting)
        except OSError:
            connection.close()
            return
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._arrived(identity, connection)


def greet(
    connection: socket.socket, token_of: Callable[[bytes], bytes | None], greeting: Callable[[], dict[str, Any]]
) -> bytes:
    """The driver's half of the handshake; raises ConnectionError for whoever does not know the token."""
    ours = secrets.token_bytes(NONCE)
    connection.sendall(ours)
    identity = read_exactly(connection, IDENTITY)
    theirs, shown = read_exactly(connection, NONCE), read_exactly(connection, NONCE)
    token = token_of(identity)
    if token is None or not hmac.compare_digest(shown, proof(token, b"worker", ours, theirs)):
        raise ConnectionError("a stranger called")
    told = json.dumps(greeting()).encode()
    connection.sendall(proof(token, b"driver", theirs, ours) + len(told).to_bytes(4, "big") + told)
    return identity
