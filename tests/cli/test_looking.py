"""Looking into runs on the command line: logs, trees, what runs now, why, and one step again."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.cli.conftest import FLOW, ROOT, Done, Orc, validate
from tests.cli.test_reading import run_of

FLOWS = "tests.app.debug_flows"


def test_logs_are_searched_and_structured(used: tuple[Orc, Done]) -> None:
    orc, run = run_of(used)
    assert orc("logs", f"{run}/load").out == "loading 3\n"
    assert orc("logs", run).out == "load | loading 3\n"
    assert orc("logs", run, "--grep", "LOADING").out == "load | loading 3\n"
    assert orc("logs", run, "--grep", "nothing like it").out == ""
    assert orc("logs", run, "--attempt", "2").out == ""
    assert orc("logs", run, "--tail", "0").out == ""
    followed = orc("logs", run, "load", "-f", "--json")
    (line,) = map(json.loads, followed.out.splitlines())
    validate(line, "log")
    assert (line["step"], line["attempt"], line["line"], line["text"]) == ("load", 1, 1, "loading 3")
    assert orc("logs", f"{run}/load", "load").code == 2


def test_a_tree_says_when_and_after_what(used: tuple[Orc, Done]) -> None:
    orc, run = run_of(used)
    lines = orc("show", run, "--tree").out.splitlines()
    square = next(line for line in lines if "square" in line)
    assert "after load" in square
    assert "at +" in square


def test_nothing_runs(used: tuple[Orc, Done]) -> None:
    orc, _ = run_of(used)
    assert "nothing runs" in orc("top", "--once").out
    assert orc("top", "--json").document("top")["runs"] == []


def test_a_failure_is_shown_with_its_input_and_run_again(orc: Orc) -> None:
    failed = orc("run", f"{FLOWS}:parsing")
    assert failed.code == 1
    assert "orc debug" in failed.err
    run = orc.newest()
    shown = orc("show", run).out
    assert "  > tests/app/debug_flows.py:" in shown
    assert "  row = {'" in shown
    told = orc("why", f"{run}/parse[1]")
    place = told.out.index("parse[1] failed: JSONDecodeError")
    assert told.out.index("in parse\n", place) < told.out.index("in libraries below", place)
    assert "  row = {'x': 1}  (from rows[1])" in told.out
    document = orc("why", run, "parse[1]", "--json").document("why")
    assert document["failure"]["error"] == "JSONDecodeError"
    assert document["inputs"][0] == {"name": "row", "source": "rows[1]", "preview": "{'x': 1}"}
    assert document["because"] == "its stage has no cache, so it runs in every run"

    again = orc("debug", f"{run}/parse[1]")
    assert again.code == 1
    assert again.out == "parsing {'x': 1}\n"
    assert "json.decoder.JSONDecodeError" in again.err
    assert "parse[1] failed in " in again.err
    assert "as on record" in again.err
    fine = orc("debug", run, "parse[2]")
    assert (fine.code, fine.out) == (0, "parsing {'x': 2}\n4\n")
    looked = subprocess.run(
        orc.command("debug", f"{run}/parse[3]", "--pdb"), cwd=ROOT, env=orc.env, input="p row\n", text=True,
        capture_output=True, timeout=600,
    )  # fmt: skip
    assert '-> return row["x"]' in looked.stdout
    assert "(Pdb) {'y': 3}" in looked.stdout
    assert orc("debug", run, "total").code == 4
    assert orc("debug", run).code == 2


def test_why_names_the_values_that_made_it_miss(orc: Orc, tmp_path: Path) -> None:
    marker = f"marker={tmp_path / 'marker'}"
    assert orc("run", f"{FLOW}:numbers", "n=3", marker).code == 0
    first = orc.newest()
    assert orc("run", f"{FLOW}:numbers", "n=4", marker).code == 0
    document = orc("why", orc.newest(), "load", "--json").document("why")
    assert (document["nearest"], document["key_parts"]) == (
        first, [{"name": "argument n", "before": "3", "now": "4"}],
    )  # fmt: skip
