"""Releases in the API and on pages: what is on record of them, drawn and in words, and what may be done about them."""

from __future__ import annotations

import re
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest

from orchestrator.api.release_schemas import NewRelease
from orchestrator.app.released import Releases
from orchestrator.app.releasing import SendOut
from orchestrator.views.panel import picture
from tests.api.conftest import Client, Served
from tests.api.test_pages import STYLE, Outline

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def get(released: Served) -> Client:
    return released.client


def by_run(released: Served, what: str) -> str:
    """Id of the release that a run made."""
    found = released.client.api("/releases")["items"]
    return str(next(one["id"] for one in found if one["run"] == released.runs[what]))


def test_applications_and_how_their_requests_are_split(get: Client, released: Served) -> None:
    churn, shop, third = get.api("/apps")["items"]
    first = get.api(f"/releases/{by_run(released, 'first')}")["release"]
    assert (churn["app"], churn["last"], churn["run"]) == ("churn", "rollback", released.runs["rolled back"])
    assert (churn["weights"], churn["may_roll_back"]) == ({first["candidate"]: 100.0}, False)
    assert (shop["app"], shop["last"], shop["state"]) == ("shop", "release", "reported")
    assert (third["state"], third["weights"], third["may_roll_back"]) == ("stopped", {"v1": 100.0}, True)


def test_releases_are_paged_and_picked_by_application(get: Client, released: Served) -> None:
    everything = get.api("/releases")["items"]
    assert [one["app"] for one in everything] == ["third", "shop", "shop", "churn", "churn", "churn"]
    page = get.api("/releases?app=churn&limit=2")
    rest = get.api(f"/releases?app=churn&limit=2&cursor={page['next']}")
    assert [one["id"] for one in page["items"] + rest["items"]] == [one["id"] for one in everything[3:]]
    assert rest["next"] is None
    tag = get("/api/v1/releases").headers["etag"]
    assert get("/api/v1/releases", If_None_Match=tag).status == 304


def test_releases_by_hand_are_found_after_many_other_runs(released: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.app.released.MOST_RUNS", 3)
    found = Releases(released.process.installation).all()
    by_hand = [released.runs[what] for what in ("rolled back", "sent back", "promoted", "first")]
    assert [one.run for one in found if one.run in by_hand] == by_hand


def test_the_record_says_what_was_seen_and_why(get: Client, released: Served) -> None:
    sent_back = get.api(f"/releases/{by_run(released, 'sent back')}")
    release = sent_back["release"]
    assert (release["state"], release["model"], release["forced"]) == ("rolled_back", "model:churn@v3", "a <test>")
    assert release["why"].startswith("p95_ms > 0.01: candidate 100 %")
    (guard,) = [one for one in sent_back["guards"] if one["proved"]]
    assert (guard["claim"], guard["progress"]) == ("p95_ms > 0.01", 1.0)
    assert guard["e_value_log"] >= guard["needed_log"]
    assert sent_back["trail"][0]["weight"] == 20.0
    promoted = get.api(f"/releases/{by_run(released, 'promoted')}")
    assert promoted["tags"] == ["model:churn@champion from v1 to v2"]
    assert (promoted["actions"], promoted["experiment"]) == ([], None)
    assert [one["weight"] for one in promoted["trail"]][-1] == 100.0
    stopped = get.api("/releases/r1")
    assert (stopped["actions"], stopped["release"]["ended_at"]) == (["rollback"], None)


def test_an_experiment_has_its_effect_and_slices(get: Client, released: Served) -> None:
    experiment = get.api(f"/releases/{by_run(released, 'experiment')}")["experiment"]
    assert experiment["effect"]["low"] < experiment["effect"]["difference"] < experiment["effect"]["high"]
    assert [one["name"] for one in experiment["slices"]] == ["plan=basic", "plan=plus", "plan=pro"]
    assert [one["role"] for one in experiment["versions"]] == ["candidate", "stable"]
    drawn = get(experiment["chart_url"])
    ElementTree.fromstring(drawn.text)
    page = get.page(f"/releases/{by_run(released, 'experiment')}")
    assert all(text in page for text in ("confidence sequence", "plan=pro", "Effect over time"))


def test_drawings_stand_by_themselves_and_inside_pages(get: Client, released: Served) -> None:
    for what in ("first", "promoted", "sent back"):
        release = by_run(released, what)
        drawn = get(f"/api/v1/releases/{release}/chart.svg")
        ElementTree.fromstring(drawn.text)
        assert "<style>" in drawn.text
        assert drawn.headers["content-security-policy"] == "default-src 'none'; style-src 'unsafe-inline'"
        page = get.page(f"/releases/{release}")
        assert "<style" not in page  # the policy of pages would refuse it
        assert "Percent of the requests" in page or "No request has moved" in page
    assert get(f"/api/v1/releases/{by_run(released, 'first')}/experiment.svg").status == 404
    assert get("/api/v1/releases/nothing").json["code"] == "ORC-150"


def test_dark_pages_have_the_colours_of_dark_drawings() -> None:
    rules = re.findall(r"\.orc-panel \[(fill|stroke)='(#\w+)'\]\{\1:(#\w+)\}", picture("", 1, 1, []))
    assert len(rules) > 10
    written = STYLE.read_text()
    for part, day, night in rules:
        assert f'.orc-panel [{part}="{day}"] {{ {part}: {night}; }}' in written


def test_pages_are_whole_without_scripts_and_show_texts_as_texts(get: Client, released: Served) -> None:
    paths = ["/releases", "/releases?app=churn", *(f"/releases/{one['id']}" for one in get.api("/releases")["items"])]
    for path in paths:
        text = get.page(path)
        outline = Outline(text)
        assert (len(text) < 100_000, outline.bare, outline.labels) == (True, [], outline.inputs), path
        assert len(outline.ids) == len(set(outline.ids)), path
        assert all(get(link, Accept="text/html").status == 200 for link in outline.links if link[0] == "/"), path
        assert "<test>" not in text
    assert "a &lt;test&gt;" in get.page(f"/releases/{by_run(released, 'promoted')}")
    assert "rolled back by hand" in get.page(f"/releases/{by_run(released, 'promoted')}")


def test_only_what_can_be_taken_back_has_a_button(get: Client, released: Served) -> None:
    assert 'value="rollback"' in get.page("/releases/r1")
    assert 'value="rollback"' not in get.page(f"/releases/{by_run(released, 'promoted')}")


def test_a_rollback_that_cannot_begin_is_refused_with_its_reason(get: Client) -> None:
    path = "/api/v1/apps/third/rollback"
    assert get(path, "POST", {}).json["code"] == "ORC-140"  # no key
    for _ in range(2):  # a refusal is not kept: it may be asked for again
        refused = get(path, "POST", {}, Idempotency_Key="back")
        assert (refused.status, refused.json["code"]) == (400, "ORC-140")
        assert "none is up that would outlive" in refused.json["detail"]
    form = urlencode({"action": "rollback", "state": "x"})
    page = get("/apps/third/do", "POST", form, Accept="text/html", Origin=get.url.rstrip("/"), **FORM)
    assert (page.status, "none is up that would outlive" in page.text) == (400, True)
    assert get("/apps/third/do", "POST", urlencode({"action": "explode"}), **FORM).status == 400
    assert get(path, "POST", {}, Idempotency_Key="k", Origin="https://evil.example").status == 403


def test_a_release_that_may_not_begin_is_refused(
    get: Client, released: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORC_RAY_ADDRESS", "127.0.0.1:9")  # nobody is asked
    runs = len(get.api("/runs?limit=500")["items"])
    early = get("/api/v1/releases", "POST", {"model": "churn@v1", "app": "churn"}, Idempotency_Key="one")
    assert (early.status, early.json["code"]) == (409, "ORC-160")
    assert "promote it with" in early.json["detail"]
    unknown = get("/api/v1/releases", "POST", {"model": "churn@v9", "app": "churn"}, Idempotency_Key="two")
    assert (unknown.status, unknown.json["code"]) == (404, "ORC-150")
    without = get(
        "/api/v1/releases", "POST", {"model": "churn@v1", "app": "churn", "force": True}, Idempotency_Key="three"
    )
    assert (without.status, "takes a reason" in without.json["detail"]) == (400, True)
    assert get("/api/v1/releases", "POST", {"model": "churn@v1", "app": "c", "x": 1}).status == 422
    assert len(get.api("/runs?limit=500")["items"]) == runs


def test_what_the_api_takes_for_a_release_is_what_a_release_takes() -> None:
    taken = {name: field.default for name, field in NewRelease.model_fields.items()}
    wanted = dict(zip(SendOut.__struct_fields__[2:], SendOut.__struct_defaults__, strict=True))
    assert taken.keys() == set(SendOut.__struct_fields__)
    for name, default in wanted.items():
        assert (tuple(taken[name]) if isinstance(taken[name], list) else taken[name]) == default, name


def test_an_empty_installation_says_what_to_do(client_of_nothing: Client) -> None:
    assert "orc release model:NAME APP" in client_of_nothing.page("/releases")
    assert (client_of_nothing.api("/apps"), client_of_nothing.api("/releases")["items"]) == ({"items": []}, [])
