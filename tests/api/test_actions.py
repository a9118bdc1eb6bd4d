"""What can be done to a run, once for a key, and by whom."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlencode

import pytest

from orchestrator.api.server import Web, serving, token_of
from orchestrator.app.installation import Installation
from orchestrator.app.run import Run
from orchestrator.config.settings import Settings
from orchestrator.errors import ConfigError
from tests.api.conftest import Client, Served

TOKEN = "a token that nobody guesses"


def test_an_answer_is_taken_once_for_a_key(waiting: Served) -> None:
    run, post = waiting.runs["asking"], waiting.client
    path, body = f"/api/v1/runs/{run}/answers", {"step": "approve", "approved": True, "by": "Ann"}
    first = post(path, "POST", body, Idempotency_Key="one")
    assert (first.status, first.json) == (202, {"run": run, "action": "answer", "step": "approve", "driver": None})
    assert post(path, "POST", body, Idempotency_Key="one").body == first.body
    other = post(path, "POST", {**body, "approved": False}, Idempotency_Key="one")
    assert (other.status, other.json["code"]) == (409, "ORC-200")
    assert post(path, "POST", body).json["code"] == "ORC-140"
    assert post(path, "POST", {"step": "approve"}, Idempotency_Key="two").status == 400
    assert post(path, "POST", {"step": "ship", "approved": True}, Idempotency_Key="three").status == 404
    assert post(path, "POST", {"step": "approve", "aproved": True}, Idempotency_Key="four").status == 422
    (row,) = waiting.process.installation.journal.inbox(run)
    assert (row.body["value"], row.body["by"]) == (True, "Ann")
    with serving(waiting.process.installation, Web(port=0)) as url:  # another server knows the key, too
        assert Client(url)(path, "POST", body, Idempotency_Key="one").body == first.body


def test_a_cancelled_run_is_resumed_by_a_process_of_its_own_and_ends(waiting: Served) -> None:
    run, post = waiting.runs["asking"], waiting.client
    cancelled = post(f"/api/v1/runs/{run}/cancel", "POST", {"reason": "enough"}, Idempotency_Key="a")
    assert (cancelled.status, cancelled.json["driver"]) == (202, None)
    resumed = post(f"/api/v1/runs/{run}/resume", "POST", {}, Idempotency_Key="b")
    assert resumed.status == 202, resumed.text
    assert Run(waiting.process.installation, run).wait("60s").state == "cancelled"
    again = post(f"/api/v1/runs/{run}/resume", "POST", {}, Idempotency_Key="c")
    assert (again.status, "has ended" in again.json["detail"]) == (409, True)
    assert post(f"/api/v1/runs/{run}/cancel", "POST", {}, Idempotency_Key="d").status == 409


def test_forms_work_without_scripts(waiting: Served) -> None:
    run, post = waiting.runs["asking"], waiting.client
    page = post.page(f"/runs/{run}")
    assert all(f'value="{one}"' in page for one in ("approve", "reject", "resume", "cancel"))
    form = {"step": "approve", "seq": "5", "action": "approve", "by": "Ben"}
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": post.url.rstrip("/")}
    for _ in range(2):
        got = post(f"/runs/{run}/do", "POST", urlencode(form), **headers)
        assert (got.status, got.headers["location"]) == (303, f"/runs/{run}")
    (row,) = waiting.process.installation.journal.inbox(run)
    assert (row.body["value"], row.body["by"]) == (True, "Ben")
    assert post(f"/runs/{run}/do", "POST", urlencode({"action": "explode"})).status == 400


def test_pages_of_other_sites_change_nothing_and_see_nothing(waiting: Served) -> None:
    run, post = waiting.runs["asking"], waiting.client
    path = f"/api/v1/runs/{run}/cancel"
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://127.0.0.1:{int(post.host.partition(':')[2]) + 1}"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ):
        assert post(path, "POST", {}, Idempotency_Key="k", **headers).status == 403, headers
    assert waiting.process.installation.journal.inbox(run) == []
    for host in ("evil.example", "evil.example:8710", "127.0.0.1.evil.example", "localhost.evil.example", ""):
        assert post("/api/v1/runs", Host=host).status == 421, host
    for host in ("localhost", "127.0.0.1:9", "LOCALHOST:80", "[::1]:80"):
        assert post("/api/v1/runs", Host=host).status == 200, host
    assert "access-control-allow-origin" not in post("/api/v1/runs", Origin="https://evil.example").headers


def test_a_token_is_wanted_from_everybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_TOKEN", TOKEN)
    here = Installation(Settings.from_environment({"ORC_HOME": str(tmp_path / "home")}))
    with serving(here, Web(port=0, token="env:WEB_TOKEN")) as url:
        get = Client(url)
        for path in ("/api/v1/runs", "/api/v1/openapi.json", "/", "/models", "/runs/x/steps/y", "/nothing"):
            assert get(path).status == 401, path
            assert get(path, Authorization=f"Bearer {TOKEN}x").status == 401, path
        assert get("/api/v1/runs", Authorization=f"Bearer {TOKEN}", Host="box.example").status == 200
        assert get("/", Accept="text/html").headers["location"] == "/login?next=/"
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert get("/login", "POST", urlencode({"token": "wrong"}), **form).status == 401
        entered = get("/login", "POST", urlencode({"token": TOKEN, "next": "//evil.example"}), **form)
        assert (entered.status, entered.headers["location"]) == (303, "/")
        cookie = entered.headers["set-cookie"]
        assert TOKEN not in cookie
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert get("/", Cookie=cookie.partition(";")[0]).status == 200


@pytest.mark.parametrize(
    ("web", "said"),
    [
        (Web(host="0.0.0.0"), "a token is needed"),
        (Web(host="::"), "a token is needed"),
        (Web(host="box.example"), "a token is needed"),
        (Web(token="a plain text"), "not what it is"),
        (Web(host="0.0.0.0", token="env:SHORT"), "shorter than 16"),
    ],
)
def test_a_server_that_others_reach_does_not_start_without_a_token(
    web: Web, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORT", "short")
    with pytest.raises(ConfigError, match=said):
        token_of(web)


def test_answers_carry_what_keeps_browsers_careful(waiting: Served) -> None:
    for path in ("/", "/api/v1/runs", "/static/live.js", "/nothing"):
        headers = waiting.client(path).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
    assert (
        json.loads((waiting.process.installation.settings.home / "web.json").read_text())["url"] == waiting.client.url
    )
