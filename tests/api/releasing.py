"""A home with models, releases of every kind, a rollback and sweeps; requests of this process went through them."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest

from orchestrator import pipeline, stage, step
from orchestrator.app.handover import last_change, moves_back, moves_out
from orchestrator.app.installation import Installation
from orchestrator.app.models import Models
from orchestrator.app.released import Found, Releases
from orchestrator.app.runner import Runner
from orchestrator.errors import RunFailed
from orchestrator.graph.pipeline import RunOptions
from orchestrator.ports.promotion import GateCheck, Wanted
from orchestrator.ports.traffic import Traffic
from orchestrator.serving import Release, begin
from orchestrator.testing import InProcess, LocalServing
from stages.deployment import AB, Canary, release
from stages.pipelines.releasing import send_back, send_out
from stages.training import Model
from tests.app import sweep_flows
from tests.stages.churners import churn, customers, learn, offer
from tests.stages.users import Users

EXPERIMENT = AB(
    metric="conversion", bake="1s", horizon="2s", min_outcomes=20, min_samples=20, min_effect=0.05, slices=("plan",),
    compare=(),
)  # fmt: skip
CANARY = {"how": "canary", "steps": [20, 100], "bake": "0.4s", "min_samples": 5, "forced": "a <test>"}


@pipeline
def compare(model: Model) -> Any:
    return release(model, "shop", strategy=EXPERIMENT)


@pipeline
def publish(model: Model) -> Any:
    return offer(model)


@stage(effects=True)
def interrupted(app: str) -> int:
    """As far as a release comes whose worker dies after it stored its first state."""
    step().checkpoint(begin("r1", app, "v2", Canary(), Traffic(3, {"v1": 100.0}, "v1"), step().now()).to_json())
    raise OSError("the worker is gone")


@pipeline
def half_way(app: str) -> Any:
    return interrupted(app)


def all_releases(process: InProcess) -> dict[str, str]:
    """Runs by what became of them; ``churn`` was rolled back by hand in the end, ``shop`` has an experiment."""
    runs: dict[str, str] = {}
    with LocalServing() as serving:
        engine = InProcess(installation=process.installation, ports={"serving": serving, "routing": serving})
        runs["made"] = engine.run(churn).id
        for strength in (0.5, 0.2):
            engine.run(publish, model=learn(customers(), strength))
        here = process.installation
        for to in ("staging", "production"):
            checks = (GateCheck("auc", True, "0.8, at least 0.6"),)
            here.registry.promote(
                Wanted("model:churn", 2, to, "ann", here.clock.now(), "<ready>", checks, alias="best")
            )
        runs["first"] = _send(engine, 1)
        with Users(_url(here, "churn")):
            runs["promoted"] = _send(engine, 2)
            runs["sent back"] = _send(engine, 3, bake="20s", rollback_if="p95_ms > 0.01")
        last = last_change(here, "churn")
        assert last is not None
        back = [astuple(one) for one in moves_back(here, last)]
        runs["rolled back"] = engine.run(send_back, app="churn", moves=back).id
        table = customers()
        engine.run(_first, model=learn(table), app="shop")
        with Users(_url(here, "shop")):
            runs["experiment"] = engine.run(compare, model=learn(table, 0.5)).id
    with pytest.raises(RunFailed):
        Runner(here).run(half_way, {"app": "third"}, RunOptions(on="local"))
    runs["stopped"] = here.journal.runs("half_way")[0].id
    ledger = str(Path(here.settings.home) / "ledger")
    runs["sweep"] = Runner(here).run(sweep_flows.plain, {"ledger": ledger}, RunOptions(on="local")).id
    return runs


@pipeline
def _first(model: Model, app: str) -> Any:
    return release(model, app, canary=Canary())


def _send(engine: InProcess, number: int, **more: Any) -> str:
    model = Models(engine.installation)[f"churn@v{number}"]
    moves = [astuple(one) for one in moves_out(engine.installation, model, "champion", [])]
    given = {**CANARY, "model": model.address, "app": "churn", "promoted": moves, **more}
    return engine.run(send_out, **given).id


def _url(here: Installation, app: str) -> str:
    found = (one.known for one in Releases(here).all() if isinstance(one, Found) and one.known.app == app)
    return next(known.url for known in found if isinstance(known, Release))
