"""``orc release`` and ``orc rollback`` as far as nothing has to be served."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import pipeline, stage
from orchestrator.cli.previewing import _previewed
from orchestrator.config.job import load_job
from orchestrator.errors import ConfigError, NotFound
from orchestrator.testing import InProcess
from tests.cli.conftest import Orc


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("release", "model:flights@v1", "flights"), "none is up that would outlive this command"),
        (("rollback", "flights"), "start one with: orc up --background"),
        (("release", "model:flights", "flights", "--steps", "5,all"), "--steps 5,all: write percents"),
        (("preview", "model:flights@v1"), "none is up that would outlive this command"),
        (("preview",), "say what to show"),
        (("preview", "model:flights", "--list"), "or --list, or --remove NAME"),
        (("preview", "model:flights", "--for", "soon"), "soon"),
    ],
)
def test_what_cannot_be_released_is_refused_in_one_line(orc: Orc, arguments: tuple[str, ...], told: str) -> None:
    done = orc(*arguments)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert "Traceback" not in done.err


@stage(publish="model:first")
def first(factor: float) -> float:
    return factor


@stage(publish="model:second")
def second(factor: float) -> float:
    return factor


@pipeline
def make(factor: float, both: bool = False) -> list[float]:
    return [first(factor), second(factor)] if both else [first(factor)]


def test_a_run_is_previewed_by_the_model_that_it_published(tmp_path: Path) -> None:
    here = InProcess(tmp_path)
    one = here.run(make, factor=1.0)
    both, same = here.run(make, factor=2.0, both=True), here.run(make, factor=2.0)
    assert _previewed(here.installation, "model:x@v1") == ("model:x@v1", "")
    assert _previewed(here.installation, one.id) == ("model:first@v1", one.id)
    with pytest.raises(ConfigError, match=r"published model:.*@v.*, model:.*; name the one to show"):
        _previewed(here.installation, both.id)
    with pytest.raises(NotFound, match="an earlier run that made the same"):
        _previewed(here.installation, same.id)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["capture=/tmp/kept", "capture_share=0.5", "max_replicas=3", "max_batch_size=8", "num_gpus=0.25"], ""),
        (["capture=kept"], "no absolute path and no URL"),
        (["max_batch_size=100"], "is never reached"),
        (["replicas=4", "max_replicas=3"], "min_replicas=4 and max_replicas=3"),
    ],
)
def test_what_a_release_takes_on_is_checked_before_anything_runs(options: list[str], said: str) -> None:
    job = load_job("stages.pipelines.releasing:send_out", ["model=model:flights@v1", "app=flights", *options])
    if not said:
        assert job.pipeline.graph(**job.params).nodes
        return
    with pytest.raises(Exception, match=said):
        job.pipeline.graph(**job.params)


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
