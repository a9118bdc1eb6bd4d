"""Models in the API and on pages: lineage, gates, promotions and the card of a version."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from tests.api.conftest import Client, Served
from tests.api.test_pages import Outline
from tests.api.test_releases import FORM


@pytest.fixture
def get(released: Served) -> Client:
    return released.client


def test_a_version_with_its_lineage_gates_promotions_and_card(get: Client, released: Served) -> None:
    assert [one["version"] for one in get.api("/models/churn")["items"]] == [3, 2, 1]
    first = get.api("/models/churn/v1")
    assert (first["address"], first["model"]["stage"], first["scores"]) == ("model:churn@v1", "dev", {"rows": 150.0})
    assert (first["lineage"]["run"], first["lineage"]["sources"][0]["step"]) == (released.runs["made"], "customers")
    assert [(one["name"], one["passed"]) for one in first["gates"]] == [("run", True), ("gate", True)]
    assert first["card"]["purpose"] == "Whom to call."
    second = get.api("/models/model:churn/production")
    assert (second["address"], second["promotions"][0]["why"]) == ("model:churn@v2", "<ready>")
    for path in ("/models/nothing", "/models/churn/v9", "/models/churn/none"):
        assert get(f"/api/v1{path}").json["code"] == "ORC-150", path


def test_the_card_is_saved_as_markdown_and_as_a_page(get: Client) -> None:
    markdown, html = (get(f"/api/v1/models/churn/v1/card.{kind}") for kind in ("md", "html"))
    assert "## Calibration" in markdown.text
    assert markdown.headers["content-disposition"] == 'attachment; filename="churn@v1.md"'
    assert (html.text.startswith("<!doctype html>"), "<svg" in html.text) == (True, True)
    assert html.headers["content-type"].startswith("text/html")


def test_the_page_of_a_version_holds_its_card(get: Client, released: Served) -> None:
    for which in ("v1", "v2", "v3", "production"):
        page = get.page(f"/models/churn/{which}")
        outline = Outline(page)
        assert (outline.bare, outline.labels, len(page) < 100_000) == ([], outline.inputs, True), which
        assert "<style" not in page
        assert all(get(link, Accept="text/html").status == 200 for link in outline.links if link[0] == "/"), which
    page = get.page("/models/churn/v1")
    assert all(text in page for text in ("Whom to call.", "Calibration", "Lineage", f"/runs/{released.runs['made']}"))
    assert "&lt;ready&gt;" in get.page("/models/churn/v2")
    assert "promoted" in get.page("/models/churn/v2")
    assert 'href="/models/churn/v3"' in get.page("/models")


def test_a_promotion_is_refused_or_done_once_for_a_key(get: Client) -> None:
    path = "/api/v1/models/churn/v3/promotions"
    skipped = get(path, "POST", {"to": "production"}, Idempotency_Key="p1")
    assert (skipped.status, "goes one stage at a time" in skipped.json["detail"]) == (409, True)
    assert get(path, "POST", {"to": "live"}, Idempotency_Key="p2").status == 422
    up = {"to": "staging", "by": "ann", "force": True, "why": "a <drill>", "max_p99_ms": 1e6}
    done = get(path, "POST", up, Idempotency_Key="p3")
    assert done.status == 200, done.text
    assert (done.json["action"], done.json["step"]) == ("promote", "model:churn@v3")
    assert get(path, "POST", up, Idempotency_Key="p3").body == done.body
    (promotion,) = get.api("/models/churn/v3")["promotions"]
    assert (promotion["to"], promotion["by"], promotion["forced"]) == ("staging", "ann", True)
    assert promotion["run"] == done.json["run"]  # the soundness checks are a run
    assert "size in bytes" in [one["name"] for one in promotion["checks"]]
    form = urlencode({"action": "promote", "to": "dev", "by": "ben", "state": "y"})
    down = get("/models/churn/v3/do", "POST", form, Origin=get.url.rstrip("/"), **FORM)
    assert (down.status, down.headers["location"]) == (303, "/models/churn/v3")
    assert get.api("/models/churn/v3")["model"]["stage"] == "dev"
