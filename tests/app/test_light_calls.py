"""Calls of ``@dynamic`` bodies that run in the body's own process, and those that do not."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator import dynamic, pipeline, stage, step
from orchestrator.app.installation import Installation
from orchestrator.app.runner import Runner
from orchestrator.config.settings import Settings
from orchestrator.errors import RunFailed
from orchestrator.graph import fact as f
from orchestrator.graph.pipeline import RunOptions
from orchestrator.testing import InProcess, check_run


@stage
def add(x: int, y: int) -> int:
    return x + y


@stage
def where(x: int) -> int:
    return os.getpid()


@stage
def draws(x: int) -> float:
    return random.random()


@stage
def knows_itself(x: int) -> tuple[int, int]:
    return os.getpid(), step().attempt


@stage(effects=True)
def tells(x: int) -> int:
    return os.getpid()


@stage(retries=2)
def fails_twice(path: str, x: int) -> int:
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\n")
    if len(Path(path).read_text().splitlines()) < 3:
        raise OSError("not yet")
    return x


@stage
def fails(x: int) -> int:
    raise KeyError(f"{x} is not there")


@stage
def changes_directory(path: str) -> str:
    before = os.getcwd()
    os.chdir(path)
    os.environ["LEFT_BEHIND"] = "1"
    return before


@dynamic
def counts(n: int) -> int:
    total = 0
    for i in range(n):
        total = add(total, i)
    return total


@dynamic(max_steps=5)
def counts_too_far(n: int) -> int:
    total = 0
    for i in range(n):
        total = add(total, i)
    return total


@dynamic
def looks_for_itself(most: int) -> bool:
    return any(where(i) == os.getpid() for i in range(most))


@dynamic
def borrows_then(most: int, kind: str) -> list[Any]:
    """Wait until light calls run here, then make one that must not."""
    while where(0) != os.getpid() and most > 0:
        most -= 1
    other = {"effects": tells, "step": knows_itself}[kind](1)
    return [os.getpid(), other]


@dynamic
def retries(path: str) -> int:
    for i in range(20):
        add(i, i)
    return fails_twice(path, 7)


@dynamic
def catches(n: int) -> str:
    for i in range(n):
        add(i, i)
    try:
        fails(3)
    except KeyError as error:
        return str(error.args[0])
    return "nothing"


@dynamic
def gives_up(n: int) -> int:
    for i in range(n):
        add(i, i)
    return fails(n)


@dynamic
def stays(path: str) -> list[str]:
    for i in range(50):
        add(i, i)
    return [changes_directory(path), changes_directory(path), os.environ.get("LEFT_BEHIND", "")]


@dynamic
def rolls(n: int) -> list[float]:
    return [draws(i) for i in range(n)]


@stage
def waits_for(path: str) -> str:
    while not Path(path).exists():
        time.sleep(0.01)
    return "seen"


@stage
def makes(path: str, after: int) -> str:
    Path(path).touch()
    return path


@dynamic
def calls_until(path: str, most: int) -> int:
    """Make light calls until somebody else has run, who needs the only slot for that."""
    for i in range(most):
        add(i, i)
        if Path(path).exists():
            return i
    return -1


BODIES = {
    body.name: body
    for body in (counts, counts_too_far, looks_for_itself, borrows_then, retries, catches, gives_up, stays, rolls)
}


@pipeline
def one(body: str, given: list[Any]) -> Any:
    return BODIES[body](*given)


@pipeline
def beside(path: str, most: int) -> list[Any]:
    return [calls_until(path, most), makes(path, add(1, 1))]


@pytest.fixture
def here(tmp_path: Path) -> Installation:
    return Installation(Settings.from_environment({"ORC_HOME": str(tmp_path / "home"), "ORC_SLOTS": "2"}))


def run(here: Installation, body: str, *given: Any) -> Any:
    return Runner(here).run(one, {"body": body, "given": list(given)}, RunOptions(on="local"))


def test_light_calls_come_to_run_in_the_process_of_the_body(here: Installation) -> None:
    assert run(here, "looks_for_itself", 5000).result() is True


def test_each_call_is_a_step_with_one_outcome_and_a_start(here: Installation) -> None:
    done = run(here, "counts", 300)
    assert done.result() == sum(range(300))
    facts = [told for recorded in done.events() for told in f.apart(recorded.fact)]
    children = {fact.node["id"] for fact in facts if isinstance(fact, f.NodeAdded)}
    assert len(children) == 300
    assert {fact.node for fact in facts if isinstance(fact, f.StepsStarted)} >= children
    assert {fact.node for fact in facts if isinstance(fact, f.StepsCompleted)} >= children
    assert done["counts/add#300"].output == sum(range(300))
    assert len(done["counts/add#300"].attempts) == 1
    assert check_run(here.journal, done.id) == []


@pytest.mark.parametrize("kind", ["effects", "step"])
def test_calls_with_effects_or_a_step_context_go_to_a_worker(here: Installation, kind: str) -> None:
    body, other = run(here, "borrows_then", 5000, kind).result()
    assert (other if kind == "effects" else other[0]) != body


def test_a_failed_light_call_is_retried_on_a_worker(here: Installation, tmp_path: Path) -> None:
    done = run(here, "retries", str(tmp_path / "tries"))
    assert done.result() == 7
    assert [attempt.failure is None for attempt in done["retries/fails_twice"].attempts] == [False, False, True]
    assert len((tmp_path / "tries").read_text().splitlines()) == 3


def test_a_body_catches_the_failure_of_a_light_call(here: Installation) -> None:
    assert "3 is not there" in run(here, "catches", 30).result()


def test_a_failure_that_nobody_catches_fails_the_run_with_the_users_line(here: Installation) -> None:
    with pytest.raises(RunFailed, match="30 is not there"):
        run(here, "gives_up", 30)


def test_max_steps_holds_for_light_calls(here: Installation) -> None:
    assert run(here, "counts_too_far", 5).result() == 10
    with pytest.raises(RunFailed, match="max_steps=5"):
        run(here, "counts_too_far", 6)


def test_a_light_call_leaves_directory_and_environment_as_they_were(here: Installation, tmp_path: Path) -> None:
    first, second, left = run(here, "stays", str(tmp_path)).result()
    assert first == second
    assert left == ""


def test_random_numbers_of_light_calls_differ_from_call_to_call(here: Installation) -> None:
    drawn = run(here, "rolls", 40).result()
    assert len(set(drawn)) == 40


def test_a_body_on_the_only_slot_lets_others_have_it(tmp_path: Path) -> None:
    here = Installation(Settings.from_environment({"ORC_HOME": str(tmp_path / "home"), "ORC_SLOTS": "1"}))
    found = Runner(here).run(beside, {"path": str(tmp_path / "made"), "most": 100_000}, RunOptions(on="local")).result()
    assert found[0] >= 0


def test_the_same_in_process(tmp_path: Path) -> None:
    done = InProcess(tmp_path).run(one, body="counts", given=[200])
    assert done.result() == sum(range(200))
