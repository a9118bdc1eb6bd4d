"""The tutorial notebooks, as they are, from beginning to end; each in a home of its own."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from orchestrator.app.installation import Installation
from orchestrator.app.runs import Runs
from orchestrator.config.settings import Settings
from tests.notebook.page import Page

ROOT = Path(__file__).parents[2]
TUTORIALS = ROOT / "docs" / "tutorial"


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("ORC_SLOTS", "2")


def executed(name: str, folder: Path) -> list[Any]:
    """Outputs of the code cells of a notebook, run in a kernel of its own."""
    notebook = nbformat.read(TUTORIALS / name, as_version=4)
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]


def pictures(outputs: list[Any]) -> list[Page]:
    """What was shown as HTML, cell by cell."""
    return [
        Page(one["data"]["text/html"]) for cell in outputs for one in cell if "text/html" in one.get("data", {})
    ]  # fmt: skip


def runs_of(home: str) -> Runs:
    return Runs(Installation(Settings.from_environment({"ORC_HOME": home})))


@pytest.mark.parametrize("path", sorted(TUTORIALS.glob("*.ipynb")), ids=lambda path: path.name)
def test_notebooks_are_kept_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert [cell.outputs for cell in notebook.cells if cell.get("outputs")] == []
    for cell in notebook.cells:
        for target in re.findall(r"\]\(([^)\s#]+)[^)]*\)", cell.source) if cell.cell_type == "markdown" else []:
            assert target.startswith("http") or (path.parent / target).exists(), target


def test_a_first_run(tmp_path: Path) -> None:
    outputs = executed("first-run.ipynb", tmp_path)
    shown = pictures(outputs)
    assert [page.faults for page in shown if page.faults] == []
    said = [page.text for page in shown]
    assert any("pi: plan 0 steps reused" in text for text in said)
    assert any("estimate runs 1 code changed" in text and "9 steps reused" in text for text in said)
    assert any("checked-" in text and "ValueError" in text and "standard errors away" in text for text in said)
    runs = runs_of(os.environ["ORC_HOME"])
    assert [run.state for run in runs.list("pi")] == ["succeeded"] * 3
    assert runs.list("pi")[1]["inside"].view().why == "not in the cache: argument seed changed"
    few, many = (runs.list(name)[0] for name in ("checked", "pi"))
    assert few.result().startswith("3.1")
    assert many["inside"].view().counts == {"cached": 12, "succeeded": 4}
    assert Page((tmp_path / "first-run.html").read_text()).faults == []


def test_training_and_comparing(tmp_path: Path) -> None:
    outputs = executed("train-and-compare.ipynb", tmp_path)
    shown = pictures(outputs)
    assert [page.faults for page in shown if page.faults] == []
    said = [page.text for page in shown]
    assert any("6 trials, best auc 0.8" in text for text in said)
    assert any("Survival on the Titanic" in text and "passengerClass" in text for text in said)
    assert any(re.match(r"model:titanic@v2 .* auc 0\.8", one.get("text", "")) for cell in outputs for one in cell)
    second, first = runs_of(os.environ["ORC_HOME"]).list("titanic")
    assert (first.state, second.state) == ("succeeded", "succeeded")
    assert second["fit_plan"].view().state == "cached"
    assert Page((tmp_path / "titanic.html").read_text()).faults == []


def test_the_marimo_notebook(tmp_path: Path) -> None:
    """Run by marimo's own export, in its kernel: with outputs, and progress in the cell that waits."""
    notebook = tmp_path / "reactive.py"
    source = (TUTORIALS / "reactive.py").read_text()
    late = source.replace("found = (word.strip", "__import__('time').sleep(0.25)\n        found = (word.strip")
    notebook.write_text(late.replace("run = zen.run()\n    run\n", "run = zen.run()\n"))
    page = tmp_path / "reactive.html"
    done = subprocess.run(
        [sys.executable, "-m", "marimo", "export", "html", str(notebook), "-o", str(page)],
        capture_output=True, text=True, timeout=600, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = html.unescape(page.read_text().encode().decode("unicode_escape", errors="ignore"))
    assert "better" in told
    assert "argument count changed" in told
    run = runs_of(os.environ["ORC_HOME"]).latest("zen")
    assert run.result() == ["better", "although", "never"]
    assert re.search(rf"{run.id} · [0-9.]+ s", told)  # its progress, where a cell shows nothing else


def test_the_marimo_notebook_as_a_program(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(TUTORIALS / "reactive.py")], capture_output=True, text=True, timeout=600, cwd=tmp_path
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert runs_of(os.environ["ORC_HOME"]).latest("zen").state == "succeeded"
