"""A sweep of an engine without one of its guards finds the promise broken that the guard keeps."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from orchestrator import pipeline, signal, stage
from orchestrator.app.run import Run
from orchestrator.artifacts.local import LocalStore
from orchestrator.errors import RunError
from orchestrator.testing import InProcess, Subject, Swept, check_results, sweep_subject
from orchestrator.testing import checker as c
from orchestrator.types import Digest
from tests.testing import guarded

pytestmark = pytest.mark.timeout(950)


def broken(found: Swept) -> set[str]:
    """Broken promises; a value that is made up anew differs between universes, which is not what is looked for."""
    return {violation.promise for _, violation in found.violations} - {c.SAME_RESULT}


def test_with_all_guards_nothing_is_broken_even_if_everything_is_heard_twice() -> None:
    found = sweep_subject(Subject(guarded.hearing_everything_twice), points=12)
    assert broken(found) == set()
    assert found.kills > found.points


@pytest.mark.parametrize(
    ("load", "promise"),
    [
        (guarded.without_barriers, c.ONE_PAYLOAD_PER_KEY),
        (guarded.acknowledging_before_the_commit, c.FACTS_COMPLETE),
        (guarded.without_unique_outcomes, c.ONE_OUTCOME),
    ],
)
def test_without_a_guard_its_promise_is_broken(load: guarded.Load, promise: str) -> None:
    found = sweep_subject(Subject(load), enough=lambda found: promise in broken(found))
    assert promise in broken(found)


def test_a_machine_that_believes_everything_is_stopped_by_the_fold() -> None:
    with pytest.raises(RunError, match="a second outcome"):
        sweep_subject(Subject(guarded.believing_everything))


# ---- the digest check on read: bits flip between two drivers


@stage
def many(n: int) -> list[int]:
    return list(range(n))


@stage
def added(xs: list[int], more: int) -> int:
    return sum(xs) + more


@pipeline
def late(n: int) -> int:
    return added(many(n), signal("more"))


def outcome_after_a_flipped_bit(home: Path) -> tuple[dict[str, str], Run]:
    """Outcomes of a run whose large output was damaged before anybody read it."""
    process = InProcess(home)
    run = process.start(late, n=100_000)
    for event in run.events(follow=True):
        if type(event.fact).__name__ == "ApprovalRequested":
            break
    while not run["many"].done:
        time.sleep(0.01)
    run.stop()
    path = max((home / "artifacts").glob("??/??/*"), key=os.path.getsize)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    run.signal("more", 1)
    again = InProcess(home)
    again.know(late.trace(n=1).stages)
    ended = again.resume(run.id)
    shown = ended["added"].failure
    return {"added[0]": shown.name if shown else str(ended["added"].output)}, ended


REFERENCE = {"added[0]": str(sum(range(100_000)) + 1)}


def test_a_flipped_bit_is_never_computed_with(tmp_path: Path) -> None:
    found, run = outcome_after_a_flipped_bit(tmp_path / "home")
    assert (found, run.state) == ({"added[0]": "ArtifactCorrupt"}, "failed")


def test_without_the_digest_check_a_flipped_bit_changes_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unchecked(self: LocalStore, digest: Digest) -> memoryview:
        return memoryview(self._path(digest).read_bytes())

    monkeypatch.setattr(LocalStore, "get", unchecked)
    found, run = outcome_after_a_flipped_bit(tmp_path / "home")
    assert run.state == "succeeded"
    assert [violation.promise for violation in check_results(REFERENCE, found)] == [c.SAME_RESULT]
