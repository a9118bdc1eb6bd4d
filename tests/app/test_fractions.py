"""Fractions of a GPU on a whole run: four quarters share one at once, a fifth waits, and no process is used twice.

The GPUs are Ray's word only. ``test_ray_transport.py`` tests the same of the transport alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.app.run import Run
from orchestrator.backends.cluster import Cluster
from orchestrator.graph import fact as f
from orchestrator.graph.fact import FINISHED
from tests.app import meetings
from tests.app.meetings import wait_until
from tests.backends.ray_fixtures import await_gone

pytestmark = [pytest.mark.ray, pytest.mark.timeout(950)]


@pytest.fixture(autouse=True)
def on_session_ray(local_ray: Cluster) -> Cluster:
    """Four GPUs that do not exist."""
    return local_ray


def begun(folder: Path) -> dict[int, list[str]]:
    """Shares that have begun: the GPU each was given, and who had ended by then."""
    return {int(path.name[6:]): path.read_text().split(" ") for path in folder.glob("begun-?")}


def wait_in(run: Run, met: Callable[[], bool], what: str) -> None:
    """Wait for something that the run does; raises what the run failed with if it ends instead."""
    wait_until(lambda: met() or run.state in FINISHED, what)
    if not met():
        run.raise_for_state()
        raise AssertionError(f"the run {run.state} without {what}")


def seq_of(run: Run, wanted: Callable[[f.Fact], bool]) -> int:
    """Where a fact stands in the journal."""
    return next(event.seq for event in run.events() if wanted(event.fact))


def test_four_quarters_share_a_gpu_at_once_and_a_fifth_waits_for_one_of_them(tmp_path: Path) -> None:
    run = meetings.sharing.options(on="ray").start(folder=str(tmp_path))
    wait_in(run, (tmp_path / "others").exists, "the step that holds the other GPUs")
    run.signal("one GPU is left", 5)
    wait_in(run, lambda: len(begun(tmp_path)) >= 4, "the meeting of four shares")  # none goes before it is let go
    time.sleep(1.0)  # so that a fifth, were it placed, could show
    four = begun(tmp_path)
    assert len(four) == 4
    assert len({gpu for gpu, *_ in four.values()}) == 1
    assert all(not ended for _, *ended in four.values())
    (fifth,) = set(range(5)) - set(four)
    leaver = min(four)
    (tmp_path / f"go-{leaver}").touch()
    wait_in(run, lambda: fifth in begun(tmp_path), "the fifth share")  # beside the other three, which are still there
    assert begun(tmp_path)[fifth] == [four[leaver][0], f"ended-{leaver}"]
    for name in ("others", *range(5)):
        (tmp_path / f"go-{name}").touch()
    result = run.result()
    started = seq_of(run, lambda fact: isinstance(fact, f.StepsStarted) and (fact.node, fact.start) == ("share", fifth))
    ended = seq_of(
        run, lambda fact: isinstance(fact, f.StepsCompleted) and (fact.node, fact.start) == ("share", leaver)
    )
    assert ended < started
    gpus = {gpu for gpu, _ in result["shares"]}
    assert gpus == {four[leaver][0]}
    assert gpus.isdisjoint(result["others"].split(","))
    assert len({pid for _, pid in result["shares"]}) == 5


def test_no_gpu_step_runs_in_a_process_that_another_one_used_and_none_is_kept() -> None:
    first = meetings.leaks.options(on="ray").run(n=3).result()
    second = meetings.leaks.options(on="ray").run(n=3).result()  # pool workers stay warm between runs; these may not
    assert len({*first, *second}) == 6
    await_gone(*first, *second)
