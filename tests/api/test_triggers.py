"""Triggers in the API and on pages: what is declared, fired and will fire; asked for, paused, told as it happens."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from orchestrator.api.server import Web
from orchestrator.app.declared import Declared, Triggered
from orchestrator.app.reading import Keeper
from orchestrator.app.triggering import TriggersReader
from orchestrator.graph import fact as f
from orchestrator.ports.journal import RunRow
from orchestrator.triggers.queue import Firing
from tests.api.axe import source, violations_in_both
from tests.api.browser import Page
from tests.api.conftest import Client, Served, served
from tests.api.test_pages import Outline
from tests.api.test_releases import FORM
from tests.cli.trigger_project import write_project

CLOUD = "application/cloudevents+json"


@dataclass
class Scheduled:
    """A served project, and who fires its triggers when told to; runs are made and not driven."""

    home: Served
    project: Path
    keeper: Keeper[Any]

    def begin(self, firing: Firing, pipeline: Triggered) -> str:
        """A run that goes on."""
        journal = self.home.process.installation.journal
        run, now = f"{pipeline.name}-{len(journal.runs(limit=500)):04}", time.time()
        created = f.RunCreated(pipeline.name, "0" * 64, "0" * 64, {})
        row = RunRow(run, pipeline.name, "running", 1, 0, now, trigger_key=firing.key)
        return journal.create(row, [created], {})

    def round(self) -> None:
        """Look twice: what was begun is noted by the second look."""
        self.keeper.round()
        self.keeper.round()


@pytest.fixture(scope="module")
def scheduled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scheduled]:
    root = tmp_path_factory.mktemp("triggers")
    project = write_project(root / "project")
    (project / "configs" / "broken.yaml").write_text("pipeline: flows:churn\non: [{crom: '0 2 * * *'}]\n")
    with served(root / "home", lambda process: {}, Web(port=0, project=str(project))) as home:
        here = home.process.installation
        declared = Declared(here, project)
        found = Scheduled(home, project, None)  # type: ignore[arg-type]
        declared.read()
        reader = TriggersReader(here, project, declared.read, found.begin, lambda work: work())
        found.keeper = Keeper(here, reader)
        found.round()
        yield found


@pytest.fixture
def get(scheduled: Scheduled) -> Client:
    return scheduled.home.client


def post(get: Client, path: str, body: object = None, key: str = "", **headers: str) -> Any:
    return get(f"/api/v1{path}", "POST", body if body is not None else {}, **({"Idempotency_Key": key} if key else {}),
               **headers)  # fmt: skip


def test_triggers_are_listed_with_what_cannot_be_read(get: Client) -> None:
    found = get.api("/triggers")
    told = {one["id"].rpartition(".")[0]: one for one in found["items"]}
    assert sorted(told) == ["after.artifact", "churn.cron", "churn.webhook", "ticking.cron"]
    nightly = told["churn.cron"]
    assert (nightly["declared"]["tz"], nightly["state"], nightly["concurrency"]) == ("Europe/Berlin", "active", 1)
    assert nightly["next"]["local"][10:19] == "T02:30:00"
    assert told["churn.webhook"]["next"] is None
    (unread,) = found["unread"]
    assert unread["pipeline"] == "broken"
    assert "broken.yaml:2: on.0: an entry has one of artifact, cron, webhook" in unread["problem"]
    assert found["scheduler"] is None


def test_schedules_say_what_will_fire_soonest_first(get: Client) -> None:
    found = get.api("/schedules?hours=48&limit=500")["items"]
    assert [one["at"] for one in found] == sorted(one["at"] for one in found)
    assert {one["pipeline"] for one in get.api("/schedules?hours=0.01")["items"]} == {"ticking"}
    assert get("/api/v1/schedules?hours=-1").status == 422


def test_an_event_runs_every_pipeline_that_waits_for_it_once(get: Client, scheduled: Scheduled) -> None:
    first = post(get, "/triggers/retrain/events", {"params": {"rows": 2}}, "one")
    assert (first.status, [one["state"] for one in first.json["items"]]) == (202, ["waiting"]), first.text
    assert post(get, "/triggers/retrain/events", {"params": {"rows": 2}}, "one").body == first.body
    other = post(get, "/triggers/retrain/events", {"params": {"rows": 3}}, "one")
    assert (other.status, other.json["code"]) == (409, "ORC-200")
    scheduled.round()
    (again,) = post(get, "/triggers/retrain/events", {"params": {"rows": 2}}, "one").json["items"]
    assert (again["state"], again["run_state"], again["run"][:6]) == ("begun", "running", "churn-")
    event = {"specversion": "1.0", "id": "1", "source": "/lake", "type": "closed", "time": "2026-01-01T00:00:00Z"}
    sent = [post(get, "/triggers/retrain/events", event | {"data": {"n": n}}, Content_Type=CLOUD) for n in range(2)]
    assert [one.status for one in sent] == [202, 202]
    scheduled.round()
    detail = get.api("/triggers/churn.webhook")
    assert [(one["what"], one["state"]) for one in detail["firings"]] == [
        ("closed 1 from /lake", "waiting"), ("an event", "begun"),
    ]  # fmt: skip
    assert detail["trigger"]["waiting"] == 1  # at most one at once
    assert [one["name"] for one in detail["parameters"]] == ["day", "rows", "label"]


@pytest.mark.parametrize(
    ("body", "headers", "status", "said"),
    [
        ({"params": {"rows": "x"}}, {}, 400, "params.rows: 'x' is not of type 'integer'"),
        ({"params": {"raws": 1}}, {}, 400, "params.raws"),
        ({"values": {}}, {}, 422, "body.values"),
        ("{", {}, 422, "Invalid JSON"),
        ({"specversion": "1.0", "id": "1", "type": "t"}, {"Content_Type": CLOUD}, 422, "body.source"),
        ({"specversion": "0.3", "id": "1", "source": "s", "type": "t"}, {"Content_Type": CLOUD}, 422, "specversion"),
    ],
)
def test_events_that_fit_nothing_are_refused_and_name_the_field(
    get: Client, body: object, headers: dict[str, str], status: int, said: str
) -> None:
    refused = post(get, "/triggers/retrain/events", body, "bad", **headers)
    assert (refused.status, refused.headers["content-type"]) == (status, "application/problem+json")
    assert said in refused.json["detail"]


def test_events_need_a_key_a_webhook_and_a_size(get: Client) -> None:
    assert post(get, "/triggers/retrain/events", {}).json["code"] == "ORC-140"
    missing = post(get, "/triggers/retrian/events", {}, "k")
    assert (missing.status, "did you mean 'retrain'" in missing.json["detail"]) == (404, True)
    large = post(get, "/triggers/retrain/events", json.dumps({"params": {"label": "x" * 2**21}}), "k")
    assert large.status == 413


def test_a_trigger_is_paused_resumed_and_fired_by_hand(get: Client, scheduled: Scheduled) -> None:
    (nightly,) = (
        one["id"] for one in get.api("/triggers")["items"] if one["kind"] == "cron" and one["pipeline"] == "churn"
    )
    assert post(get, f"/triggers/{nightly}/pause").json["code"] == "ORC-140"
    assert post(get, f"/triggers/{nightly}/pause", key="p").json["action"] == "pause"
    rests = get.api(f"/triggers/{nightly}")
    assert (rests["trigger"]["state"], rests["trigger"]["next"], rests["upcoming"]) == ("paused", None, [])
    fired = post(get, f"/triggers/{nightly}/fire", {"params": {"label": "hand"}}, "f")
    assert (fired.status, fired.json["step"], fired.json["run"]) == (202, nightly, "")
    assert post(get, f"/triggers/{nightly}/fire", {"params": {"label": "hand"}}, "f").body == fired.body
    scheduled.round()
    assert [one["by"] for one in get.api(f"/triggers/{nightly}")["firings"]] == ["by hand"]
    assert post(get, f"/triggers/{nightly}/resume", key="r").status == 202
    assert get.api(f"/triggers/{nightly}")["trigger"]["state"] == "active"
    hook = get.api("/triggers/churn.webhook")["trigger"]["id"]
    post(get, f"/triggers/{hook}/pause", key="p2")
    refused = post(get, "/triggers/retrain/events", {}, "resting")
    assert (refused.status, "is paused" in refused.json["detail"]) == (409, True)
    post(get, f"/triggers/{hook}/resume", key="r2")


def test_pages_show_them_and_their_forms_act_once(get: Client, scheduled: Scheduled) -> None:
    for path in ("/triggers", f"/triggers/{get.api('/triggers/churn.webhook')['trigger']['id']}"):
        outline = Outline(get.page(path))
        assert (outline.bare, outline.labels) == ([], outline.inputs), path
        assert len(outline.ids) == len(set(outline.ids))
    page = get.page("/triggers")
    assert ("30 2 * * * (Europe/Berlin)" in page, "broken.yaml:2" in page, "no <code>orc up</code>" in page) == (
        True, True, True,
    )  # fmt: skip
    after = get.api("/triggers/after.artifact")["trigger"]["id"]
    form = urlencode({"action": "fire", "state": "s1", "from": "page", "p.label": "17"})
    for _ in range(2):
        done = get(f"/triggers/{after}/do", "POST", form, Origin=get.url.rstrip("/"), **FORM)
        assert (done.status, done.headers["location"]) == (303, f"/triggers/{after}")
    scheduled.round()
    (firing,) = get.api("/triggers/after.artifact")["firings"]
    assert firing["by"] == "by hand"
    assert firing["run"] in get.page(f"/triggers/{after}")
    assert scheduled.keeper.reader.totals().firings[-1].values == {"label": "17"}
    assert get(f"/triggers/{after}/do", "POST", urlencode({"action": "explode"}), **FORM).status == 400


def test_the_page_works_by_keyboard_live_and_keeps_the_rules(
    get: Client, scheduled: Scheduled, page: Page, tmp_path: Path
) -> None:
    script = source(tmp_path)
    paths = ["triggers", f"triggers/{get.api('/triggers/churn.webhook')['trigger']['id']}"]
    broken = [f"{path}: {one}" for path in paths for one in violations_in_both(page, script, f"{get.url}{path}")]
    assert not broken, "\n".join(broken)
    page.open(f"{get.url}triggers")
    page.until("document.querySelector('.live').innerText === 'live'")
    page.tab_to("Pause")
    page.press("Enter")
    page.until("[...document.querySelectorAll('button')].some((one) => one.innerText === 'Resume')")
    page.until("document.querySelector('.live').innerText === 'live'")
    post(get, "/triggers/after.artifact/resume", key="by the api")  # elsewhere, and the page hears of it
    page.until("[...document.querySelectorAll('button')].every((one) => one.innerText !== 'Resume')")
    assert page.complaints == []
