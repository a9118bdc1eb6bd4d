"""Artifacts on a real S3 server: conditional puts, killed writers, a server that goes away, bits that flip there."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from orchestrator.artifacts import LocalStore, open_store
from orchestrator.artifacts import buckets as module
from orchestrator.artifacts.buckets import BucketObjects
from orchestrator.artifacts.remote import RemoteStore
from orchestrator.errors import ArtifactCorrupt, ConfigError, StoreUnavailable
from tests.artifacts.s3_server import S3Server

SPAWN = multiprocessing.get_context("spawn")
MIB = 1024 * 1024


def test_of_writers_at_once_the_server_lets_one_through(s3: str) -> None:
    objects = BucketObjects(s3)
    together = threading.Barrier(8)
    created: list[bool] = []

    def write(salt: int) -> None:
        together.wait()
        created.append(objects.create("ab/cd/contended", bytes([salt]) * 100_000))

    threads = [threading.Thread(target=write, args=(salt,)) for salt in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert created.count(True) == 1
    assert len(set(b"".join(objects.read("ab/cd/contended")))) == 1


def test_what_is_large_goes_in_parts(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ONE_REQUEST_BYTES", 6 * MIB)
    data = os.urandom(20 * MIB)
    here = open_store(s3, tmp_path / "a")
    digest = here.put(data)
    assert here.put(data) == digest
    assert open_store(s3, tmp_path / "b").get(digest) == data


def _put_forever(url: str, cache: Path, begun: str) -> None:
    store = open_store(url, cache)
    i = 0
    while True:
        store.put(i.to_bytes(8, "big") * MIB)
        Path(begun).touch()
        i += 1


def test_kill_9_while_uploading_leaves_nothing_half_written(s3: str, tmp_path: Path) -> None:
    for attempt in range(3):
        begun = tmp_path / f"begun-{attempt}"
        child = SPAWN.Process(target=_put_forever, args=(s3, tmp_path / f"cache-{attempt}", str(begun)))
        child.start()
        while not begun.exists() and child.is_alive():
            time.sleep(0.01)
        time.sleep(0.05 * attempt)
        child.kill()
        child.join()
    there = open_store(s3, tmp_path / "cache")
    infos = list(there.list())
    assert infos
    for info in infos:
        assert info.size == 8 * MIB
        assert len(there.get(info.digest)) == info.size


def test_an_upload_that_breaks_off_is_not_seen(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer is killed with half of the parts sent: readers and listings know nothing of them."""
    code = f"""
import os, sys
from orchestrator.artifacts.buckets import BucketObjects
import obstore
def halves():
    yield bytes(12 * {MIB})
    sys.stdout.write("sent"); sys.stdout.flush(); sys.stdin.read()
obstore.put(BucketObjects({s3!r})._store, "ab/cd/half", halves(), chunk_size=5 * {MIB})
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with child:
        assert child.stdout is not None
        assert child.stdout.read(4) == b"sent"
        child.kill()
    objects = BucketObjects(s3)
    assert objects.find("ab/cd/half") is None
    assert list(objects.list()) == []
    assert objects.create("ab/cd/half", b"whole")
    assert b"".join(objects.read("ab/cd/half")) == b"whole"


@pytest.mark.slow  # the server itself tries for 13 s to read what its own checksum finds wrong
def test_flipped_bits_are_found_named_and_put_right(s3: str, s3_server: S3Server, tmp_path: Path) -> None:
    """Flipped in the server's own files, below everything that we wrote."""
    data = os.urandom(100_000)
    digest = open_store(s3, tmp_path / "a").put(data)
    assert s3_server.flip_everywhere(data[:64]) >= 1
    there = RemoteStore(BucketObjects(s3, retry_s=0), LocalStore(tmp_path / "b", durable=False))
    with pytest.raises(ArtifactCorrupt, match=f"{digest} is damaged in {s3}.*run the step that made it again"):
        there.get(digest)
    open_store(s3, tmp_path / "c").put(data)
    assert open_store(s3, tmp_path / "d").get(digest) == data


def test_a_server_that_goes_away_is_said_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = S3Server(tmp_path / "server")
    server.start()
    try:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        url = "s3://artifacts/goes-away"
        here = RemoteStore(BucketObjects(url, retry_s=1), LocalStore(tmp_path / "a", durable=False))
        digest = here.put(b"before")
        server.stop()
        for ask in (lambda: here.put(b"meanwhile"), lambda: here.exists(digest), lambda: list(here.list())):
            with pytest.raises(StoreUnavailable, match=rf"in {url}: .*retry_timeout: 1s.*resume") as refused:
                ask()
            assert refused.value.retryable
        assert bytes(here.get(digest)) == b"before"  # from the node's cache
        waiting = RemoteStore(BucketObjects(url), LocalStore(tmp_path / "b", durable=False))
        puts: list[str] = []
        writer = threading.Thread(target=lambda: puts.append(waiting.put(b"through the gap")))
        writer.start()
        server.start()
        writer.join()
        assert bytes(open_store(url, tmp_path / "c").get(puts[0])) == b"through the gap"
        assert bytes(open_store(url, tmp_path / "c").get(digest)) == b"before"
    finally:
        server.stop()


def test_credentials_that_do_not_fit_are_said(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StoreUnavailable, match="check the credentials"):
        open_store(s3, tmp_path / "cache").put(b"x")


class _NoSuchBucket(BaseHTTPRequestHandler):
    """Answers as S3 does for a bucket that is not there; the server of these tests makes it instead."""

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(404)
        self.end_headers()
        self.wfile.write(b"<Error><Code>NoSuchBucket</Code></Error>")

    def log_message(self, *_: object) -> None:
        pass


def test_a_bucket_that_is_not_there_is_said(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with HTTPServer(("127.0.0.1", 0), _NoSuchBucket) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(ConfigError, match="there is no bucket for s3://nowhere/x"):
            open_store("s3://nowhere/x", tmp_path / "cache").put(b"x")
        server.shutdown()


def test_a_client_that_is_not_installed_is_named(tmp_path: Path) -> None:
    code = "import sys; sys.modules['obstore'] = None\nfrom orchestrator.artifacts import open_store\n"
    code += "from orchestrator.errors import ConfigError\ntry: open_store('s3://bucket/x')\n"
    code += "except ConfigError as error: print(error)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "pip install 'ray-orchestrator[s3]'" in told
