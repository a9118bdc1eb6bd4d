"""Previews of real models: shown, replaced, listed, ended by hand and by themselves."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator import pipeline
from orchestrator.errors import ConfigError, RunFailed
from orchestrator.testing import InProcess, LocalServing
from stages.deployment import Preview, end_preview, preview, previews
from stages.deployment.previewing import plain_name
from stages.training import ModelFile
from tests.stages.churners import trained


@pipeline
def show(model: ModelFile, name: str, lasts_s: float) -> Preview:
    return preview(model, name, lasts_s)


@pipeline
def look() -> list[Preview]:
    return previews()


@pipeline
def remove(name: str) -> str:
    return end_preview(name)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[InProcess]:
    with LocalServing() as serving:
        yield InProcess(tmp_path, ports={"serving": serving, "routing": serving})


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_preview_has_one_model_and_ends(here: InProcess) -> None:
    first: Preview = here.run(show, model=trained(), name="feature/new-model", lasts_s=3600).result()
    other: Preview = here.run(show, model=trained(), name="run-1", lasts_s=1800).result()
    assert (first.name, status(first.url)) == ("feature-new-model", 200)
    assert first.until > time.time() + 1800
    second: Preview = here.run(
        show, model=trained("spent", "sklearn.linear_model.Ridge"), name="feature/new-model", lasts_s=3600
    ).result()
    assert (status(first.url), status(second.url), status(other.url)) == (404, 200, 200)
    assert here.run(look).result() == [other, second]

    assert here.run(remove, name="run-1").result() == "run-1"
    assert here.run(look).result() == [second]
    with pytest.raises(RunFailed, match="there is no preview 'run-1'"):
        here.run(remove, name="run-1").result()

    brief: Preview = here.run(show, model=trained(), name="brief", lasts_s=0.001).result()
    assert brief.until <= time.time()
    assert status(brief.url) == 404
    assert here.run(look).result() == [second]


def test_names_become_what_can_stand_in_a_url() -> None:
    assert plain_name("feature/a--b c") == "feature-a-b-c"
    assert plain_name("model:flights@v3") == "model-flights-v3"
    long = [plain_name(f"{'x' * 50}{number}") for number in range(2)]
    assert long[0] != long[1]
    assert {len(name) for name in long} == {40}
    with pytest.raises(ConfigError, match="needs a letter or a digit"):
        plain_name("/-/")


@pytest.mark.parametrize("lasts_s", [0, -1, float("nan"), 31 * 86_400.0])
def test_times_that_are_none_are_refused(here: InProcess, lasts_s: float) -> None:
    with pytest.raises(RunFailed, match="a preview cannot last"):
        here.run(show, model=trained(), name="x", lasts_s=lasts_s).result()
