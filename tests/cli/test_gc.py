"""``orc gc`` with policies, and runs whose artifacts are on S3, as a user sees both."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.artifacts.s3_server import S3Server
from tests.cli.conftest import Orc

PIPELINE = """
from orchestrator import pipeline, stage

@stage(cache="1h")
def make(size: int) -> bytes:
    print("made")
    return bytes(range(256)) * size

@stage
def measure(data: bytes) -> int:
    return len(data)

@pipeline
def sized(size: int = 1000) -> int:
    return measure(make(size))

@pipeline
def plain(size: int = 1000) -> bytes:
    return make.options(cache=False)(size)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "sizes.py").write_text(PIPELINE)
    return tmp_path


def test_old_runs_go_by_policy_and_their_artifacts_with_them(orc: Orc, project: Path) -> None:
    for size in (1000, 1001, 1002):
        assert orc("run", "sizes:plain", f"size={size}", cwd=project).code == 0
    assert orc("run", "sizes:sized", "size=1003", cwd=project).code == 0
    runs = [run["id"] for run in orc("ls", "plain", "--json").document("ls")]
    assert orc("gc", "--json", "--grace", "0s").document("gc")["runs"] == []
    options = ("--keep-last", "1", "--grace", "0s")
    planned = orc("gc", *options, "--pipeline", "plain", "--dry-run", "--json").document("gc")
    assert [run["id"] for run in planned["runs"]] == runs[1:]
    assert all(run["held_bytes"] > 0 for run in planned["runs"])
    assert planned["freed_bytes"] >= 2 * 256_000
    assert len(orc("ls", "--json").document("ls")) == 4
    (orc.home / "retention.yaml").write_text("pipelines:\n  plain: {keep_last: 1}\n")
    told = orc("gc", "--grace", "0s")
    assert told.code == 0
    assert "removed 2 runs" in told.out
    assert "without a policy" in told.out
    assert "the newest that succeeded" in told.out
    assert [run["id"] for run in orc("ls", "plain", "--json").document("ls")] == runs[:1]
    assert orc("show", runs[1]).code == 4
    assert orc("get", runs[0], "make", "--to", str(project / "kept")).code == 0
    assert orc("gc", "--json", "--grace", "0s").document("gc")["removed"] == []
    assert orc("gc", "--keep-tag", "x").code == 2
    assert orc("gc", "--keep-last", "1", "--keep-for", "soon").code == 2


def test_a_run_on_s3_and_its_reuse_on_another_node(orc: Orc, project: Path, s3: str, s3_server: S3Server) -> None:
    env = {**s3_server.environment, "ORC_ARTIFACTS": s3}
    assert orc("run", "sizes:sized", cwd=project, **env).code == 0
    run = orc.newest()
    orc.home.joinpath("cache").rename(project / "the cache of another node")
    again = orc("plan", "sizes:sized", "--json", cwd=project, **env).document("plan")
    assert [node["action"] for node in again["nodes"] if node["node"] == "make"] == ["reuse"]
    kept = orc("gc", "--grace", "0s", "--json", **env).document("gc")
    assert (kept["removed"], kept["kept"] > 1) == ([], True)
    saved = project / "saved"
    assert orc("get", run, "make", "--to", str(saved), **env).code == 0
    assert saved.stat().st_size >= 256_000


def test_a_damaged_output_is_no_hit_and_is_put_right(orc: Orc, project: Path) -> None:
    assert orc("run", "sizes:sized", cwd=project).code == 0
    (large,) = [path for path in (orc.home / "artifacts").glob("??/??/*") if path.stat().st_size >= 256_000]
    large.chmod(0o600)
    large.write_bytes(b"x" + large.read_bytes()[1:])
    told = orc("get", orc.newest(), "make", "--to", str(project / "saved"))
    assert told.code == 1
    assert large.name in told.err
    assert "ORC-411" in told.err
    assert orc("run", "sizes:sized", cwd=project).code == 0
    assert orc("get", orc.newest(), "make", "--to", str(project / "saved")).code == 0
