"""Releases in the journal: what is read again and what not, and how requests were left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator import pipeline, stage, step
from orchestrator.app.released import Found, Releases, WentBack, weights_of
from orchestrator.errors import RunFailed
from orchestrator.ports.traffic import Traffic
from orchestrator.serving import Canary, Shadow, begin
from orchestrator.serving.trail import Moment, Trail
from orchestrator.testing import InProcess


@stage(effects=True)
def interrupted(app: str) -> int:
    step().checkpoint(begin("r-" + app, app, "v2", Canary(), Traffic(3, {"v1": 100.0}, "v1"), step().now()).to_json())
    raise OSError("the worker is gone")


@stage(effects=True)
def odd(app: str) -> int:
    step().checkpoint({"strategy": {"kind": "canary"}, "step_began_at": "never", "format": 99})
    raise OSError("the worker is gone")


@pipeline
def half_way(app: str) -> Any:
    return interrupted(app)


@pipeline
def strange(app: str) -> Any:
    return odd(app)


def failed(here: InProcess, what: Any, app: str) -> str:
    with pytest.raises(RunFailed):
        here.run(what, app=app)
    return str(here.installation.journal.runs(limit=1)[0].id)


def test_a_run_that_cannot_be_read_hides_no_other_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = InProcess(tmp_path)
    first, _, third = failed(here, half_way, "one"), failed(here, strange, "two"), failed(here, half_way, "three")
    releases = Releases(here.installation)
    assert [(one.run, one.state) for one in releases.all() if isinstance(one, Found)] == [
        (third, "stopped"), (first, "stopped"),
    ]  # fmt: skip
    folds: list[str] = []
    fold = here.installation.fold
    monkeypatch.setattr(here.installation, "fold", lambda run: folds.append(run) or fold(run))
    assert len(releases.all()) == 2
    assert folds == []  # nothing is new
    fourth = failed(here, half_way, "four")
    assert [one.run for one in releases.all()] == [fourth, third, first]
    assert folds == [fourth]


def test_how_requests_were_left() -> None:
    state = begin("r", "app", "v2", Canary(), Traffic(3, {"v1": 100.0}, "v1"), 1.0)
    assert weights_of(Found("run", "release", state, True)) == {"v1": 100.0}
    moved = replace(state, trail=Trail((Moment(2.0, 25.0, 10, {}),)))
    assert weights_of(Found("run", "release", moved, True)) == {"v2": 25.0, "v1": 75.0}
    mirrored = replace(moved, strategy=Shadow(percent=25))
    assert weights_of(Found("run", "release", mirrored, True)) == {"v1": 100.0}
    assert weights_of(WentBack("run", "rollback", "app", "v1", 3.0)) == {"v1": 100.0}
