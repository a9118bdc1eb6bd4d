"""Ports for servers that start later: free, distinct, and none that an outgoing connection could be given meanwhile."""

from __future__ import annotations

import random
import socket
from pathlib import Path

import pytest

from orchestrator.backends.loopback import HOST, free_ports

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def test_ports_are_distinct_free_and_below_what_connections_are_given() -> None:
    found = free_ports(50)
    first = int(_EPHEMERAL.read_text().split()[0]) if _EPHEMERAL.exists() else 49_152
    assert len(set(found)) == 50
    assert max(found) < first
    for port in found:
        with socket.socket() as server:
            server.bind((HOST, port))


def test_a_port_in_use_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, free = free_ports(2)
    monkeypatch.setattr(random.SystemRandom, "sample", lambda *_: [taken, free])
    with socket.socket() as server:
        server.bind((HOST, taken))
        server.listen()
        assert free_ports(1) == [free]
        with pytest.raises(OSError, match="fewer than 2 are free"):
            free_ports(2)
