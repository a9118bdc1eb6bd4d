"""The engine's archive stands alone: a Python without any installed package can import from it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from orchestrator.backends.bundles.ray_actor import unpack
from orchestrator.backends.bundles.ray_engine import EngineArchive

CHECK = """
import sys
sys.path[:0] = sys.argv[1:]
import blake3, cloudpickle, fsspec
import orchestrator.ports.frames as frames
from orchestrator.backends.bundles import worker
print(frames.decode_to_worker(frames.encode(frames.Release('b', 3))).count, frames.__file__)
"""


def test_an_unpacked_engine_works_without_site_packages(tmp_path: Path) -> None:
    root = tmp_path / "engines" / "one"
    unpack(EngineArchive().data, root)
    command = [sys.executable, "-I", "-S", "-c", CHECK, str(root), str(root / "libraries")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    count, file = done.stdout.split()
    assert count == "3"
    assert file.startswith(str(root))


def test_equal_files_give_an_equal_digest() -> None:
    assert EngineArchive().digest == EngineArchive().digest


def test_unpacking_twice_is_no_error(tmp_path: Path) -> None:
    data = EngineArchive().data
    for _ in range(2):
        unpack(data, tmp_path / "engines" / "one")
    assert [path.name for path in (tmp_path / "engines").iterdir()] == ["one"]
