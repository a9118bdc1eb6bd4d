"""A run with five hundred clients on its event stream costs the driver what it costs alone, and all of them see it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.small_steps import successors_sum
from benchmarks.watched import held, server, told, watchers
from tests.app.test_work_counts import FAN_OUT, SALT, check
from tests.app.work import Accountant

CLIENTS = 500


@pytest.fixture
def accountant(monkeypatch: pytest.MonkeyPatch) -> Iterator[Accountant]:
    monkeypatch.setenv("ORC_SLOTS", "2")
    made = Accountant(monkeypatch)
    yield made
    made.installation.close()


@pytest.mark.timeout(600)
def test_work_of_a_run_that_is_watched(accountant: Accountant, tmp_path: Path) -> None:
    """The bounds are those of the same fan-out when nobody looks."""
    n, gate = FAN_OUT.params["n"], tmp_path / "gate"
    got: list[dict[str, list[int]]] = []

    def watch(url: str) -> None:
        journal = accountant.installation.journal
        while not (rows := journal.runs("held", "running")):
            ended.wait(0.05)
        try:
            with watchers(url, rows[0].id, CLIENTS) as watching:
                gate.touch()
                got.append(told(watching))
        finally:
            gate.touch()

    ended = threading.Event()
    with server() as url:
        thread = threading.Thread(target=watch, args=(url,))
        thread.start()
        work, run = accountant.run(held, salt=SALT, n=n, gate=str(gate))
        thread.join(300.0)
    assert run.result() == successors_sum(SALT, n) == FAN_OUT.answer
    check(FAN_OUT, work)
    assert got == [{"clients": CLIENTS, "facts": [len(list(run.events()))], "bytes": got[0]["bytes"]}]
