"""A run forked over HTTP and from the page of a step: once for a key, driven by a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from orchestrator.app.run import Run
from orchestrator.app.runner import Runner
from orchestrator.graph.pipeline import RunOptions
from orchestrator.testing import check_run, read_ledger
from tests.api.conftest import Served, served
from tests.app import fork_flows


@pytest.fixture
def forkable(tmp_path: Path) -> Iterator[Served]:
    ledger = str(tmp_path / "ledger")
    with served(
        tmp_path / "home",
        lambda process: {
            "job": Runner(process.installation).run(fork_flows.job, {"ledger": ledger}, RunOptions(on="local")).id
        },
    ) as found:
        yield found


def begun(tmp_path: Path) -> list[str]:
    return [line.step for line in read_ledger(tmp_path / "ledger")]


def test_a_step_is_run_again_by_a_new_run_that_a_process_of_its_own_drives(forkable: Served, tmp_path: Path) -> None:
    here, run, post = forkable.process.installation, forkable.runs["job"], forkable.client
    before, path = begun(tmp_path), f"/api/v1/runs/{run}/fork"
    refused = post(path, "POST", {"step": "train"}, Idempotency_Key="one")
    assert (refused.status, refused.json["code"]) == (409, "ORC-207")
    assert "publish has effects" in refused.json["detail"]
    assert post(path, "POST", {"step": "nothing"}, Idempotency_Key="two").status == 404
    assert post(path, "POST", {"step": "train", "repeat": ["publish"]}).status == 400

    body = {"step": "train", "repeat": ["publish"]}
    first = post(path, "POST", body, Idempotency_Key="one")
    assert first.status == 202, first.text
    assert post(path, "POST", body, Idempotency_Key="one").body == first.body
    forked = Run(here, first.json["run"]).wait("120s")
    assert (forked.state, first.json["step"], forked.result()) == ("succeeded", "train", Run(here, run).result())
    assert sorted(begun(tmp_path)[len(before) :]) == ["publish[0]", "train[0]"]
    assert check_run(here.journal, forked.id) == []
    assert len(here.journal.runs("job")) == 2
    detail = post.api(f"/runs/{forked.id}")
    assert (detail["origin"], detail["forked"]) == (run, "train")
    assert f'href="/runs/{forked.id}/steps/train"' in post.page(f"/runs/{forked.id}")


def test_the_page_of_a_step_has_a_button_that_works_without_scripts(forkable: Served) -> None:
    here, run, post = forkable.process.installation, forkable.runs["job"], forkable.client
    page = post.page(f"/runs/{run}/steps/scale%5B1%5D")
    assert "Run again from here" in page
    form = {"step": "scale[1]", "newest": run, "action": "fork", "repeat": "1"}
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": post.url.rstrip("/")}
    answers = [post(f"/runs/{run}/do", "POST", urlencode(form), **headers) for _ in range(2)]
    places = {answer.headers["location"] for answer in answers}
    assert [answer.status for answer in answers] == [303, 303]
    assert len(places) == 1, "the same form sent twice makes one run"
    forked = places.pop().removeprefix("/runs/")
    assert forked != run
    assert Run(here, forked).wait("120s").state == "succeeded"
    assert here.fold(forked).nodes["scale"].reused == 3


def test_an_item_is_shown_with_its_own_input(forkable: Served) -> None:
    run, get = forkable.runs["job"], forkable.client
    detail = get.api(f"/runs/{run}/steps/shift%5B2%5D")
    inputs = {one["name"]: (one["value"], one["step"], one["preview"]) for one in detail["inputs"]}
    assert inputs["x"] == ("scale[2]", "scale", "20")
    assert inputs["ledger"][1] is None
