"""Pipelines whose lineage goes over two runs: data of a file, a model of that data, and what answers with it."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.csv

from orchestrator import File, pipeline, stage, version, when
from orchestrator.graph.handover import Handover


@stage
def read(path: File) -> pa.Table:
    return pa.csv.read_csv(path)


@stage(publish="data:clicks")
def clean(rows: pa.Table) -> pa.Table:
    return rows.drop_columns(["noise"])


@stage(publish="model:ctr")
def fit(rows: pa.Table) -> dict[str, float]:
    return {"rate": sum(rows["clicked"].to_pylist()) / rows.num_rows}


@stage
def judge(model: dict[str, float]) -> dict[str, bool]:
    return {"passed": model["rate"] < 1}


@stage(effects=True)
def serve(model: dict[str, float]) -> Handover:
    return Handover("shop", [], "promoted")


@pipeline
def ingest(path: str) -> pa.Table:
    return clean(read(path))


@pipeline
def train(data: str = "data:clicks") -> Handover | None:
    model = fit(version(data))
    return when(judge(model)["passed"], then=lambda: serve(model))
