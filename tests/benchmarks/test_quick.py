"""Every row works: all of them once, in small, as one command."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from benchmarks.place import CHECKOUT

KEYS = {
    "fan-out", "chain", "layers", "dynamic", "fan-out-small", "chain-small", "million", "waiting", "cpu", "heavy-tail",
    "large-array", "cached", "plan", "resume", "one-stage", "journal", "stream", "sweep-plain", "table-1k",
    "divided-1k-1", "watched",
}  # fmt: skip
WITH_GENERATOR = "tpch-q1"


@pytest.mark.ray
@pytest.mark.own_ray
@pytest.mark.slow
@pytest.mark.timeout(950)
def test_every_row_gives_numbers_and_right_answers(tmp_path: Path) -> None:
    drawing, page = tmp_path / "picture.svg", tmp_path / "page.md"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORC_")}
    command = ["-m", "benchmarks", "--quick", "--repeat", "1", "--json", "--home", str(tmp_path)]
    ended = subprocess.run(
        [sys.executable, *command, "--svg", str(drawing), "--markdown", str(page)], cwd=CHECKOUT, env=environment,
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-4000:]
    document = json.loads(ended.stdout)
    rows = {row["key"]: row for row in document["rows"]}
    assert set(rows) - {WITH_GENERATOR} == KEYS
    for key, row in rows.items():
        for name, column in row["columns"].items():
            assert len(column["samples"]) == 1, (key, name)
            assert math.isfinite(column["median"]), (key, name)
            assert column["median"] > 0, (key, name)
    assert rows["cached"]["columns"]["ours, local"]["figures"]["steps that ran"]["median"] == 0
    assert rows["cached"]["columns"]["ours, local"]["figures"]["Ray loaded"]["median"] == 0
    for name in ("ours, local", "ours, Ray"):
        assert rows["million"]["columns"][name]["figures"]["items in the journal"]["median"] == 1_000
    assert document["versions"]["ray"].startswith("2.60")
    ElementTree.fromstring(drawing.read_text())
    assert "fan-out 1 → 200 → 1" in page.read_text()
    assert not list(tmp_path.glob("orc-benchmark-*")), "it leaves nothing behind"
