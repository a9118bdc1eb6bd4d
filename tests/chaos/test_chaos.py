"""The short version: every fault once on a real cluster, and nothing acknowledged is lost, nothing finished redone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.faults import all_faults
from tests.store.postgres_server import find_program

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.ray, pytest.mark.own_ray, pytest.mark.slow, pytest.mark.timeout(1800)]


def test_every_fault_once(tmp_path: Path) -> None:
    """One cluster, on both stores where PostgreSQL is installed; only in CI it has to be."""
    both = find_program("initdb") is not None or os.environ.get("CI") == "true"
    command = [sys.executable, "-m", "tests.chaos", "--json", "--store", "both" if both else "sqlite"]
    errors = tmp_path / "errors"
    with errors.open("wb") as said:
        ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=said, timeout=1700)
    assert ended.stdout, errors.read_text()
    report = json.loads(ended.stdout)
    assert [line for outcome in report["outcomes"] for line in outcome["violations"]] == [], errors.read_text()
    assert (report["redone"], report["lost"], ended.returncode) == (0, 0, 0)
    struck = {outcome["fault"] for outcome in report["outcomes"]} | set(report["not_possible_here"])
    stores = {"sqlite", "postgresql"} if both else {"sqlite"}
    assert struck == {fault.name for faults in all_faults().values() for fault in faults if stores & set(fault.stores)}
    print(errors.read_text())
