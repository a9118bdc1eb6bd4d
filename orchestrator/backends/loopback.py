"""Ports on this machine's loopback for servers that must be told theirs before they start.

Between choosing and binding any outgoing connection may be given a port of the kernel's ephemeral range, and a slow
server starts seconds later; so ports are taken from below that range (32768 on Linux, 49152 elsewhere).
"""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

HOST = "127.0.0.1"
_PORTS = range(20_000, 32_000)
_TRIES = 200


def free_ports(count: int) -> list[int]:
    """Distinct ports on which nothing listens now.

    Raises:
        OSError: There are not that many.
    """
    found: list[int] = []
    with ExitStack() as held:
        for port in random.SystemRandom().sample(_PORTS, _TRIES + count):
            probe = held.enter_context(socket.socket())
            try:
                probe.bind((HOST, port))
            except OSError:  # in use
                continue
            found.append(port)
            if len(found) == count:
                return found
    raise OSError(f"of {_TRIES + count} ports tried on {HOST}, fewer than {count} are free")
