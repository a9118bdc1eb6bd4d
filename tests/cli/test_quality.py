"""Checks on real flights, from the command line: what is recorded, said and kept, and the exit codes."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from orchestrator import runs
from tests.cli.conftest import Done, Orc

FLOW = "tests.cli.checked_flow:checked"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("flights"))


@pytest.fixture(scope="module")
def passed(tmp_path_factory: pytest.TempPathFactory, data: str) -> tuple[Orc, Done]:
    orc = Orc(tmp_path_factory.mktemp("passed"))
    return orc, orc("run", FLOW, f"directory={data}")


@pytest.fixture(scope="module")
def blocked(tmp_path_factory: pytest.TempPathFactory, data: str) -> tuple[Orc, Done]:
    orc = Orc(tmp_path_factory.mktemp("blocked"))
    return orc, orc("run", FLOW, f"directory={data}", "km=2000")


def test_a_warning_is_on_record_and_the_run_succeeds(passed: tuple[Orc, Done]) -> None:
    orc, done = passed
    assert done.code == 0, done.err
    shown = orc("show", orc.newest(), "--json").document("show")
    steps = {step["address"]: step for step in shown["steps"]}
    warned, origin = steps["load"]["checks"]
    assert (warned["state"], warned["checked"], warned["failed"]) == ("warned", 336776, 8255)
    assert (origin["state"], origin["failed"]) == ("passed", 0)
    assert [check["state"] for check in steps["near"]["checks"]] == ["passed"] * 3
    assert steps["count"]["checks"] == []
    text = orc("show", orc.newest()).out
    assert "checks: 1 warned, 1 passed" in text
    assert "warned: load: not_null(dep_delay) for 0.99 of the rows: 8255 of 336776 rows fail" in text


def test_a_check_that_blocks_fails_the_step_and_keeps_its_rows(
    blocked: tuple[Orc, Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orc, done = blocked
    assert done.code == 1
    assert "near did not" not in done.out
    assert "ChecksFailed: what near returned did not pass 1 of its 3 checks: in_range(distance) [17, 1000]" in done.err
    run = orc.newest()
    step = {item["address"]: item for item in orc("show", run, "--json").document("show")["steps"]}["near"]
    check = {one["name"]: one for one in step["checks"]}["in_range(distance) [17, 1000]"]
    assert (check["state"], check["column"], step["state"]) == ("failed", "distance", "failed")

    saved = orc("quality", run, "near", "--rows", check["name"], "--to", str(tmp_path / "rows.arrow"))
    assert saved.code == 0, saved.err
    kept = pa.ipc.open_file(tmp_path / "rows.arrow").read_all()
    assert kept.num_rows == min(check["failed"], 1000) > 0
    assert min(kept.column("distance").to_pylist()) > 1000
    assert kept.column_names[-1] == "__row__"

    monkeypatch.setenv("ORC_HOME", str(orc.home))
    found = {report.outcome.name: report for report in runs[run]["near"].checks}
    assert found[check["name"]].rows.equals(kept)


def test_the_quality_of_a_run_is_a_document_and_a_page(passed: tuple[Orc, Done], tmp_path: Path) -> None:
    orc, _ = passed
    document = orc("quality", orc.newest(), "--json").document("quality")
    profiles = {step["address"]: step["profiles"] for step in document["steps"]}
    assert profiles["load"][0]["rows"] == 336776
    described = {column["name"]: column for column in profiles["load"][0]["columns"]}
    assert described["dep_delay"]["nulls"] == 8255
    assert {value for value, _ in described["origin"]["top"]} == {"EWR", "JFK", "LGA"}
    assert orc("quality", orc.newest(), "load", "--html", str(tmp_path / "page.html")).code == 0
    assert "not_null(dep_delay)" in (tmp_path / "page.html").read_text()


def test_what_is_not_there_is_said(passed: tuple[Orc, Done]) -> None:
    orc, _ = passed
    asked = orc("quality", orc.newest(), "load", "--rows", "no_such_check")
    assert asked.code == 4
    assert "it has allowed(origin)" in asked.err
    assert orc("quality", orc.newest(), "--rows", "x").code == 2
