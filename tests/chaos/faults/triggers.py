"""The same request a hundred times at once."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from orchestrator.app.installation import Installation
from orchestrator.config.settings import Settings
from orchestrator.testing import check_trigger_keys
from tests.chaos.episode import Episode, Stuck
from tests.chaos.faults import Fault

DELIVERIES = 100
_PROCESSES = 4


def delivered_often(episode: Episode) -> None:
    """A trigger's key arrives from several processes: one run is made. The signal arrives as often: it counts once."""
    episode.begin(go=False)
    episode.wait_for_outcomes(1)
    settings, run = episode.place.here.settings, episode.run
    with multiprocessing.get_context("spawn").Pool(_PROCESSES) as pool:
        each = DELIVERIES // _PROCESSES
        answers = pool.starmap(deliver, [(settings, run, number, each) for number in range(_PROCESSES)])
    ids = {run_id for made, _ in answers for run_id in made}
    broken = check_trigger_keys(("chaos", run_id) for run_id in ids)
    rows = [row.id for row in episode.place.here.journal.runs("triggered", limit=DELIVERIES)]
    if broken or len(rows) != 1 or sum(len(made) for made, _ in answers) != DELIVERIES:
        raise Stuck(f"{DELIVERIES} deliveries of one trigger made {rows}; they were told {sorted(ids)}")
    if sum(first for _, first in answers) != 1:
        raise Stuck(f"{DELIVERIES} equal signals were taken as {sum(first for _, first in answers)}")
    episode.note(f"{DELIVERIES} deliveries from {_PROCESSES} processes made one run")


def deliver(settings: Settings, run: str, number: int, times: int) -> tuple[list[str], int]:
    """Deliver from this process; the ids of the run that each delivery was told, and how many signals were new."""
    here = Installation(settings)
    origin = here.journal.run(run)
    created = here.created(run)

    def one(delivery: int) -> tuple[str, bool]:
        row = replace(
            origin, id=f"triggered-{number}-{delivery}", pipeline="triggered", state="queued", seq=1, epoch=0,
            created_at=time.time(), driver="", trigger_key="chaos",
        )  # fmt: skip
        made = here.journal.create(row, [created], {})
        body = {"kind": "signal", "node": "go", "value": 1, "by": "chaos"}
        return made, here.journal.post(run, "signal-go", body, time.time())

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(one, range(times)))
    here.close()
    return [made for made, _ in answers], sum(first for _, first in answers)


FAULTS = [Fault("a trigger and a signal delivered 100 times at once", delivered_often)]
