"""What every test gets: a home of its own, no settings from outside, and GPU tests only where there is a GPU."""

from __future__ import annotations

import os
import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

# One Ray, one PostgreSQL and one S3 server for the whole session, for whichever tests need them.
pytest_plugins = ["tests.backends.ray_fixtures", "tests.store.postgres_server", "tests.artifacts.s3_server"]

_OWN_RAY, _RAY = "own ray", "ray"
_RAY_PARAMETER = re.compile(r"[\[-]ray[\]-]")

settings.register_profile("steady", deadline=None)  # the machine's load is no property of the code
settings.load_profile("steady")


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read from, or left in, the home of whoever runs the tests."""
    for name in os.environ:
        if name.startswith("ORC_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ORC_HOME", str(tmp_path / "orc-home"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip tests marked ``gpu`` on a machine that has none; what takes longest begins first."""
    items.sort(key=lambda item: _turn(config.rootpath, _scope(config.rootpath, item.nodeid)))
    if shutil.which("nvidia-smi"):
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device on this machine"))


class OneRay(LoadScopeScheduling):
    """With ``-n 2`` a process runs whole files; one of them all that share a Ray, one at a time all with their own."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # by the number of tests the few that wait longest would be last

    def _split_scope(self, nodeid: str) -> str:
        return _scope(self.config.rootpath, nodeid)


def _scope(root: Path, nodeid: str) -> str:
    file, _, name = nodeid.partition("::")
    text = _text(root / file)
    if "mark.own_ray" in text:
        return _OWN_RAY
    return _RAY if _RAY_PARAMETER.search(name) or "mark.ray" in text or "local_ray" in text else file


def _turn(root: Path, scope: str) -> int:
    if scope in (_OWN_RAY, _RAY):
        return (_OWN_RAY, _RAY).index(scope)
    return 2 if "mark.slow" in _text(root / scope) or "mark.timeout" in _text(root / scope) else 3


@cache
def _text(file: Path) -> str:
    return file.read_text()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneRay:
    """How tests are spread over processes."""
    return OneRay(config, log)
