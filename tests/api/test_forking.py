"""A run forked over HTTP and from the page of a step: once for a key, driven by a process of its own."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from orchestrator.api.server import Web
from orchestrator.app.run import Run
from orchestrator.app.runner import Runner
from orchestrator.graph.pipeline import RunOptions
from orchestrator.testing import InProcess, check_run, read_ledger
from tests.api.conftest import Client, Got, Served, served
from tests.api.test_pages import Outline
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


MENDED = """from orchestrator import pipeline, stage

@stage
def load(n: int) -> list[int]:
    return list(range(n))

@stage
def train(rows: list[int], rate: float) -> float:
    return {code} * rate

@pipeline
def mended(n: int = 3, rate: float = 0.5) -> float:
    return train(load(n), rate)
"""
TWICE = "pipeline: mended_flow:mended\nparams: {n: 4}\nstages:\n  train: {retries: 2}\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose code has changed since its run was made."""
    root = tmp_path / "project"
    (root / "configs").mkdir(parents=True)
    (root / "configs" / "twice.yaml").write_text(TWICE)
    (root / "mended_flow.py").write_text(MENDED.format(code="len(rows)"))
    monkeypatch.syspath_prepend(str(root))
    return root


@pytest.fixture
def mended(tmp_path: Path, project: Path) -> Iterator[Served]:
    def make(process: InProcess) -> dict[str, str]:
        flow = importlib.import_module("mended_flow")
        run = Runner(process.installation).run(flow.mended, {"rate": 2.0}, RunOptions(on="local"))
        (project / "mended_flow.py").write_text(MENDED.format(code="(100 + len(rows))"))
        return {"mended": run.id}

    with served(tmp_path / "home", make, Web(port=0, project=str(project))) as found:
        yield found
    del sys.modules["mended_flow"]


def forked(here: Served, answer: Got) -> Run:
    assert answer.status == 202, answer.text
    return Run(here.process.installation, answer.json["run"]).wait("120s")


def test_a_fork_has_other_parameters_and_the_code_of_the_project_as_it_is_now(mended: Served) -> None:
    run, post = mended.runs["mended"], mended.client
    path = f"/api/v1/runs/{run}/fork"
    assert forked(mended, post(path, "POST", {"step": "train"}, Idempotency_Key="old")).result() == 6.0
    now = forked(mended, post(path, "POST", {"step": "train", "code": "now"}, Idempotency_Key="now"))
    assert now.result() == 206.0

    body = {"step": "train", "params": {"rate": 3}}
    answer = post(path, "POST", body, Idempotency_Key="other")
    other = forked(mended, answer)
    assert (other.result(), answer.json["step"]) == (309.0, "train")
    assert post(path, "POST", body, Idempotency_Key="other").body == answer.body
    for kept in (mended.process.installation.settings.home / "requests").iterdir():
        kept.unlink()  # as if the server had died before it could answer
    assert post(path, "POST", body, Idempotency_Key="other").json["run"] == other.id
    detail = post.api(f"/runs/{other.id}")
    assert (detail["origin"], detail["forked"], detail["params"]["rate"]) == (run, "train", "3")
    here = mended.process.installation
    assert here.fold(other.id).nodes["load"].reused == 1
    assert check_run(here.journal, other.id) == []

    of_file = forked(mended, post(path, "POST", {"step": "train", "pipeline": "twice"}, Idempotency_Key="file"))
    assert of_file.result() == 206.0  # with the recorded n and rate, and the options of the file
    assert here.fold(of_file.id).graph.node("train").policy.retry.attempts == 3


REFUSED = [
    ({"params": {"rat": 3}}, 400, "params.rat: mended has no such parameter; did you mean 'rate'?"),
    ({"params": {"rate": "quick"}}, 400, "rate"),
    ({"params": {"stages.train.retries": 3}}, 400, "params: 'stages.train.retries' is no name of a parameter"),
    ({"params": {"rate": 3}, "code": "recorded"}, 400, "params: the code on record has parameters of its own"),
    ({"params": {"n": 5}}, 409, "fork from there"),
    ({"pipeline": "nothing"}, 404, "there is no pipeline 'nothing'"),
    ({"code": "later"}, 422, "body.code"),
    ({"step": "trane", "code": "now"}, 404, "trane"),
]


def test_what_cannot_be_forked_names_the_field_and_leaves_no_run(mended: Served) -> None:
    path = f"/api/v1/runs/{mended.runs['mended']}/fork"
    for number, (body, status, said) in enumerate(REFUSED):
        refused = mended.client(path, "POST", {"step": "train", **body}, Idempotency_Key=f"no {number}")
        assert (refused.status, refused.headers["content-type"]) == (status, "application/problem+json"), refused.text
        assert said in refused.json["detail"]
    assert len(mended.process.installation.journal.runs("mended")) == 1


def test_the_form_of_a_step_takes_other_parameters_and_code(mended: Served) -> None:
    run, post = mended.runs["mended"], mended.client
    page = post.page(f"/runs/{run}/steps/train")
    outline = Outline(page)
    assert (outline.bare, outline.labels) == ([], outline.inputs)
    assert 'name="p.rate" placeholder="2.0"' in page
    assert "twice.yaml as it is now" in page
    form = {"step": "train", "newest": run, "action": "fork", "p.n": "", "p.rate": "4", "code": "p.twice"}
    answer = submit(post, run, form)
    assert answer.status == 303, answer.text
    found = Run(mended.process.installation, answer.headers["location"].removeprefix("/runs/")).wait("120s")
    assert found.result() == 412.0
    wrong = submit(post, run, {**form, "p.rate": "quick"})
    assert (wrong.status, "rate" in wrong.text) == (400, True)


def submit(post: Client, run: str, form: dict[str, str]) -> Got:
    """As a browser sends it."""
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}
    return post(f"/runs/{run}/do", "POST", urlencode(form), Origin=post.url.rstrip("/"), **headers)
