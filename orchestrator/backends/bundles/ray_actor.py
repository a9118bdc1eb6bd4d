"""The worker's side of Ray: an actor that fetches the engine if it must, calls the driver back and becomes a worker.

Ray places and watches the actor; frames go through a socket to the driver, which takes a tenth of a
millisecond where an actor call takes two, and leaves the process's main thread to the steps. This module is sent
to the cluster by value, before the engine is there: it imports the standard library only.
"""

from __future__ import annotations

import hashlib
import hmac
import importlib
import json
import os
import pickle
import secrets
import socket
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

NONCE = 32
IDENTITY = 16
"""Bytes of a channel's id, the first thing a worker says."""

_HANDSHAKE_S = 20.0


@dataclass(frozen=True)
class Join:
    """How a worker finds its driver.

    Attributes:
        endpoints: Addresses to try in turn: a path of a Unix socket, or (host, port).
        identity, token: Who this worker is, and the secret both sides prove to have.
        engine: Digest of the engine's files; ``engine_root`` where they lie on the driver's machine.
        archive: Ray reference to the files, in a list so that Ray does not fetch what is not needed; empty on the
            driver's own machine.
        versions: Libraries whose formats travel, with the driver's versions; empty on the driver's own machine.
        entry: Pickled callable that takes the connected socket and works until it is closed.
    """

    endpoints: tuple[Any, ...]
    identity: bytes
    token: bytes
    engine: str
    engine_root: str
    archive: list[Any]
    versions: dict[str, str]
    entry: bytes


class VersionsDiffer(Exception):
    """This node has other versions than the driver."""


class WorkerActor:
    """A place in the cluster that becomes a worker."""

    def run(self, join: Join) -> str:
        """Work until the driver closes the connection; why the worker ended."""
        compare_versions(join.versions)
        install_engine(join)
        connection, greeting = call_back(join)
        settle(greeting)
        pickle.loads(join.entry)(connection)
        return "closed"


def hold(join: Join) -> str:
    """Do nothing until the driver closes the connection: this task's CPU is used by a worker beside it."""
    connection, _ = call_back(join)
    with connection:
        while connection.recv(1):
            pass
    return "released"


def compare_versions(drivers: dict[str, str]) -> None:
    """Raises VersionsDiffer, naming both sides, if a library is missing here or has another version."""
    differences = []
    for library, version in drivers.items():
        try:
            here = metadata.version(library)
        except metadata.PackageNotFoundError:
            here = "missing"
        if here != version:
            differences.append(f"{library} is {here} on {socket.gethostname()} and {version} at the driver")
    if differences:
        raise VersionsDiffer(f"{', '.join(differences)}; install the same versions on both sides")


def install_engine(join: Join) -> None:
    """Make the driver's engine importable: from where it lies, or unpacked from its archive once per node."""
    root = Path(join.engine_root)
    if join.archive:
        import ray

        root = Path(tempfile.gettempdir()) / f"orc-engine-{os.getuid()}" / join.engine
        if not root.is_dir():
            unpack(ray.get(join.archive[0]), root)
        sys.path.append(str(root / "libraries"))
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    importlib.invalidate_caches()


def unpack(archive: bytes, root: Path) -> None:
    """Unpack the engine; of several workers that do it at once, one wins."""
    root.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if root.parent.stat().st_uid != os.getuid():
        raise PermissionError(f"{root.parent} belongs to another user")
    with tempfile.TemporaryDirectory(dir=root.parent) as scratch:
        packed = Path(scratch) / "engine.zip"
        packed.write_bytes(archive)
        with zipfile.ZipFile(packed) as files:
            files.extractall(Path(scratch) / "engine")
        try:
            (Path(scratch) / "engine").rename(root)
        except OSError:
            if not root.is_dir():
                raise


def settle(greeting: dict[str, Any]) -> None:
    """Take over the driver's directory and what has changed in its environment since Ray was started."""
    for name, value in greeting.get("environ", {}).items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    if os.path.isdir(greeting.get("directory", "")):
        os.chdir(greeting["directory"])


def call_back(join: Join) -> tuple[socket.socket, dict[str, Any]]:
    """A connection to the driver, both sides having proved that they know the token, and the driver's greeting.

    Raises:
        ConnectionError: no endpoint answers, or what answers is not the driver.
    """
    failures = []
    for endpoint in join.endpoints:
        try:
            connection = _connected(endpoint)
        except OSError as error:
            failures.append(f"{endpoint}: {error}")
            continue
        return connection, introduce(connection, join.identity, join.token)
    raise ConnectionError(f"the worker on {socket.gethostname()} cannot reach its driver at {'; '.join(failures)}")


def _connected(endpoint: Any) -> socket.socket:
    if isinstance(endpoint, str):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_HANDSHAKE_S)
        connection.connect(endpoint)
        return connection
    connection = socket.create_connection(endpoint, _HANDSHAKE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return connection


def introduce(connection: socket.socket, identity: bytes, token: bytes) -> dict[str, Any]:
    """The worker's half of the handshake, and what the driver greets it with; raises ConnectionError."""
    theirs = read_exactly(connection, NONCE)
    ours = secrets.token_bytes(NONCE)
    connection.sendall(identity + ours + proof(token, b"worker", theirs, ours))
    if not hmac.compare_digest(read_exactly(connection, NONCE), proof(token, b"driver", ours, theirs)):
        raise ConnectionError("what answers at the driver's address does not know the worker's token")
    size = int.from_bytes(read_exactly(connection, 4), "big")
    greeting: dict[str, Any] = json.loads(read_exactly(connection, size))
    connection.settimeout(None)
    return greeting


def proof(token: bytes, side: bytes, theirs: bytes, ours: bytes) -> bytes:
    """Shows that a side knows the token, for these two nonces only."""
    return hmac.new(token, side + theirs + ours, hashlib.sha256).digest()


def read_exactly(connection: socket.socket, count: int) -> bytes:
    """That many bytes; raises ConnectionError at the end of the stream."""
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise ConnectionError("the connection was closed during the handshake")
        data += part
    return data
