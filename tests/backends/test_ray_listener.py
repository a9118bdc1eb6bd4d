"""Strangers do not become workers, and a false driver gets none. No Ray."""

from __future__ import annotations

import queue
import secrets
import socket
import threading
from collections.abc import Iterator
from importlib import metadata

import pytest

from orchestrator.backends.bundles.ray_actor import (
    IDENTITY,
    NONCE,
    Join,
    VersionsDiffer,
    call_back,
    compare_versions,
)
from orchestrator.backends.bundles.ray_listener import Listener, greet

IDENTITY_A = secrets.token_bytes(IDENTITY)
TOKEN = secrets.token_bytes(32)


class Driver:
    """A listener and who has arrived."""

    def __init__(self, host: str) -> None:
        self.arrived: queue.Queue[tuple[bytes, socket.socket]] = queue.Queue()
        self.listener = Listener(host, 0, {IDENTITY_A: TOKEN}.get, lambda: {"environ": {"A": "ä"}}, self._note)

    def _note(self, identity: bytes, link: socket.socket) -> None:
        self.arrived.put((identity, link))


@pytest.fixture(params=["", "127.0.0.1"], ids=["unix", "tcp"])
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    driver = Driver(request.param)
    yield driver
    driver.listener.close()


def join(endpoint: object, token: bytes = TOKEN) -> Join:
    return Join((endpoint,), IDENTITY_A, token, "", "", [], {}, b"")


def test_a_worker_with_the_token_is_let_in(driver: Driver) -> None:
    connection, greeting = call_back(join(driver.listener.endpoint))
    assert greeting == {"environ": {"A": "ä"}}
    identity, link = driver.arrived.get(timeout=60)
    assert identity == IDENTITY_A
    connection.sendall(b"frames")
    assert link.recv(6) == b"frames"
    connection.close()
    link.close()


def test_a_wrong_token_is_turned_away(driver: Driver) -> None:
    with pytest.raises(ConnectionError):
        call_back(join(driver.listener.endpoint, secrets.token_bytes(32)))
    assert driver.arrived.empty()


def test_a_silent_stranger_keeps_nobody_waiting(driver: Driver) -> None:
    endpoint = driver.listener.endpoint
    stranger = socket.socket(socket.AF_UNIX if isinstance(endpoint, str) else socket.AF_INET)
    stranger.connect(endpoint)
    connection, _ = call_back(join(endpoint))
    assert driver.arrived.get(timeout=60)[0] == IDENTITY_A
    stranger.close()
    connection.close()


def test_nobody_there_is_said_with_the_address(tmp_path: object) -> None:
    with pytest.raises(ConnectionError, match="nowhere"):
        call_back(join(f"{tmp_path}/nowhere"))


def test_a_false_driver_gets_no_worker() -> None:
    ours, theirs = socket.socketpair()

    def pretend() -> None:
        ours.sendall(secrets.token_bytes(NONCE))
        ours.recv(1024)
        ours.sendall(secrets.token_bytes(NONCE))

    thread = threading.Thread(target=pretend)
    thread.start()
    from orchestrator.backends.bundles.ray_actor import introduce

    with pytest.raises(ConnectionError, match="does not know"):
        introduce(theirs, IDENTITY_A, TOKEN)
    thread.join()
    ours.close()
    theirs.close()


def test_a_hang_up_during_the_handshake_is_an_error() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with pytest.raises(OSError, match=r"closed|pipe|reset"):
        greet(ours, lambda identity: TOKEN, dict)
    ours.close()


def test_a_closed_listener_leaves_no_file(tmp_path: object) -> None:
    driver = Driver("")
    endpoint = driver.listener.endpoint
    driver.listener.close()
    driver.listener.close()
    with pytest.raises(ConnectionError):
        call_back(join(endpoint))


def test_other_versions_on_a_node_are_named() -> None:
    here = metadata.version("pyarrow")
    compare_versions({"pyarrow": here})
    with pytest.raises(VersionsDiffer, match=rf"pyarrow is {here} on .* and 0\.1 at the driver"):
        compare_versions({"pyarrow": "0.1"})
    with pytest.raises(VersionsDiffer, match="no-such-library is missing"):
        compare_versions({"no-such-library": "1"})
