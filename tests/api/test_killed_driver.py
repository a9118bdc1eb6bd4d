"""The pages after ``kill -9`` of a driver: they say so without reload, show what there is, and let the run go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.api.browser import Page
from tests.api.conftest import served

ROOT = Path(__file__).parents[2]
PATIENCE_S = 200.0
DRIVER = """
import sys
from orchestrator.graph.pipeline import RunOptions
from orchestrator.app.runner import Runner
from tests.api import busy_flow
Runner().run(busy_flow.telling, {"gate": sys.argv[1]}, RunOptions(on="local"))
"""


def test_a_run_whose_driver_was_killed_is_told_shown_and_resumed(page: Page, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    env = os.environ | {"ORC_HOME": str(tmp_path / "home"), "ORC_SLOTS": "2", "PYTHONPATH": str(ROOT)}
    with served(tmp_path / "home", lambda process: {}) as home:
        driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(gate)], cwd=ROOT, env=env, start_new_session=True)
        try:
            journal, deadline = home.process.installation.journal, time.monotonic() + PATIENCE_S
            while not (rows := journal.runs(state="running")):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            run = rows[0].id
            page.open(f"{home.client.url}runs/{run}/steps/tell")
            page.until("document.querySelectorAll('.log li').length === 2", PATIENCE_S)  # lines came without reload
            page.open(f"{home.client.url}runs/{run}")
            page.until("document.querySelector('.live').innerText === 'live'")
            page.evaluate("window.untouched = true")
        finally:
            driver.send_signal(signal.SIGKILL)
            driver.wait()
        page.until("document.querySelector('h1').innerText.includes('driver: none')", PATIENCE_S)
        assert page.evaluate("window.untouched") is True
        for path in (f"runs/{run}?view=table", f"runs/{run}?view=timeline", f"runs/{run}/steps/tell", "cluster", ""):
            page.open(f"{home.client.url}{path}")
            assert "Internal Server Error" not in page.evaluate("document.body.innerText")
        assert "a driver: nobody drives the run" in home.client.page("/cluster")
        page.open(f"{home.client.url}runs/{run}")
        gate.touch()
        page.evaluate("document.querySelector('button[value=resume]').click()")
        page.until("document.querySelector('h1')?.innerText.includes('succeeded')", PATIENCE_S)
        page.open(f"{home.client.url}runs/{run}/steps/tell")
        assert page.evaluate("document.querySelectorAll('.attempts li').length") == 2
        assert page.complaints == []
