"""``orc show`` of a run with a sweep: a line in the run, and the trials as a table, a picture and JSON."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from tests.cli.conftest import Orc


def test_the_trials_of_a_sweep(orc: Orc, tmp_path: Path) -> None:
    ran = orc("run", "tests.app.sweep_flows:plain", f"ledger={tmp_path / 'ledger'}", "trials=4")
    assert ran.code == 0, ran.err
    run = orc.newest()
    assert f"its trials: orc show {run} sweep" in orc("show", run).out
    picture = tmp_path / "sweep.svg"
    shown = orc("show", run, "sweep", "--svg", str(picture))
    assert shown.out.count("finished") == 4
    drawn = ElementTree.parse(picture).getroot().iter("{http://www.w3.org/2000/svg}polyline")
    assert sorted(line.get("data-trial") or "" for line in drawn) == sorted("00112233")
    document = orc("show", run, "sweep", "--json").document("sweep")
    values = [trial["value"] for trial in document["trials"]]
    assert values[document["best"]] == max(values)
    assert [len(trial["reports"]) for trial in document["trials"]] == [3] * 4
    missing = orc("show", run, "rows")
    assert (missing.code, "rows is no sweep" in missing.err) == (4, True)
