"""Looking at a Ray cluster from a server: asks a process of its own (``cluster_watch``), and ends it if it hangs."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from orchestrator.backends.cluster import parse_address
from orchestrator.errors import ClusterUnreachable
from orchestrator.ports.cluster import ClusterNode, ClusterView, Demand, Holder

IDLE_S = 60.0
"""The process that looks ends when nobody has looked for so long; it holds as much memory as Ray takes to import."""

_ROOT = str(Path(__file__).resolve().parents[2])


class RayLook:
    """``ports.cluster.ClusterLook`` on Ray. Thread-safe; one look at a time.

    Args:
        address: ``host:port`` of the head.
        auth_mode: ``token`` or ``disabled`` where that is known; else it is found out.
        log: Where the process writes what Ray says.
    """

    def __init__(self, address: str, auth_mode: str, log: Path) -> None:
        host, port = parse_address(address)
        self._address = f"{host}:{port}"
        self._auth_mode = auth_mode
        self._log = log
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._expiry: threading.Timer | None = None

    def look(self, timeout_s: float) -> ClusterView:
        """See ``ClusterLook``."""
        with self._lock:
            process = self._running()
            try:
                answer = json.loads(_asked(process, timeout_s))
            except TimeoutError:
                self._end()
                raise ClusterUnreachable(
                    f"the Ray at {self._address} did not answer within {timeout_s:g} s; see {self._log}"
                ) from None
            except (OSError, ValueError) as error:
                self._end()
                raise ClusterUnreachable(
                    f"the Ray at {self._address} could not be looked at: {error or 'no answer'}; see {self._log}"
                ) from None
            if "problem" in answer:
                raise ClusterUnreachable(answer["problem"])
            return view_from_json(answer["view"])

    def close(self) -> None:
        """See ``ClusterLook``."""
        with self._lock:
            self._end()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = threading.Timer(IDLE_S, self.close)
        self._expiry.daemon = True
        self._expiry.start()
        if self._process is None or self._process.poll() is not None:
            with open(os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as errors:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-c", _START, _ROOT, self._address, self._auth_mode],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True,
                )  # fmt: skip
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if self._expiry is not None:
            self._expiry.cancel()
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()


_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from orchestrator.backends import cluster_watch; "
    "sys.exit(cluster_watch.main(*sys.argv[2:]))"
)


def _asked(process: subprocess.Popen[bytes], timeout_s: float) -> bytes:
    """One line of an answer; raises TimeoutError or OSError."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"look\n")
    process.stdin.flush()
    deadline, data = time.monotonic() + timeout_s, b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not data.endswith(b"\n"):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            part = os.read(process.stdout.fileno(), 1 << 20)
            if not part:
                raise OSError(f"the process that looks has ended with {process.wait()}")
            data += part
    return data


def view_from_json(document: Any) -> ClusterView:
    """Inverse of ``dataclasses.asdict``."""
    return ClusterView(
        document["address"],
        tuple(
            ClusterNode(**{**node, "holders": tuple(_holder(one) for one in node["holders"])})
            for node in document["nodes"]
        ),
        tuple(Demand(**one) for one in document["demands"]),
        document["drivers"],
    )


def _holder(document: Any) -> Holder:
    devices = {int(index): amount for index, amount in document["devices"].items()}
    return Holder(**{**document, "devices": devices})
