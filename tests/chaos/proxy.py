"""A TCP proxy between a driver and its database that can swallow what it is given, or break every connection."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that makes a close a reset."""

_POLL_S = 0.05


class Proxy:
    """Forwards connections to a port of this machine, until it is told otherwise.

    Attributes:
        port: Where it listens.
        blackhole: While True nothing is forwarded and new connections get no answer.
        refuse: While True connections are reset.
    """

    def __init__(self, target: int) -> None:
        self.blackhole = False
        self.refuse = False
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._peers: dict[socket.socket, socket.socket] = {}
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread.start()

    def close(self) -> None:
        """End it and its connections."""
        self._closing = True
        self._thread.join()
        for one in [*self._peers, self._listener]:
            one.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._closing:
            if self.refuse:
                for one in list(self._peers):
                    self._drop(one)
            if self.blackhole:
                threading.Event().wait(_POLL_S)
                continue
            for key, _ in self._selector.select(_POLL_S):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj in self._peers:
                    self._forward(key.fileobj)  # type: ignore[arg-type]

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        if self.refuse:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            near.close()
            return
        try:
            far = socket.create_connection(("127.0.0.1", self._target), timeout=1.0)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        for one, other in ((near, far), (far, near)):
            self._peers[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _forward(self, one: socket.socket) -> None:
        try:
            data = one.recv(65536)
            if data:
                self._peers[one].sendall(data)
                return
        except OSError:
            pass
        self._drop(one)

    def _drop(self, one: socket.socket) -> None:
        other = self._peers.pop(one, None)
        for end in (one, other):
            if end is not None:
                self._peers.pop(end, None)
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(end)
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.close()
