"""Starting and rolling back in a real browser, with the keyboard alone; what they begin is real as well."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.api.server import Web
from stages.deployment.client import Client as Asking
from tests.api.browser import Page
from tests.api.conftest import Client, served
from tests.cli.conftest import Orc
from tests.stages.churners import customers

CHURN = "tests.stages.churners:churn"


def test_a_run_is_started_from_its_pipeline_and_followed_to_its_end(page: Page, tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "small.yaml").write_text("pipeline: tests.api.flow:shapes\nparams: {n: 7}\n")
    page.complaints.clear()
    with served(tmp_path / "home", lambda process: {}, Web(port=0, project=str(tmp_path))) as home:
        page.open(home.client.url)
        page.tab_to("Pipelines")
        page.press("Enter")
        page.until("location.pathname === '/pipelines' && document.readyState === 'complete'")
        page.tab_to("small")
        page.press("Enter")
        page.until("location.pathname === '/pipelines/small' && document.readyState === 'complete'")
        while page.evaluate("document.activeElement.name") != "p.n":
            page.press("Tab")
        page.type("5")
        page.tab_to("Plan")
        page.press("Enter")
        page.until("document.querySelector('#plan') !== null", 120)
        assert page.evaluate("document.querySelector('[name=\"p.n\"]').value") == "5"
        page.tab_to("Start")
        page.press("Enter")
        page.until("location.pathname.startsWith('/runs/shapes-')", 120)
        page.until("document.querySelector('h1')?.innerText.includes('succeeded')", 120)
        assert page.complaints == []
        run = page.evaluate("location.pathname.split('/').pop()")
        assert home.client.api(f"/runs/{run}")["params"]["n"] == "5"


@contextmanager
def asked(url: str) -> Iterator[None]:
    """Somebody asks an application all the time."""
    over = threading.Event()
    rows = [{**row, "since": row["since"].isoformat()} for row in customers(20).drop_columns(["left"]).to_pylist()]

    def ask() -> None:
        client = Asking(url, 30.0)
        while not over.wait(0.2):
            client.predict(rows[:1])
        client.close()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def followed(get: Client, run: str) -> tuple[str, set[tuple[str, int]]]:
    """State of a run when it has ended, and how its application was told of meanwhile: state, versions that answer."""
    deadline, seen = time.monotonic() + 300, set()
    while (found := get.api(f"/runs/{run}")["run"])["finished_at"] is None:
        assert time.monotonic() < deadline, found
        seen |= {(one["state"], len(one["weights"])) for one in get.api("/apps")["items"] if one["run"] == run}
        time.sleep(0.2)
    return str(found["state"]), seen


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_release_is_taken_back_from_its_page(page: Page, tmp_path: Path) -> None:
    orc = Orc(tmp_path / "home")
    orc.env["RAY_AUTH_TOKEN_PATH"] = str(tmp_path / "token")
    page.complaints.clear()
    try:
        up = orc("up", "--background", "--json", "--port", "0", "--num-cpus", "2")
        assert up.code == 0, up.err
        get = Client(json.loads(up.out)["pages"])
        for strength in ("1.0", "0.5"):
            assert orc("run", CHURN, f"strength={strength}", "--on", "local", "-q").code == 0
        first = send_out(get, 1)
        url = get.api(f"/releases/{first['id']}")["url"]
        with asked(url):
            second = send_out(get, 2, ("running", 2))
        assert (second["state"], second["stable"]) == ("promoted", first["candidate"])
        page.open(f"{get.url}releases")
        page.tab_to("Roll back…")
        page.press("Enter")
        page.until(f"location.pathname === '/releases/{second['id']}' && document.readyState === 'complete'")
        assert page.evaluate("document.querySelector('#roll-back').checkVisibility()")  # the link has opened it
        page.tab_to("Roll churn back")
        page.press("Enter")
        page.until("location.pathname.startsWith('/runs/send_back-')", 120)
        page.until("document.querySelector('h1')?.innerText.includes('succeeded')", 120)
        (app,) = get.api("/apps")["items"]
        assert (app["last"], app["weights"]) == ("rollback", {first["candidate"]: 100.0})
        page.open(f"{get.url}releases/{second['id']}")
        assert "rolled back by hand" in page.evaluate("document.body.innerText")
        assert page.evaluate("document.querySelector('button[value=rollback]')") is None
        assert page.complaints == []
    finally:
        orc("down")


def send_out(get: Client, number: int, *told: tuple[str, int]) -> Any:
    """A release of a version, when it has ended; what has to be told of it meanwhile."""
    body = {
        "model": f"churn@v{number}", "app": "churn", "how": "canary", "steps": [50, 100], "bake": "3s",
        "min_samples": 1, "force": True, "why": "a test",
    }  # fmt: skip
    begun = get("/api/v1/releases", "POST", body, Idempotency_Key=f"release {number}")
    assert begun.status == 202, begun.text
    assert get("/api/v1/releases", "POST", body, Idempotency_Key=f"release {number}").body == begun.body
    state, seen = followed(get, begun.json["run"])
    assert (state, set(told) - seen) == ("succeeded", set())
    return next(one for one in get.api("/releases")["items"] if one["run"] == begun.json["run"])
