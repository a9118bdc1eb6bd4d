"""Runs that the tests of pictures look at; made once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from orchestrator import RunFailed
from orchestrator.app.run import Run
from orchestrator.app.runner import Runner
from orchestrator.app.runs import Runs
from orchestrator.graph.pipeline import RunOptions
from orchestrator.testing import InProcess
from tests.api import flow


@dataclass
class Made:
    """A home with runs of several kinds."""

    process: InProcess
    shapes: Run
    wide: Run
    failing: Run


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """Runs that are only looked at."""
    process = InProcess(tmp_path_factory.mktemp("notebook") / "home")
    shapes = Runner(process.installation).run(flow.shapes, {}, RunOptions(on="local"))  # workers of their own keep logs
    wide = process.run(flow.wide, n=5100)
    with pytest.raises(RunFailed):
        process.run(flow.failing)
    yield Made(process, shapes, wide, Runs(process.installation).latest("failing"))
    process.installation.close()
