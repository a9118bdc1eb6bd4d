"""``orc release`` and ``orc rollback`` as far as nothing has to be served."""

from __future__ import annotations

import pytest

from orchestrator.config.job import load_job
from tests.cli.conftest import Orc


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("release", "model:flights@v1", "flights"), "none is up that would outlive this command"),
        (("rollback", "flights"), "start one with: orc up --background"),
        (("release", "model:flights", "flights", "--steps", "5,all"), "--steps 5,all: write percents"),
    ],
)
def test_what_cannot_be_released_is_refused_in_one_line(orc: Orc, arguments: tuple[str, ...], told: str) -> None:
    done = orc(*arguments)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("how", "node"),
    [("canary", "release"), ("blue-green", "release"), ("shadow", "release"), ("ab", "release"), ("", "")],
)
def test_every_way_is_a_pipeline_that_can_be_drawn(how: str, node: str) -> None:
    given = ["model=model:flights@v1", "app=flights", f"how={how}", "metric=late", 'slices=["carrier"]']
    job = load_job("stages.pipelines.releasing:send_out", given)
    if not how:
        with pytest.raises(Exception, match="write canary, blue-green, shadow or ab"):
            job.pipeline.graph(**job.params)
        return
    graph = job.pipeline.graph(**job.params)
    assert f"when/then/{node}" in {one.id for one in graph.nodes}
    assert load_job("stages.pipelines.releasing:send_back", ["app=flights"]).pipeline.graph(app="flights").nodes
