"""A run as one file: all of it is there, nothing is fetched, and it opens in a browser without a complaint."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator import pipeline, stage, step, sweep
from orchestrator.app.report import MOST_STEPS, Report
from orchestrator.app.run import Run
from orchestrator.app.runner import Runner
from orchestrator.errors import ConfigError
from orchestrator.graph.pipeline import RunOptions
from orchestrator.testing import InProcess
from tests.api import flow
from tests.api.browser import browser, find_browser
from tests.notebook.conftest import Made
from tests.notebook.page import Page


@stage
def learn(rate: float, rounds: int) -> dict[str, float]:
    for number in range(rounds):
        step().report(loss=1 / (1 + rate * number), nan=float("nan"))
    print(f"learned with {rate} <really>")
    return {"auc": 1 - rate}


@pipeline
def learning(rounds: int = 4) -> dict[str, float]:
    best = sweep(learn, over={"rate": [0.1, 0.2, 0.3]}, fixed={"rounds": rounds}, metric="auc")
    learn(0.5, rounds)
    return best.output


@stage
def one(x: int) -> int:
    return x


@pipeline
def broad() -> list[int]:
    return [one(x) for x in range(MOST_STEPS + 10)]


def page_of(run: Run, path: Path) -> tuple[Page, str]:
    assert run.export(path) == path
    html = path.read_text()
    return Page(html), html


def test_all_of_a_run_is_in_the_file(made: Made, tmp_path: Path) -> None:
    page, html = page_of(made.shapes, tmp_path / "run.html")
    assert page.faults == []
    said = ("succeeded", "Timeline", "n 80", "loading 80 and <b>more</b>", "OSError: not yet", "80 rows × 2 columns")
    for text in (*said, "could run code", "flow.py:"):
        assert text in page.text, text
    assert "<b>more" not in html
    assert html.count("<svg") >= 3
    assert "prefers-color-scheme: dark" in html


def test_a_failed_run_shows_its_error_first(made: Made, tmp_path: Path) -> None:
    page, html = page_of(made.failing, tmp_path / "run.html")
    assert page.faults == []
    error, graph = html.index("the list has no"), html.index("<svg xmlns")
    assert error < graph
    assert page.text.index("in _inner") < page.text.index("in broken")  # innermost first
    assert "cancelled" in page.text


def test_a_map_shows_its_first_items_and_those_that_failed(made: Made, tmp_path: Path) -> None:
    page, html = page_of(made.wide, tmp_path / "run.html")
    assert page.faults == []
    assert "4999 is not liked" in page.text
    assert "5 100 items" in page.text
    assert len(html) < 100_000


def test_curves_and_sweeps_are_drawn(tmp_path: Path) -> None:
    here = InProcess(tmp_path / "home").installation
    page, html = page_of(Runner(here).run(learning, {}, RunOptions(on="local")), tmp_path / "run.html")
    assert page.faults == []
    assert "loss 0.4" in page.text
    assert "loss of 3 items" in page.text
    assert "sweep: 3 trials, best auc 0.9" in page.text
    assert "learned with 0.5 <really>" in page.text
    assert "nan" not in html[html.index('id="metrics"') : html.index('id="steps"')].replace("<tr>", "")


def test_of_very_many_steps_the_first_are_told(tmp_path: Path) -> None:
    process = InProcess(tmp_path / "home")
    page, _ = page_of(process.run(broad), tmp_path / "run.html")
    assert page.faults == []
    assert "and 10 more" in page.text
    assert re.search(r"the first 100 of 31\d nodes", page.text)


def test_a_log_is_cut_to_its_end(tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.app.report.LOG_BYTES", 20)
    view = Report(made.process.installation, made.shapes.id).step("load", None)
    assert view.log_cut
    assert "loading" not in view.log
    assert "more</b>" in view.log


def test_a_run_that_waits_is_exported_too(tmp_path: Path) -> None:
    process = InProcess(tmp_path / "home")
    process.know(flow.asking.trace().stages)
    run = process.runner.start(flow.asking, {}, flow.asking.run_options, True).wait()
    page, _ = page_of(run, tmp_path / "run.html")
    assert page.faults == []
    assert "waits for an answer: Ship it?" in page.text


def test_a_file_that_cannot_be_written_is_named(made: Made, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no/such/run\.html"):
        made.shapes.export(tmp_path / "no" / "such" / "run.html")


@pytest.mark.skipif(find_browser() is None, reason="no Chromium on this machine")
def test_a_browser_opens_it_without_a_network(made: Made, tmp_path: Path) -> None:
    program = find_browser()
    assert program is not None
    path = made.failing.export(tmp_path / "run.html")
    with browser(program, tmp_path / "profile") as page:
        page.open(path.as_uri())
        assert page.evaluate("document.querySelector('h1').innerText").startswith(made.failing.id)
        page.tab_to("Graph")
        page.press("Enter")
        page.until("location.hash === '#graph'")
        assert page.evaluate("document.querySelector('details[open] .wrong') !== null")
        assert not page.evaluate("document.getElementById('step-load').parentElement.open")
        page.evaluate("document.querySelector('a[href=\"#step-load\"]').focus()")
        page.press("Enter")
        page.until("document.getElementById('step-load').parentElement.open")
        assert page.complaints == []
        assert [url for url in page.asked if not url.startswith("file:")] == []
