"""From a training run into production and out to an endpoint: gates, soundness and the registry in this process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator import pipeline, version, when
from orchestrator.app.models import Models
from orchestrator.errors import PromotionRefused
from orchestrator.ports.promotion import GateCheck
from orchestrator.testing import InProcess, LocalServing
from stages.deployment import check_soundness, release
from stages.pipelines.promoting import examine
from stages.training import Model
from stages.validation import GateRecord
from tests.stages.churners import churn


@pipeline
def go_out(model: str, max_size_bytes: int) -> Any:
    sample = version("data:customers")
    sound = check_soundness(
        version(model), sample, max_size_bytes=max_size_bytes, max_p99_ms=1e6, max_load_s=1e6, requests=1
    )
    return when(sound.passed, then=lambda: release(version(model), "churn", sample=sample), otherwise=lambda: sound)


@pytest.fixture
def serving() -> Iterator[LocalServing]:
    with LocalServing() as serving:
        yield serving


@pytest.fixture
def here(tmp_path: Path, serving: LocalServing) -> InProcess:
    return InProcess(tmp_path / "home", ports={"serving": serving, "routing": serving})


@pytest.mark.timeout(600)
def test_a_model_goes_up_past_its_gates_and_out_past_its_soundness(here: InProcess, serving: LocalServing) -> None:
    models = Models(here.installation)
    here.run(churn)
    here.run(churn, strength=0.1, min_auc=2.0)
    sound: GateRecord = here.run(examine, model="model:churn@v1", sample="data:customers", max_p99_ms=1e6).result()
    for to in ("staging", "production"):
        found, wanted = models.wanted("churn@v1", to, "ann")
        checks = [*found.gates, *(GateCheck(one.check, one.passed, one.why) for one in sound.findings)]
        assert models.promote(replace(wanted, checks=checks)).to == to
    refused, wanted = models.wanted("churn@v2", "staging", "ann")
    with pytest.raises(PromotionRefused, match=r"v2 stays in dev: gate: auc 0\.\d+ is below 2"):
        models.promote(replace(wanted, checks=refused.gates))
    assert refused.metrics == {"rows": 150.0}

    heavy = here.run(go_out, model="model:churn@production", max_size_bytes=100)
    assert heavy.finished is not None
    assert heavy.finished.outcome == "refused"
    assert "size in bytes" in heavy.result().reasons[0]
    assert serving.status() == []
    assert here.run(go_out, model="model:churn@production", max_size_bytes=2**20).result().passed

    made = models["churn@v1"]
    card = made.card_cell()
    assert card is not None
    assert here.installation.values.load(card).value.purpose == "Whom to call."
    assert isinstance(made.value(), Model)
    lineage = made.lineage
    assert lineage is not None
    assert [source.step for source in lineage.sources] == ["customers"]
