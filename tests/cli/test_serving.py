"""``orc up --no-ray``: only the web pages, and what it refuses before anything starts."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from urllib.request import urlopen

import pytest

from tests.cli.conftest import FLOW, ROOT, Orc, validate


def test_pages_without_a_ray(orc: Orc) -> None:
    orc("run", f"{FLOW}:degrading", "--quiet")
    process = orc.start("up", "--no-ray", "--port", "0", "--json")
    assert process.stdout is not None
    try:
        told = json.loads(process.stdout.readline())
        validate(told, "served")
        with urlopen(f"{told['pages']}api/v1/runs", timeout=60) as answer:
            assert [run["pipeline"] for run in json.load(answer)["items"]] == ["degrading"]
        assert orc("up", "--status").code == 4  # that is about a Ray
    finally:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")
    assert not (orc.home / "web.json").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--no-ray", "--background"), "--no-ray keeps no Ray"),
        (("--status", "--port", "1"), "--status starts nothing"),
        (("--status", "--no-triggers"), "--status starts nothing"),
        (("--host", "0.0.0.0"), "a token is needed"),
        (("--token", "secret"), "not what it is"),
    ],
)
def test_what_does_not_go_together(orc: Orc, arguments: tuple[str, ...], said: str) -> None:
    done = orc("up", *arguments)
    assert (done.code, said in done.err, "Traceback" in done.err) == (2, True, False)


def test_a_port_that_is_taken_is_said_before_ray_starts(orc: Orc) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = orc("up", "--port", str(taken.getsockname()[1]))
    assert (done.code, "choose another with --port" in done.err, "starting Ray" in done.err) == (2, True, False)


def test_only_what_serves_loads_the_web_framework() -> None:
    code = (
        "import sys, orchestrator.cli.up, orchestrator.cli.listing, orchestrator.cli.running; "
        "print(*sorted({'fastapi', 'uvicorn', 'jinja2'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
