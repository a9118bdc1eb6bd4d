"""What notebooks show: every state by name, skipped parts too, and nothing that a value could inject."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import RunFailed
from orchestrator.app.runs import Runs
from orchestrator.testing import InProcess
from tests.app import flows


def test_a_graph_draws_itself_before_anything_runs() -> None:
    html = flows.asking.graph()._repr_html_()
    assert html is not None
    assert "<svg" in html
    assert "ship it?" in html
    assert "otherwise" in html


def test_a_plan_draws_itself_with_reasons(tmp_path: Path) -> None:
    plan = InProcess(tmp_path).plan(flows.cached, ledger=str(tmp_path / "ledger"))
    html = plan._repr_html_()
    assert html is not None
    assert "nothing stored for this stage yet" in html


def test_a_run_draws_itself_with_skipped_and_dynamic_steps(tmp_path: Path) -> None:
    process = InProcess(tmp_path)
    run = process.start(flows.asking)
    run.approve("ship it?", approved=False)
    html = run.wait()._repr_html_()
    assert "skipped" in html
    assert "succeeded" in html
    looped = process.run(flows.islands, n=2, ledger=str(tmp_path / "ledger"))
    assert "minus#2" in looped.svg()


def test_a_failed_run_shows_its_failure_escaped(tmp_path: Path) -> None:
    process = InProcess(tmp_path)
    with pytest.raises(RunFailed):
        process.run(flows.failing_with, text="<script>alert(1)</script>")
    html = Runs(process.installation).latest("failing_with")._repr_html_()
    assert "failed" in html
    assert "<script>" not in html
