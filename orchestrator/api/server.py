"""The server of API and pages: binds, serves in a thread of its own, and leaves a record by which others find it."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator.app.installation import Installation
from orchestrator.app.signals import telling
from orchestrator.backends.standing import process_identity
from orchestrator.errors import BackendError, ConfigError
from orchestrator.graph.secret import resolve_reference

LOOPBACK = "127.0.0.1"

PORT = 8710
"""The port if none is asked for; another one if it is taken."""

RECORD = "web.json"
_START_S = 60.0


@dataclass(frozen=True, slots=True)
class Web:
    """Where to listen.

    Attributes:
        port: None for ``PORT`` or, if that is taken, any; 0 for any.
        token: Where the token is found: ``env:NAME`` or ``file:PATH``; empty for none.
        project: Directory whose pipelines may be started; empty for none but the shipped ones.
        resume: Beside serving, drive runs on whose driver died.
        triggers: Beside serving, begin runs of the project by themselves.
    """

    host: str = LOOPBACK
    port: int | None = None
    token: str = ""
    project: str = ""
    resume: bool = True
    triggers: bool = True

    def to_json(self) -> str:
        """As text."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Web:
        """Inverse of ``to_json``."""
        return Web(**json.loads(text))


def token_of(web: Web) -> str:
    """The token.

    Raises:
        ConfigError: there is none although others than this machine could connect; or it is no reference, or empty.
        NotFound: it is not where the reference says.
    """
    if not web.token:
        if not _is_loopback(web.host):
            raise ConfigError(
                f"--host {web.host} lets other machines connect, so a token is needed: --token env:NAME or file:PATH"
            )
        return ""
    if not web.token.startswith(("env:", "file:")):
        raise ConfigError("--token says where the token is found, env:NAME or file:PATH, not what it is")
    token = resolve_reference(web.token).strip()
    if len(token) < 16:
        raise ConfigError(f"the token in {web.token} is shorter than 16 characters; anybody could guess it")
    return token


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bind(web: Web) -> socket.socket:
    """A socket that listens; raises ConfigError if it cannot be had."""
    family = socket.AF_INET6 if ":" in web.host else socket.AF_INET
    ports = [PORT, 0] if web.port is None else [web.port]
    for port in ports:
        try:
            return socket.create_server((web.host, port), family=family, backlog=512)
        except OSError as error:
            why = error.strerror or str(error)
    raise ConfigError(f"cannot listen on {web.host}:{ports[-1]}: {why}; choose another with --port, or 0 for any")


@contextmanager
def serving(installation: Installation, web: Web) -> Iterator[str]:
    """Serve as long as the context lasts; gives the address to open.

    Raises:
        ConfigError, NotFound: as ``token_of`` and ``bind``.
    """
    import uvicorn

    from orchestrator.api.app import make_app

    token = token_of(web)
    listening = bind(web)
    host, port = listening.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    app = make_app(installation, token, Path(web.project) if web.project else None)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, lifespan="off", server_header=False,
        timeout_graceful_shutdown=1, ws="none", loop="asyncio",
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), name="web server", daemon=True)
    thread.start()
    try:
        _await(server, thread)
        write_record(installation.settings.home, url)
        with telling(installation):
            yield url
    finally:
        remove_record(installation.settings.home)
        server.should_exit = True
        thread.join(_START_S)
        listening.close()


def _await(server: object, thread: threading.Thread) -> None:
    deadline = time.monotonic() + _START_S
    while not getattr(server, "started", False):
        if not thread.is_alive() or time.monotonic() > deadline:
            raise BackendError("the web server did not start; its log above says why")
        time.sleep(0.02)


# ---- the record


def write_record(home: Path, url: str) -> None:
    """Let others find the server."""
    draft = home / f"{RECORD}.{os.getpid()}"
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump({"url": url, "pid": os.getpid(), "identity": process_identity(os.getpid())}, file)
    draft.replace(home / RECORD)


def remove_record(home: Path) -> None:
    """Take the record of this process away; that of another one stays."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        if json.loads((home / RECORD).read_text())["pid"] == os.getpid():
            (home / RECORD).unlink()


def address(home: Path, wait_s: float = 0.0) -> str | None:
    """Where the server of an installation listens; None if none is up, also not within a while."""
    deadline = time.monotonic() + wait_s
    while (found := _recorded(home)) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def _recorded(home: Path) -> str | None:
    try:
        found = json.loads((home / RECORD).read_text())
        return str(found["url"]) if process_identity(int(found["pid"])) == found["identity"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
