"""The driver's end of a local worker's socket: frames with their length in front, never blocking."""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Callable

from orchestrator.backends.bundles.transport import START_S, Sink, WorkerNeeds

READ_BYTES = 1 << 18
STOP_S = 5.0
"""How long a worker that was told to stop may take before it is killed."""


class PipeChannel:
    """One worker process; see ``transport.Channel``.

    Attributes:
        pid: Of the worker, once it is known.
        heard: Whether it ever said anything.
        doomed: It is to be killed, as soon as its pid is known.
        code: Exit code or minus the signal, once it is known.
    """

    start_s = START_S
    has_slot = True

    def __init__(
        self, name: str, needs: WorkerNeeds, end: socket.socket, sink: Sink, kill: Callable[[int], None]
    ) -> None:
        self.name = name
        self.needs = needs
        self.socket = end
        self.alive = True
        self.heard = False
        self.pid: int | None = None
        self.code: int | None = None
        self.doomed = False
        self.closed_at: float | None = None
        self.stop_by: float | None = None
        self._sink = sink
        self._kill = kill
        self._received = bytearray()
        self._unsent: deque[memoryview] = deque()

    def deliver(self, said: object) -> None:
        """Tell the sink."""
        self._sink(self.name, said)  # type: ignore[arg-type]

    def send(self, data: bytes) -> None:
        """See ``Channel``."""
        if self.alive:
            self._unsent.append(memoryview(len(data).to_bytes(4, "big") + data))
            self.write()

    @property
    def has_unsent(self) -> bool:
        """Whether the socket did not take everything."""
        return bool(self._unsent)

    def write(self) -> None:
        """Send what the socket takes."""
        try:
            while self._unsent:
                sent = self.socket.send(self._unsent[0])
                if sent < len(self._unsent[0]):
                    self._unsent[0] = self._unsent[0][sent:]
                else:
                    self._unsent.popleft()
        except BlockingIOError:
            return
        except OSError:
            self._unsent.clear()  # it has ended; reading will tell

    def read(self) -> bool:
        """Deliver the frames that have come; False if there was nothing to read, or the worker has closed its end."""
        try:
            data = self.socket.recv(READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.closed_at = self.closed_at or time.monotonic()
            return False
        self._received += data
        self._deliver_frames()
        return True

    def _deliver_frames(self) -> None:
        received, start = self._received, 0
        while len(received) - start >= 4:
            stop = start + 4 + int.from_bytes(received[start : start + 4], "big")
            if len(received) < stop:
                break
            self.heard = True
            self._sink(self.name, bytes(received[start + 4 : stop]))
            start = stop
        if start:
            del received[:start]

    def kill(self) -> None:
        """See ``Channel``."""
        self.doomed = True
        if self.pid is not None and self.code is None:
            self._kill(self.pid)

    def park(self) -> bool:
        """See ``Channel``; an idle process here keeps nobody from anything."""
        return False

    def unpark(self) -> None:
        """See ``Channel``."""

    def close(self) -> None:
        """See ``Channel``."""
        self.stop_by = time.monotonic() + STOP_S
