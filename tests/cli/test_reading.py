"""Commands that read: they change nothing, start no worker, and print documents that fit their schemas."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pyarrow.ipc

from tests.cli.conftest import FLOW, Done, Orc
from tests.notebook.page import Page


def run_of(used: tuple[Orc, Done]) -> tuple[Orc, str]:
    orc, _ = used
    run = next(item["id"] for item in orc("ls", "--json").document("ls")[::-1])
    return orc, run


def test_ls(used: tuple[Orc, Done]) -> None:
    orc, run = run_of(used)
    item = orc("ls", "numbers", "--json").document("ls")[-1]
    assert (item["id"], item["pipeline"], item["state"], item["tags"]) == (run, "numbers", "succeeded", {"team": "a"})
    assert item["started_at"] <= item["finished_at"]
    assert run in orc("ls").out
    assert orc("ls", "other", "--json").document("ls") == []
    assert "no runs yet" in orc("ls", "other").out


def test_ls_of_an_empty_home(orc: Orc) -> None:
    assert orc("ls", "--json").document("ls") == []
    assert orc("ls").code == 0


def test_show(used: tuple[Orc, Done]) -> None:
    orc, run = run_of(used)
    document = orc("show", run, "--json").document("show")
    assert document["run"]["id"] == run
    assert document["params"]["n"] == "3"
    steps = {step["address"]: step for step in document["steps"]}
    assert set(steps) == {"load", "square", "total", "as_table", "flaky"}
    assert (steps["square"]["steps"], steps["square"]["counts"]) == (3, {"succeeded": 3})
    assert steps["flaky"]["state"] == "succeeded"
    assert steps["flaky"]["failures"][0]["message"] == "not yet"
    text = orc("show", run).out
    assert "square × 3" in text
    assert "n = 3" in text


def test_a_run_and_a_plan_are_drawn(used: tuple[Orc, Done], tmp_path: Path) -> None:
    orc, run = run_of(used)
    orc("show", run, "--svg", str(tmp_path / "run.svg"))
    orc("plan", f"{FLOW}:numbers", "--svg", str(tmp_path / "plan.svg"))
    for name in ("run", "plan"):
        root = ElementTree.parse(tmp_path / f"{name}.svg").getroot()
        assert root.tag.endswith("svg")
        assert "square" in "".join(root.itertext())


def test_all_of_a_run_is_written_into_one_file(used: tuple[Orc, Done], tmp_path: Path) -> None:
    orc, run = run_of(used)
    done = orc("show", run, "--html", str(tmp_path / "run.html"))
    assert done.code == 0
    assert str(tmp_path / "run.html") in done.err
    page = Page((tmp_path / "run.html").read_text())
    assert page.faults == []
    assert run in page.text
    assert "Step by step" in page.text
    refused = orc("show", run, "--html", str(tmp_path / "no" / "run.html"))
    assert (refused.code, "ORC-" in refused.err) == (2, True)


def test_get(used: tuple[Orc, Done], tmp_path: Path) -> None:
    orc, run = run_of(used)
    assert orc("get", run, "square", "--json").document("get")["value"] == [0, 1, 4]
    assert orc("get", run, "square[2]").out == "4\n"
    assert orc("get", run, "flaky").out == "ok\n"
    whole = orc("get", run, "--json").document("get")["value"]
    assert whole["total"] == 5
    assert whole["table"]["$type"] == "pyarrow.lib:Table"
    assert orc("get", run, "as_table", "--to", str(tmp_path / "t.arrow")).code == 0
    table = pyarrow.ipc.open_file((tmp_path / "t.arrow").read_bytes()).read_all()
    assert table.to_pydict() == {"x": [0, 1, 2]}
    assert orc("get", run, "total", "--to", str(tmp_path / "x")).code == 2
    assert orc("get", run, "nothing").code == 4
    assert orc("get", run, "square[9]").code == 4


def test_logs(used: tuple[Orc, Done]) -> None:
    orc, run = run_of(used)
    assert orc("logs", run, "load").out == "loading 3\n"
    silent = orc("logs", run, "total")
    assert (silent.out, silent.err) == ("", "total wrote nothing\n")


def test_why(used: tuple[Orc, Done]) -> None:
    orc, run = run_of(used)
    flaky = orc("why", run, "flaky", "--json").document("why")
    assert [reason["what"] for reason in flaky["reasons"]] == ["started", "retry", "started", "succeeded"]
    load = orc("why", run, "load", "--json").document("why")
    assert load["reasons"][0] == {
        **load["reasons"][0],
        "what": "not cached",
        "why": "nothing stored for this stage yet",
    }
    total = orc("why", run, "total").out
    assert total.startswith("total: succeeded, after square\n")


def test_plan(used: tuple[Orc, Done]) -> None:
    orc, _ = run_of(used)
    plan = orc("plan", f"{FLOW}:numbers", "n=3", "--json").document("plan")
    actions = {node["node"]: node["action"] for node in plan["nodes"]}
    assert actions["load"] == "reuse"
    assert actions["square"] == "run"
    changed = orc("plan", f"{FLOW}:numbers", "n=5")
    assert changed.code == 0
    assert "argument n changed" in changed.out
    assert len(orc("ls", "--json").document("ls")) == 1


def test_doctor(used: tuple[Orc, Done]) -> None:
    orc, _ = used
    checks = orc("doctor", "--json").document("doctor")
    assert {check["name"] for check in checks} >= {"python", "ray", "sqlite", "journal", "artifacts", "settings"}
    assert all(check["ok"] for check in checks), checks
    misspelt = orc("doctor", ORC_STROE="x")
    assert misspelt.code == 1
    assert "did you mean ORC_STORE" in misspelt.out


def test_gc_keeps_what_a_run_needs(used: tuple[Orc, Done]) -> None:
    orc, run = run_of(used)
    before = orc("gc", "--dry-run", "--grace", "0s", "--json").document("gc")
    assert (before["dry_run"], before["removed"]) == (True, [])
    assert before["kept"] >= 2
    assert orc("gc", "--grace", "0s").code == 0
    assert orc("get", run, "square[2]").out == "4\n"
    assert "0 artifacts" in orc("gc").out
