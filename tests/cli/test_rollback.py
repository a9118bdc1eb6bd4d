"""``orc rollback`` after one that was interrupted: it goes on with that one, as back and back again would be forth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.cli.releasing import rollback
from orchestrator.testing import LocalServing
from tests.app.test_handover import FIRST, Ground, Killed


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    with LocalServing() as serving:
        yield Ground(tmp_path, serving)


@pytest.mark.parametrize("fatal", [("rollback", "before"), ("rollback", "after"), ("hand_back", "before")])
def test_an_interrupted_rollback_goes_on(
    ground: Ground, fatal: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("orchestrator.cli.releasing.Runner", lambda: ground.engine.runner)
    monkeypatch.setattr("orchestrator.app.releasing.check_stays", lambda settings: None)
    ground.promote(1)
    ground.release(1)
    first = ground.traffic
    ground.promote(2)
    with ground.users():
        ground.release(2)
    ground.fatal = fatal
    with pytest.raises(Killed):
        rollback("churn")
    journal = ground.here.journal
    (left,) = [row.id for row in journal.runs() if row.pipeline == "send_back"]
    assert (journal.run(left).state, journal.owner(left)) == ("running", None)
    capsys.readouterr()
    assert rollback("churn") == 0
    assert f"run {left} was interrupted half way back; it goes on" in capsys.readouterr().err
    assert (ground.traffic, ground.tags()) == (first, FIRST | {"model:churn@previous": 2})
    assert [row.id for row in journal.runs() if row.pipeline == "send_back"] == [left]
    assert journal.run(left).state == "succeeded"
