"""Sweeps in the API and on pages: trials, parallel coordinates, the best one and those that were ended early."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from orchestrator.api.sweeps import sweep_of
from orchestrator.app.runner import Runner
from orchestrator.graph.pipeline import RunOptions
from orchestrator.ports.tune import Trial
from orchestrator.views.sweeps import SweepView, sweep_svg
from tests.api import sweep_flow
from tests.api.conftest import Client, Served, served
from tests.api.test_cluster import until
from tests.api.test_pages import Outline


@pytest.fixture
def get(released: Served) -> Client:
    return released.client


def test_the_trials_of_a_sweep(get: Client, released: Served) -> None:
    run = released.runs["sweep"]
    (item,) = get.api(f"/runs/{run}/sweeps")["items"]
    sweep = get.api(f"/runs/{run}/sweeps/{item['step']}")
    assert (sweep["step"], sweep["metric"], sweep["mode"], sweep["states"]) == ("sweep", "auc", "max", {"finished": 8})
    values = [trial["value"] for trial in sweep["trials"]]
    assert values[sweep["best"]] == max(values) == item["best_value"]
    assert [len(trial["reports"]) for trial in sweep["trials"]] == [3] * 8
    drawn = ElementTree.fromstring(get(f"/api/v1/runs/{run}/sweep-charts/sweep").text)
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}polyline"))) == 16  # coordinates and curves
    none = get(f"/api/v1/runs/{run}/sweeps/rows").json
    assert (none["status"], "sweeps of this run: sweep" in none["detail"]) == (404, True)


def test_the_page_of_a_sweep_is_linked_from_its_run_and_step(get: Client, released: Served) -> None:
    run = released.runs["sweep"]
    path = f"/runs/{run}/sweeps/sweep"
    assert f'href="{path}"' in get.page(f"/runs/{run}")
    assert f'href="{path}"' in get.page(f"/runs/{run}/steps/sweep")
    assert "/sweeps/" not in get.page(f"/runs/{released.runs['made']}")
    sweep = get.api(f"/runs/{run}/sweeps/sweep")
    for order in ("trial", "value"):
        page = get.page(f"{path}?order={order}")
        outline = Outline(page)
        assert (outline.bare, outline.labels) == ([], outline.inputs)
        rows = [one.removeprefix("trial-") for one in outline.ids if one.startswith("trial-")]
        assert sorted(rows) == sorted(map(str, range(8)))
        assert (rows[0] == str(sweep["best"])) or order == "trial"
    assert get(f"{path}?order=odd", Accept="text/html").status == 422


def test_a_sweep_is_shown_while_it_runs(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with served(tmp_path / "home", lambda process: {}) as home:
        run = Runner(home.process.installation).start(sweep_flow.sweeping, {"gate": str(gate)}, RunOptions(on="local"))
        path, ended = f"/runs/{run.id}/sweeps/sweep", {"finished": 2, "running": 1}
        try:
            sweep = until(lambda: home.client(f"/api/v1{path}").json, lambda one: one.get("states") == ended)
            assert (sweep["planned"], sweep["best"], sweep["trials"][1]["value"]) == (3, 1, 0.5)
            assert [trial["step"] for trial in sweep["trials"]] == [f"sweep/tried[{place}]" for place in range(3)]
            assert until(lambda: home.client.api(path)["trials"][2]["reports"], len) == [{"auc": 0.45}]
            page = home.client.page(path)
            assert ("Best trial so far" in page, "data-events" in page, "3 of 3 trials" in page) == (True, True, True)
            assert f'href="/runs/{run.id}/steps/sweep/tried%5B2%5D"' in page
            assert f'href="{path}"' in home.client.page(f"/runs/{run.id}")
        finally:
            gate.touch()
            run.wait()
        sweep, page = home.client.api(path), home.client.page(path)
        assert (sweep["planned"], sweep["best"], sweep["states"]) == (None, 2, {"finished": 3})
        assert ("so far" in page, "data-events" in page) == (False, False)


def test_what_was_ended_early_or_failed_is_told_by_word_and_line() -> None:
    trials = [
        Trial({"lr": 0.1}, "finished", 0.9, ({"auc": 0.9},), ""),
        Trial({"lr": 0.5}, "stopped", 0.4, ({"auc": 0.4},), ""),
        Trial({"lr": 9.0}, "failed", None, (), "ValueError: too <hot>"),
    ]
    view = SweepView("sweep", "auc", "max", trials, 0)
    sweep = sweep_of("r", view)
    assert sweep.states == {"finished": 1, "stopped": 1, "failed": 1}
    assert [trial.error for trial in sweep.trials] == ["", "", "ValueError: too <hot>"]
    drawn = sweep_svg(view)
    assert ('class="best"' in drawn, 'stroke-dasharray="5 4"' in drawn, "&lt;hot&gt;" in drawn) == (True, True, True)
