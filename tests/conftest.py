"""What every test gets: a home of its own, no settings from outside, and GPU tests only where there is a GPU."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

# One Ray, one PostgreSQL and one S3 server for the whole session, for whichever tests need them.
pytest_plugins = ["tests.backends.ray_fixtures", "tests.store.postgres_server", "tests.artifacts.s3_server"]

settings.register_profile("steady", deadline=None)  # the machine's load is no property of the code
settings.load_profile("steady")


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read from, or left in, the home of whoever runs the tests."""
    for name in os.environ:
        if name.startswith("ORC_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ORC_HOME", str(tmp_path / "orc-home"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked ``gpu`` on a machine that has none, and say which tests one process has to run."""
    for item in items:
        if item.get_closest_marker("gpu") and not shutil.which("nvidia-smi"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device on this machine"))
        item.add_marker(pytest.mark.xdist_group("ray" if _starts_ray(item) else item.path.name))


def _starts_ray(item: pytest.Item) -> bool:
    """One Ray at a time: tests that need one are not spread over processes (``pytest -n 2 --dist loadgroup``)."""
    call = getattr(item, "callspec", None)
    return (
        item.get_closest_marker("ray") is not None
        or "local_ray" in getattr(item, "fixturenames", ())
        or (call is not None and any(isinstance(value, str) and value == "ray" for value in call.params.values()))
    )
