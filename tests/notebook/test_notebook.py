"""A real kernel: stages defined in cells, runs inside its event loop, pictures as output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from orchestrator.app.installation import Installation
from orchestrator.app.runs import Runs
from orchestrator.config.settings import Settings

CELLS = [
    "from orchestrator import pipeline, stage",
    "FACTOR = 3\n@stage\ndef scaled(x: int) -> int:\n    return FACTOR * x",
    "@stage\ndef total(xs: list[int]) -> int:\n    return sum(xs)",
    "@pipeline\ndef cells(n: int = 5) -> int:\n    return total(scaled.map(list(range(n))))",
    "cells.graph()",
    "cells.plan()",
    "run = cells.run()\nrun",
    "run.result()",
    "FACTOR = 5\ncells.run().result()",
    "import asyncio\nasyncio.get_running_loop().is_running()",
]


def executed(home: Path) -> Any:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS])
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(home)}}).execute()
    return [cell.outputs for cell in notebook.cells]


def data_of(outputs: Any) -> Any:
    return outputs[-1]["data"]


def test_a_notebook_from_cells_to_result(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("ORC_HOME", str(tmp_path / "home"))
    outputs = executed(tmp_path)
    assert "<svg" in data_of(outputs[4])["text/html"]
    assert "no cache declared" in data_of(outputs[5])["text/html"]
    assert "succeeded" in data_of(outputs[6])["text/html"]
    assert data_of(outputs[7])["text/plain"] == str(3 * 10)
    assert data_of(outputs[8])["text/plain"] == str(5 * 10)
    assert data_of(outputs[9])["text/plain"] == "True"
    here = Installation(Settings.from_environment({"ORC_HOME": str(tmp_path / "home")}))
    assert [run.result() for run in Runs(here).list("cells")] == [50, 30]
