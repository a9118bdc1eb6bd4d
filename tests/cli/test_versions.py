"""``orc versions``, ``get``, ``diff``, ``tag`` and ``cursors``, as a user sees them."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Orc

PIPELINE = """
import pyarrow as pa
from orchestrator import pipeline, stage, step

@stage(publish="data:sizes")
def load(size: int) -> pa.Table:
    step().cursor = size
    return pa.table({"x": list(range(size))})

@pipeline
def sized(size: int = 3) -> pa.Table:
    return load(size)
"""


def test_versions_from_the_command_line(orc: Orc, tmp_path: Path) -> None:
    (tmp_path / "sizes.py").write_text(PIPELINE)
    for size in (3, 5):
        assert orc("run", "sizes:sized", f"size={size}", cwd=tmp_path).code == 0
    found = orc("versions", "--json").document("versions")
    assert [version["address"] for version in found] == ["data:sizes@v2", "data:sizes@v1"]
    assert orc("tag", "data:sizes@v1", "prod").code == 0
    assert "prod" in orc("versions", "data:sizes").out
    document = orc("get", "data:sizes@prod", "--json").document("get")
    assert document["version"] == "data:sizes@v1"
    assert orc("get", "data:sizes@v2", "--to", str(tmp_path / "kept.arrow")).code == 0
    assert (tmp_path / "kept.arrow").stat().st_size > 100
    difference = orc("diff", "data:sizes@v1", "data:sizes", "--json").document("diff")
    assert difference["rows"] == [3, 5]
    assert difference["columns"][0]["after"]["maximum"] == 4.0
    assert "3 rows -> 5 rows" in orc("diff", "data:sizes@v1", "data:sizes").out
    assert orc("cursors", "--json").document("cursors")[0]["value"] == 5
    assert orc("tag", "data:sizes", "prod", "--delete").code == 0
    missing = orc("get", "data:sizes@prod")
    assert missing.code == 4
    assert "data:sizes has v2, v1" in missing.err
    assert orc("diff", "data:sizes", "sizes").code == 2
