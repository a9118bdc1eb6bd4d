"""A pipeline with a bit of everything that sinks tell of."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from orchestrator import File, Retry, dynamic, pipeline, stage, step


@stage
def load(path: File) -> pa.Table:
    lines = Path(path).read_text().split()
    return pa.table({"x": [int(line) for line in lines], "name": lines})


@stage(retries=Retry(attempts=3, backoff="10ms"), publish="model:toy")
def train(rows: pa.Table, lr: float) -> dict[str, float]:
    from opentelemetry import trace

    with trace.get_tracer("mine").start_as_current_span("fit") as span:
        span.set_attribute("traceparent", step().traceparent)
        if step().attempt == 1:
            raise OSError("not yet")
        for epoch in range(3):
            step().report(loss=1.0 / (epoch + 1), epoch=epoch)
        step().report(auc=0.75)
    return {"lr": lr}


@stage
def double(x: int) -> int:
    return 2 * x


@dynamic
def improve(model: dict[str, float]) -> int:
    return double(3)


@stage
def add(xs: list[int], model: dict[str, float], more: int) -> int:
    return sum(xs) + more


@stage
def refuse(model: dict[str, float]) -> int:
    raise ValueError("no good")


@pipeline
def learn(path: str, lr: float = 0.1) -> int:
    model = train(load(path), lr)
    return add(double.map([1, 2, 3]), model, improve(model))


@pipeline
def failing(path: str, lr: float = 0.1) -> int:
    return refuse(train(load(path), lr))
