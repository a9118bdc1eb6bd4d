"""A home with runs of every kind, and a server over it, asked as any client asks."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator import RunFailed
from orchestrator.api.server import Web, serving
from orchestrator.app.installation import Installation
from orchestrator.app.runner import Runner
from orchestrator.config.settings import Settings
from orchestrator.graph.pipeline import RunOptions
from orchestrator.testing.inprocess import InProcess
from tests.api import flow
from tests.api.browser import Page, browser, find_browser


@dataclass
class Got:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Asks one server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.host = url.removeprefix("http://").rstrip("/")

    def __call__(self, path: str, method: str = "GET", body: object = None, **headers: str) -> Got:
        """Ask; header names are written with underscores."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        data = body
        if body is not None and not isinstance(body, str):
            data, sent = json.dumps(body), {"Content-Type": "application/json", **sent}
        connection = http.client.HTTPConnection(self.host, timeout=60)
        try:
            connection.request(method, path, data, sent)
            answer = connection.getresponse()
            return Got(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def api(self, path: str, **headers: str) -> Any:
        """The document at a path below ``/api/v1``."""
        got = self(f"/api/v1{path}", **headers)
        assert got.status == 200, got.text
        return got.json

    def page(self, path: str) -> str:
        """A page."""
        got = self(path, Accept="text/html")
        assert got.status == 200, got.text
        return got.text


@dataclass
class Served:
    """A home, its server, and its runs by pipeline."""

    client: Client
    process: InProcess
    runs: dict[str, str]


@contextmanager
def served(home: Path, make: Callable[[InProcess], dict[str, str]], web: Web | None = None) -> Iterator[Served]:
    """Serve a home with the runs that ``make`` makes."""
    here = Installation(Settings.from_environment({"ORC_HOME": str(home), "ORC_SLOTS": "2"}))
    process = InProcess(installation=here)
    runs = make(process)
    with serving(process.installation, web or Web(port=0)) as url:
        yield Served(Client(url), process, runs)
    process.installation.close()


def _all_kinds(process: InProcess) -> dict[str, str]:
    runs, workers = {}, Runner(process.installation)
    for pipeline in (flow.shapes, flow.wide):
        runs[pipeline.name] = workers.run(pipeline, {}, RunOptions(on="local", tags={"team": "ops"})).id
    with pytest.raises(RunFailed):
        workers.run(flow.failing, {}, RunOptions(on="local"))
    runs["failing"] = process.installation.journal.runs("failing")[0].id
    runs["asking"] = _waiting(process)
    return runs


def _waiting(process: InProcess) -> str:
    """A run that waits for an answer, and whose driver has let go of it."""
    process.know(flow.asking.trace().stages)
    run = process.runner.start(flow.asking, {}, flow.asking.run_options, True)
    run.wait()
    return run.id


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Runs that are only looked at."""
    with served(tmp_path_factory.mktemp("api") / "home", _all_kinds) as found:
        yield found


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Models, releases and sweeps that are only looked at; made here only, because it takes the stages' libraries."""
    from tests.api.releasing import all_releases

    with served(tmp_path_factory.mktemp("released") / "home", all_releases) as found:
        yield found


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[Served]:
    """A run that waits, to act upon."""
    with served(tmp_path / "home", lambda process: {"asking": _waiting(process)}) as found:
        yield found


@pytest.fixture
def get(home: Served) -> Client:
    """The client of ``home``."""
    return home.client


@pytest.fixture
def client_of_nothing(tmp_path: Path) -> Iterator[Client]:
    """The client of an empty home."""
    with served(tmp_path / "empty", lambda process: {}) as found:
        yield found.client


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page of a browser; without one on this machine the tests are skipped, but fail in CI."""
    program = find_browser()
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium; install it, for instance with apt-get install chromium")
        pytest.skip("no Chromium on this machine")
    with browser(program, tmp_path_factory.mktemp("browser")) as found:
        yield found
