"""A real kernel: stages defined in cells, runs inside its event loop, pictures and progress as output."""

from __future__ import annotations

import re
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from orchestrator.app.installation import Installation
from orchestrator.app.runs import Runs
from orchestrator.config.settings import Settings
from tests.notebook.page import Page

PLAN = "[(p.node, p.action, p.reason) for p in cells.plan().nodes]"

CELLS = {
    "imports": "from orchestrator import pipeline, runs, stage\nimport asyncio, os, time",
    "factor": "FACTOR = 3\ndef times(x):\n    return FACTOR * x",
    "load": "@stage(cache='1d')\ndef load(n: int) -> list[int]:\n    return list(range(n))",
    "scaled": "@stage(cache='1d')\ndef scaled(x: int) -> int:\n    time.sleep(0.2)\n    return times(x)",
    "total": "@stage(cache='1d')\ndef total(xs: list[int]) -> int:\n    return sum(xs)",
    "other": "@stage(cache='1d')\ndef other(n: int) -> int:\n    return n + 1",
    "cells": "@pipeline\ndef cells(n: int = 5) -> list[int]:\n    return [total(scaled.map(load(n))), other(n)]",
    "graph": "cells",
    "first plan": "cells.plan()",
    "run": "run = cells.run()\nrun",
    "result": "run.result()",
    "all cached": PLAN,
    "comment": "@stage(cache='1d')\ndef total(xs: list[int]) -> int:\n    # nothing else\n    return sum(xs)",
    "after comment": PLAN,
    "new total": "@stage(cache='1d')\ndef total(xs: list[int]) -> int:\n    return sum(xs) + 1",
    "after total": PLAN,
    "new factor": "FACTOR = 5",
    "after factor": PLAN,
    "awaited": "again = await cells.start()\nagain.result()",
    "by name": "runs.latest('cells')['total'].output",
    "together": "few = await asyncio.gather(*(cells.start(n=n) for n in (2, 3)))\n[run.result() for run in few]",
    "in a thread": "await asyncio.to_thread(lambda: cells.run(n=4).result())",
    "loop": "asyncio.get_running_loop().is_running()",
}


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What each cell has shown, and the home it ran in."""
    home = tmp_path_factory.mktemp("kernel")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS.values()])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORC_HOME", str(home / "home"))
        patch.setenv("ORC_SLOTS", "2")
        resources = {"metadata": {"path": str(home)}}
        client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources)
        client.execute()
    return dict(zip(CELLS, (cell.outputs for cell in notebook.cells), strict=True)), home / "home"


def data_of(executed: Any, cell: str) -> Any:
    """The result of a cell."""
    return executed[0][cell][-1]["data"]


def plan_of(executed: Any, cell: str) -> dict[str, tuple[str, str]]:
    """Action and reason by step, as a cell has shown them."""
    return {node: (action, reason) for node, action, reason in eval(data_of(executed, cell)["text/plain"])}


def test_a_notebook_from_cells_to_result(executed: Any) -> None:
    assert "<svg" in data_of(executed, "graph")["text/html"]
    assert "nothing stored for this stage yet" in data_of(executed, "first plan")["text/html"]
    assert "succeeded" in data_of(executed, "run")["text/html"]
    assert "├─ ✓ load" in data_of(executed, "run")["text/plain"]
    assert data_of(executed, "result")["text/plain"] == "[30, 6]"
    here = Installation(Settings.from_environment({"ORC_HOME": str(executed[1])}))
    assert {run.state for run in Runs(here).list("cells")} == {"succeeded"}


_REUSED = ("reuse", "stored output, same code and inputs")


def test_only_the_changed_cell_and_its_dependants_are_stale(executed: Any) -> None:
    assert set(plan_of(executed, "all cached").values()) == {_REUSED}
    assert set(plan_of(executed, "after comment").values()) == {_REUSED}
    assert plan_of(executed, "after total") == {
        "load": _REUSED, "scaled": _REUSED, "total": ("run", "code changed"), "other": _REUSED,
    }  # fmt: skip
    assert plan_of(executed, "after factor") == {
        "load": _REUSED, "scaled": ("run", "code changed"), "total": ("after", "needs scaled"), "other": _REUSED,
    }  # fmt: skip


def test_runs_are_awaited_in_the_loop_of_the_kernel(executed: Any) -> None:
    assert data_of(executed, "awaited")["text/plain"] == "[51, 6]"
    assert data_of(executed, "by name")["text/plain"] == "51"
    assert data_of(executed, "together")["text/plain"] == "[[6, 3], [16, 4]]"
    assert data_of(executed, "in a thread")["text/plain"] == "[31, 5]"
    assert data_of(executed, "loop")["text/plain"] == "True"


def test_the_cell_that_waits_shows_progress_in_one_display(executed: Any) -> None:
    shown = [one for one in executed[0]["run"] if one["output_type"] == "display_data"]
    assert len(shown) == 1  # updated in place: what is left is how it ended
    assert Page(shown[0]["data"]["text/html"]).faults == []
    assert re.fullmatch(r"cells-\w+ succeeded: 8/8 steps · .+", shown[0]["data"]["text/plain"])
    waited = [one for one in executed[0]["awaited"] if one["output_type"] == "display_data"]
    assert len(waited) == 1
