"""Pipelines in the API and on pages: listed without running anything, planned and started by a process of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from orchestrator.api.server import Web
from orchestrator.app.run import Run
from tests.api.conftest import Client, Served, served
from tests.api.test_pages import Outline
from tests.api.test_releases import FORM

ODD = "# Runs <b>shapes</b>.\npipeline: tests.api.flow:shapes\nparams:\n  n: 7\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a good file, a broken one, one whose code is not there, and a link that leads out of it."""
    root = tmp_path_factory.mktemp("project")
    (root / "configs").mkdir()
    (root / "configs" / "small.yaml").write_text(ODD)
    (root / "configs" / "broken.yaml").write_text("pipelin: x\n")
    (root / "configs" / "gone.yaml").write_text("pipeline: nowhere:flow\n")
    (root / "configs" / "noted.yaml").write_text("pipeline: noted:flow\n")
    (root / "noted.py").write_text(
        "import os, pathlib\npathlib.Path('imported').write_text(str(os.getpid()))\n"
        "from orchestrator import pipeline, stage\n\n@stage\ndef one(x: int) -> int:\n    return x\n\n"
        "@pipeline\ndef flow(x: int) -> int:\n    'Says <i>it</i>.'\n    return one(x)\n"
    )
    (root / "outside.yaml").write_text(ODD)
    (root / "configs" / "link.yaml").symlink_to(root / "outside.yaml")
    return root


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Iterator[Served]:
    web = Web(port=0, project=str(project))
    with served(tmp_path_factory.mktemp("starting") / "home", lambda process: {}, web) as found:
        yield found


@pytest.fixture
def get(home: Served) -> Client:
    return home.client


def test_files_of_the_project_and_shipped_ones_are_listed_and_nothing_is_imported(get: Client, project: Path) -> None:
    found = {one["name"]: one for one in get.api("/pipelines")["items"]}
    assert [name for name, one in found.items() if not one["shipped"]] == ["broken", "gone", "noted", "small"]
    assert {"flights", "credit"} <= found.keys()
    assert (found["small"]["params"], found["small"]["about"]) == ({"n": 7}, "Runs <b>shapes</b>.")
    assert "pipelin" in found["broken"]["problem"]
    page = get.page("/pipelines")
    assert "Runs &lt;b&gt;shapes" in page
    for name in ("small", "broken", "noted"):
        outline = Outline(get.page(f"/pipelines/{name}"))
        assert (outline.bare, outline.labels) == ([], outline.inputs)
    assert not (project / "imported").exists()


def test_a_plan_is_made_by_another_process(get: Client, project: Path) -> None:
    plan = get.api("/plans?pipeline=noted&set=x=3")
    assert (plan["pipeline"], plan["to_run"], plan["problem"]) == ("flow", 1, "")
    assert plan["parameters"] == [{"name": "x", "type": "int", "default": None}]
    assert [(node["node"], node["action"]) for node in plan["nodes"]] == [("one", "run")]
    assert int((project / "imported").read_text()) != os.getpid()
    missing = get.api("/plans?pipeline=noted")
    assert (missing["code"], missing["nodes"]) == ("ORC-114", [])
    page = get.page("/pipelines/noted?plan=yes&p.x=3")
    assert ("<svg" in page, "Says &lt;i&gt;it" in page, 'value="3"' in page) == (True, True, True)
    assert Outline(page).bare == []
    assert "ORC-114" in get.page("/pipelines/noted?plan=yes")
    assert "there is no module" in get.page("/pipelines/gone?plan=yes")


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({"pipeline": "nothing"}, 404, "there is no pipeline 'nothing'"),
        ({"pipeline": "link"}, 404, "there is no pipeline 'link'"),
        ({"pipeline": "../outside"}, 404, "there is no pipeline"),
        ({"pipeline": "/etc/passwd"}, 404, "there is no pipeline"),
        ({"pipeline": "tests.api.flow:shapes"}, 404, "there is no pipeline"),
        ({"pipeline": "small", "params": {"stages.load.isolated": True}}, 400, "no name of a parameter"),
        ({"pipeline": "small", "params": {"m": 1}}, 400, "which is no parameter of this pipeline"),
        ({"pipeline": "small", "params": {"n": "many"}}, 400, "ORC-115"),
        ({"pipeline": "broken"}, 400, "pipelin"),
        ({"pipeline": "gone"}, 404, "there is no module"),
    ],
)
def test_what_cannot_be_started_is_refused_and_leaves_no_run(
    get: Client, asked: dict[str, object], status: int, said: str
) -> None:
    runs = get.api("/runs")["items"]
    refused = get("/api/v1/runs", "POST", asked, Idempotency_Key="no")
    assert refused.status == status, refused.text
    assert said in refused.json["detail"] or said == refused.json["code"]
    assert get.api("/runs")["items"] == runs


def test_a_run_is_started_once_for_a_key_and_goes_on_by_itself(get: Client, home: Served) -> None:
    asked = {"pipeline": "small", "params": {"n": 5}, "tags": {"team": "ops"}, "on": "local"}
    first = get("/api/v1/runs", "POST", asked, Idempotency_Key="one")
    assert (first.status, first.json["action"]) == (202, "start"), first.text
    assert get("/api/v1/runs", "POST", asked, Idempotency_Key="one").body == first.body
    other = get("/api/v1/runs", "POST", {**asked, "params": {}}, Idempotency_Key="one")
    assert (other.status, other.json["code"]) == (409, "ORC-200")
    assert get("/api/v1/runs", "POST", asked).json["code"] == "ORC-140"
    for kept in (home.process.installation.settings.home / "requests").iterdir():
        kept.unlink()  # as if the server had died before it could answer
    assert get("/api/v1/runs", "POST", asked, Idempotency_Key="one").json["run"] == first.json["run"]
    run = Run(home.process.installation, first.json["run"]).wait("120s")
    assert (run.state, run.result()) == ("succeeded", 1)
    detail = get.api(f"/runs/{run.id}")
    assert (detail["run"]["tags"], detail["params"]["n"]) == ({"team": "ops"}, "5")


def test_the_form_of_a_page_starts_a_run(get: Client, home: Served) -> None:
    form = urlencode({"action": "start", "p.n": "4", "on": "local", "state": "s1"})
    answers = [get("/pipelines/small/do", "POST", form, Origin=get.url.rstrip("/"), **FORM) for _ in range(2)]
    assert [one.status for one in answers] == [303, 303]
    there = {one.headers["location"] for one in answers}
    assert len(there) == 1  # the same form sent twice
    run = Run(home.process.installation, there.pop().removeprefix("/runs/")).wait("120s")
    assert run.state == "succeeded"
    assert get("/pipelines/small/do", "POST", urlencode({"action": "explode"}), **FORM).status == 400
