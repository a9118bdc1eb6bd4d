"""LightGBM's trees by its C interface answer as its Python package does, without what that imports."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest

from orchestrator.errors import ConfigError
from stages.training.booster import Booster

ROWS = np.random.default_rng(0).normal(size=(500, 5))
LABELS = np.digitize(ROWS[:, 0] + ROWS[:, 1], [-0.5, 0.5])


def trained(objective: str, **params: object) -> lightgbm.Booster:
    labels = LABELS if objective == "multiclass" else (LABELS > 1)
    options = {"objective": objective, "verbose": -1, "num_threads": 1, **params}
    return lightgbm.train(options, lightgbm.Dataset(ROWS, labels.astype(float)), 20)


@pytest.mark.parametrize(
    ("objective", "params"), [("binary", {}), ("regression", {}), ("multiclass", {"num_class": 3})]
)  # fmt: skip
def test_answers_are_those_of_the_package_to_the_last_bit(objective: str, params: dict[str, Any]) -> None:
    model = trained(objective, **params)
    booster = Booster(model.model_to_string().encode())
    holed = np.where(np.random.default_rng(1).random(ROWS.shape) < 0.1, np.nan, ROWS)
    for rows in (holed, np.asfortranarray(holed), holed[::2, :], holed[:1]):
        assert np.array_equal(booster.predict(rows), model.predict(rows, num_threads=1))
    assert len(booster.predict(ROWS[:0])) == 0


def test_threads_may_ask_one_booster() -> None:
    model = trained("binary")
    booster, expected, wrong = Booster(model.model_to_string().encode()), model.predict(ROWS), []

    def ask() -> None:
        wrong.extend(1 for _ in range(200) if not np.array_equal(booster.predict(ROWS), expected))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_what_it_cannot_use_says_so() -> None:
    for text in (b"", b"tree\nnonsense\n"):
        with pytest.raises(ConfigError, match="no LightGBM text"):
            Booster(text)
    with pytest.raises(ConfigError, match="number of features in data \\(2\\)"):
        Booster(trained("binary").model_to_string().encode()).predict(ROWS[:, :2])


def test_a_process_that_predicts_does_not_import_the_package(tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_text(trained("binary").model_to_string())
    code = (
        "import sys, numpy; from stages.training.booster import Booster; from pathlib import Path;"
        f"print(Booster(Path({str(tmp_path / 'model.txt')!r}).read_bytes()).predict(numpy.zeros((3, 5))).shape,"
        "sorted({'lightgbm', 'sklearn', 'scipy', 'pandas'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "(3,) []\n"
