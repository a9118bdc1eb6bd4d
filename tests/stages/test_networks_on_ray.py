"""A network that several processes train on a real Ray Train, one of which dies."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.datasets import load_breast_cancer

from orchestrator import pipeline
from orchestrator.backends.cluster import Cluster
from stages.features import fit_plan
from stages.training import Trained, train_network


@pytest.fixture(autouse=True)
def torch() -> Any:
    if os.environ.get("CI") == "true":
        importlib.import_module("torch")
    return pytest.importorskip("torch")


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(950)
def test_two_processes_learn_what_one_would_though_one_dies(local_ray: Cluster, tmp_path: Path) -> None:
    data, names = load_breast_cancer(), [f"x{place}" for place in range(30)]
    table = pa.table({**{name: data.data[:, place] for place, name in enumerate(names)}, "benign": data.target})
    planned = fit_plan(table, [{"scale": {"columns": names}}], keep=["benign"])
    scar = tmp_path / "scar"
    settings: dict[str, Any] = {
        "module": "tests.stages.mortal.Mortal", "params": {"scar": str(scar), "passes": 6, "dropout": 0.0},
        "epochs": 6, "batch_size": 300, "class_weight": "balanced", "seed": 3,
    }  # fmt: skip

    @pipeline
    def job() -> Trained:
        from tests.stages import mortal  # noqa: F401 (so that it travels with the run)

        together = train_network.options(uses="train")
        return together(planned.table, planned.plan, "benign", workers=2, **settings)

    run = job.options(on="ray").run()
    assert scar.exists(), "no process has died"
    done = run.result()
    epochs = [point["epoch"] for point in run["train_network"].metrics if "epoch" in point]
    assert epochs == sorted(set(epochs)), "an epoch was done twice, so it did not go on from its checkpoint"
    assert epochs[-1] == 6
    alone = train_network(planned.table, planned.plan, "benign", **settings)
    np.testing.assert_allclose(done.curve, alone.curve, rtol=1e-4)
    np.testing.assert_allclose(done.model.predict(table), alone.model.predict(table), atol=1e-4)
