"""One worker in an actor, as the driver holds it: a socket once it has called back, what waits for it until then."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from orchestrator.backends.bundles.ray_slot import Slot
from orchestrator.backends.bundles.transport import START_S, Death, Sink, WorkerNeeds

LENGTH = struct.Struct(">I")
STOP_S = 5.0
"""How long a worker may take to end after its last frame."""

INSTALL_S = 900.0
"""How long a worker may take to start whose environment has to be installed, or whose node has to be started."""

_READ_BYTES = 1 << 20
_READS = 8
"""Most reads in a row, so that one worker cannot keep the driver from the others."""


class RayChannel:
    """The Channel protocol. Reading and writing happen in the driver's thread; ``send`` and ``kill`` in any."""

    def __init__(
        self,
        name: str,
        needs: WorkerNeeds,
        sink: Sink,
        identity: bytes,
        token: bytes,
        actor: Any,
        selector: selectors.BaseSelector,
        reserve: Callable[[RayChannel], Slot] | None = None,
    ) -> None:
        self.name = name
        self.needs = needs
        self.start_s = START_S
        self.identity = identity
        self.token = token
        self.ending: float | None = None
        self.lost: float | None = None
        self.closing: float | None = None
        self.drained = False
        self.slot = None if reserve is None else reserve(self)
        self._reserve = reserve
        self._sink = sink
        self._actor = actor
        self._selector = selector
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._out: deque[memoryview] = deque()
        self._in = bytearray()
        self._reason = ""
        self._never = False
        self._alive = True

    @property
    def alive(self) -> bool:
        """See ``Channel``."""
        return self._alive

    @property
    def has_slot(self) -> bool:
        """See ``Channel``; only workers whose slot is apart from them ever wait for one."""
        return self._reserve is None or (self.slot is not None and self.slot.held)

    def park(self) -> bool:
        """See ``Channel``."""
        if self._reserve is None:
            return self.needs.kind == "host" or self.needs.lasting
        if self.slot is not None:
            self.slot.release()
            self.slot = None
        return True

    def unpark(self) -> None:
        """See ``Channel``."""
        if self._reserve is not None:
            self.slot = self._reserve(self)

    @property
    def up(self) -> bool:
        """True once the worker has called back."""
        return self._socket is not None

    def send(self, data: bytes) -> None:
        """See ``Channel``."""
        with self._lock:
            if not self._alive:
                return
            self._out.append(memoryview(LENGTH.pack(len(data)) + data))
            self._write()

    def kill(self) -> None:
        """See ``Channel``."""
        if self._alive:
            import ray

            if ray.is_initialized():  # else the actor has ended with this process's connection
                ray.kill(self._actor)

    def close(self) -> None:
        """See ``Channel``."""
        self.closing = self.closing or time.monotonic()

    # ---- for the transport, in the driver's thread

    def attach(self, connection: socket.socket) -> bool:
        """The worker has called back: send what waits. False if it may not (it is dead, or was here before)."""
        if not self._alive or self._socket is not None:
            return False
        connection.setblocking(False)
        with self._lock:
            self._socket = connection
            self._selector.register(connection, selectors.EVENT_READ, self)
            self._write()
        return True

    def flush(self) -> None:
        """The socket takes more."""
        with self._lock:
            self._write()

    def read(self) -> None:
        """Deliver the frames that are there."""
        connection = self._socket
        for _ in range(_READS):
            if connection is None or self.drained:
                return
            try:
                data = connection.recv(_READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._hang_up()
                return
            self._in += data
            self._deliver()

    @property
    def leaving(self) -> bool:
        """True if its end is near, so that the driver should look often."""
        return (self.ending or self.lost or self.closing) is not None

    def hurry(self, now: float, late_s: float) -> None:
        """Kill it if it should have ended by itself: told to, or without a connection."""
        if self._reason:
            return
        if self.closing is not None and now > self.closing + STOP_S:
            self._reason = f"it did not end within {STOP_S:g} s of being told to"
        elif self.lost is not None and now > self.lost + late_s:
            self._reason = "its connection to the driver was lost"
        else:
            return
        self.kill()

    def ended(self, reason: str, never: bool) -> None:
        """The actor's ``run`` is over, or never will be; its last frames may still be in the socket. Told once."""
        if self.ending is not None:
            return
        self.ending = time.monotonic()
        self._reason, self._never = self._reason or reason, never
        self.kill()
        self.read()
        if self._socket is None:
            self.drained = True

    def bury(self) -> None:
        """Say that the worker is dead, once."""
        self._alive = False
        self.park()
        self._hang_up()
        if self._socket is not None:
            self._socket.close()
        self._sink(self.name, Death(self._reason, self._never))

    def _deliver(self) -> None:
        data, at = self._in, 0
        while len(data) - at >= LENGTH.size:
            (size,) = LENGTH.unpack_from(data, at)
            start = at + LENGTH.size
            if len(data) - start < size:
                break
            self._sink(self.name, bytes(data[start : start + size]))
            at = start + size
        del data[:at]

    def _hang_up(self) -> None:
        if self.drained or self._socket is None:
            return
        self.drained = True
        self.lost = time.monotonic()
        self._selector.unregister(self._socket)

    def _write(self) -> None:
        """Send what the socket takes; the rest goes when the selector says so. With the lock held."""
        connection = self._socket
        if connection is None or self.drained:
            return
        try:
            while self._out:
                sent = connection.send(self._out[0])
                if sent < len(self._out[0]):
                    self._out[0] = self._out[0][sent:]
                    break
                self._out.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._out.clear()  # the worker is gone: its death is on the way
            return
        self._selector.modify(connection, selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0), self)
