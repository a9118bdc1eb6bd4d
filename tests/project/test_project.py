"""The project's declaration, its lock, and what its wheel holds."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import orchestrator

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
LOCK = (ROOT / "requirements.lock").read_text()


def locked() -> dict[str, list[Version]]:
    found: dict[str, list[Version]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==(\S+)", LOCK, re.MULTILINE):
        found.setdefault(canonicalize_name(name), []).append(Version(version))
    return found


def requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"]
    locked_extras = [
        extras[name] for name in extras if name not in ("torch", "text")
    ]  # PyTorch's build differs by machine
    groups = [PROJECT["dependencies"], *locked_extras]
    return [Requirement(text) for group in groups for text in group if not text.startswith("ray-orchestrator")]


def test_the_version_is_said_once_and_the_same() -> None:
    assert PROJECT["version"] == orchestrator.__version__


def test_the_lock_satisfies_every_requirement() -> None:
    versions = locked()
    for requirement in [*requirements(), *map(Requirement, PYPROJECT["build-system"]["requires"])]:
        found = versions[canonicalize_name(requirement.name)]
        assert all(requirement.specifier.contains(version) for version in found), requirement


def test_every_pin_has_hashes() -> None:
    entries = re.split(r"^(?=[A-Za-z0-9])", LOCK, flags=re.MULTILINE)[1:]
    assert len(entries) > 50
    assert all("--hash=sha256:" in entry and "==" in entry for entry in entries)


def test_the_lock_names_no_index_and_no_machine() -> None:
    assert not re.findall(r"https?://|file:|/home/|/root/|/work/|--index-url|--find-links|--extra-index-url", LOCK)


def test_the_lock_names_no_platform_but_those_supported() -> None:
    platforms = set(re.findall(r"sys_platform == '([a-z0-9]+)'", LOCK))
    assert platforms <= {"linux", "darwin", "win32"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the sdist, so that what the sdist lacks is missed."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert built.returncode == 0, built.stdout + built.stderr
    [path] = out.glob("*.whl")
    return path


def test_the_wheel_holds_all_that_is_ours_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {
        str(path.relative_to(ROOT))
        for package in ("orchestrator", "stages")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    expected |= {f"orchestrator/configs/{path.name}" for path in (ROOT / "configs").iterdir() if path.is_file()}
    assert names == expected
    assert "orchestrator/py.typed" in names


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    [metadata] = [archive.read(name).decode() for name in archive.namelist() if name.endswith("/METADATA")]
    [scripts] = [archive.read(name).decode() for name in archive.namelist() if name.endswith("/entry_points.txt")]
    assert "License-Expression: Apache-2.0" in metadata
    assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())
    assert "orc = orchestrator.cli.main:main" in scripts


def test_the_wheel_works_outside_of_the_checkout(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = """
import orchestrator, stages
from orchestrator.config.locations import shipped_configs
from orchestrator.config.pipeline_file import read_pipeline_file
assert orchestrator.__file__.startswith(SITE), orchestrator.__file__
assert str(shipped_configs()).startswith(SITE), shipped_configs()
for path in shipped_configs().glob("*.yaml"):
    read_pipeline_file(path)
"""
    code = code.replace("SITE", repr(str(tmp_path / "site")))
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n{code}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
