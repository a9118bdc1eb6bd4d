"""A run on Ray is one trace, too: a step is a child of its run, and its body knows the span that it runs in."""

from __future__ import annotations

import pytest

from orchestrator import pipeline, stage, step
from orchestrator.backends.cluster import Cluster
from tests.sinks.receiver import receiving
from tests.sinks.test_traces import attribute, by_name, received

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]


@stage
def handed_on(x: int) -> str:
    return step().traceparent


@pipeline
def traced() -> list[str]:
    return handed_on.map([1, 2])


def test_a_step_on_ray_is_a_child_span_and_knows_it(local_ray: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        run = traced.options(on="ray").run()
        names = by_name(received(receiver))
    (top,), (items,) = names["run traced"], names["map handed_on"]
    for index, told in enumerate(run.result()):
        (own,), (attempt,) = names[f"step handed_on[{index}]"], names[f"attempt handed_on[{index}] 1"]
        assert attribute(attempt, "orc.worker").startswith("ray-")
        assert (attempt.parent_span_id, own.parent_span_id) == (own.span_id, items.span_id)
        assert items.parent_span_id == top.span_id
        assert told == f"00-{top.trace_id.hex()}-{attempt.span_id.hex()}-01"
