"""A source that grows while runs are killed: what the succeeded runs delivered is the source, each row once."""

from __future__ import annotations

import json
import os
import random
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.app.installation import Installation
from orchestrator.config.settings import Settings
from orchestrator.testing.crash import MOMENTS
from tests.app import incremental_flow
from tests.forking import ROOT, forked

LIVES = 14


class Source:
    """A table with ties, latecomers and growth; what was put into it is known here, not only there."""

    def __init__(self, path: Path, chance: random.Random) -> None:
        self.path, self._chance = path, chance
        self.url = f"sqlite:///{path}"
        self.ids: list[int] = []
        self._clock = 100
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("CREATE TABLE events (id INTEGER, at INTEGER)")

    def grow(self) -> None:
        """Some rows: several at one time, and some up to two ticks late."""
        rows = []
        for _ in range(self._chance.randrange(1, 9)):
            self._clock += self._chance.choice((0, 0, 1, 2))
            rows.append((len(self.ids), self._clock - self._chance.choice((0, 0, 0, 1, 2))))
            self.ids.append(len(self.ids))
        with closing(sqlite3.connect(self.path)) as database, database:
            database.executemany("INSERT INTO events VALUES (?, ?)", rows)


def live(home: Path, source: Source, folder: Path, run: str, point: str) -> int:
    arguments = (str(home), source.url, str(folder), run, point)
    done = forked(incremental_flow.main, *arguments, cwd=ROOT, env=os.environ)
    assert done.code in (0, -9), done.err
    return done.code


@pytest.mark.slow
@pytest.mark.timeout(950)
def test_every_row_is_delivered_once_by_the_runs_that_succeeded(tmp_path: Path) -> None:
    chance = random.Random(20_250)
    home, folder = tmp_path / "home", tmp_path / "delivered"
    folder.mkdir()
    source = Source(tmp_path / "source.db", chance)
    source.grow()
    killed, resumed = 0, 0
    for _ in range(LIVES):
        here = Installation(Settings.from_environment({"ORC_HOME": str(home)}))
        open_runs = [row.id for row in here.journal.runs() if row.finished_at is None]
        here.close()
        run = chance.choice(open_runs) if open_runs and chance.random() < 0.6 else ""
        resumed += bool(run)
        point = f"{chance.randrange(2, 9)}:{chance.choice(MOMENTS)}" if chance.random() < 0.75 else ""
        killed += live(home, source, folder, run, point) == -9
        source.grow()
    here = Installation(Settings.from_environment({"ORC_HOME": str(home)}))
    for row in here.journal.runs():
        if row.finished_at is None:
            live(home, source, folder, row.id, "")
    live(home, source, folder, "", "")
    rows = here.journal.runs()
    assert killed >= 4
    assert resumed >= 2
    assert {row.state for row in rows} <= {"succeeded", "failed"}  # failed: another run was faster
    delivered: Counter[int] = Counter()
    for row in rows:
        if row.state == "succeeded":
            delivered.update(json.loads((folder / f"{row.id}.json").read_text()))
    assert delivered == Counter(source.ids)
    here.close()
