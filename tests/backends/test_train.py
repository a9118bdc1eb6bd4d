"""A training on a real Ray Train: what it says, what it raises, and what an earlier attempt leaves to do."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import pytest

from orchestrator.backends.cluster import Cluster
from orchestrator.backends.train import RayTrain
from tests.backends.train_work import Work


@pytest.fixture(autouse=True)
def torch() -> Any:
    if os.environ.get("CI") == "true":
        importlib.import_module("torch")
    return pytest.importorskip("torch")


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(950)
def test_what_the_function_raises_is_raised_at_once(local_ray: Cluster, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    reported: list[Any] = []
    kept: list[Any] = []
    with pytest.raises(ValueError, match="nothing to add in round 3"):
        RayTrain(Work(), tmp_path / "train").run(
            work="add", given={"ledger": str(ledger), "wrong": 3}, workers=1, resources={"CPU": 0.5}, restored=[1.0],
            report=reported.append, keep=kept.append,
        )  # fmt: skip
    assert ledger.read_text().splitlines() == ["0 of 1 from 1"]
    assert kept == [[1.0] * 2, [1.0] * 3]
    assert reported == [{"round": 2.0}, {"round": 3.0}]
    assert not list((tmp_path / "train").iterdir())
