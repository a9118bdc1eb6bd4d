"""Runs from the record of another: the same seeds wherever they run, and what verification says when outputs differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import RunFailed
from orchestrator.app.installation import Installation
from orchestrator.app.run import Run
from orchestrator.app.runner import Runner
from orchestrator.app.verification import Verification, verification
from orchestrator.backends.cluster import Cluster
from orchestrator.errors import RunError
from orchestrator.graph import fact as f
from orchestrator.testing import InProcess
from tests.app import versions


@pytest.fixture
def here(tmp_path: Path) -> InProcess:
    return InProcess(tmp_path / "home")


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    return str(tmp_path / "ledger")


def verified(runner: Runner, run: Run, on: str | None = None) -> Verification:
    renewal = runner.renewal(run.id, verify=True)
    again = runner.rerun(renewal, on).wait()
    again.raise_for_state()
    return verification(runner.installation, renewal, again.id)


def test_a_rerun_hands_out_the_same_seeds_in_process_and_on_local_workers(here: InProcess) -> None:
    run = here.run(versions.drawing)
    values = run.result()
    assert values[1][:2] != values[2][:2], "two steps draw different numbers"
    found = verified(here.runner, run)
    assert (found.identical, found.compared, found.taken) == (True, 8, ())
    assert Run(here.installation, found.run).result() == values
    assert verified(Runner(here.installation), run, "local").identical
    plain = here.runner.rerun(here.runner.renewal(run.id)).wait()
    assert plain.result() == values


@pytest.mark.ray
@pytest.mark.timeout(950)
def test_and_on_ray_also_in_heavy_steps(local_ray: Cluster) -> None:
    here = Installation()
    run = versions.drawing_heavily.options(on="ray").run()
    assert verified(Runner(here), run).identical
    assert verified(InProcess(installation=here).runner, run).identical


def test_a_users_own_random_numbers_are_not_disturbed_by_steps_in_process(here: InProcess) -> None:
    import random

    import numpy as np

    random.seed(5)
    np.random.seed(5)
    expected = random.random(), np.random.rand()
    random.seed(5)
    np.random.seed(5)
    here.run(versions.drawing)
    assert (random.random(), np.random.rand()) == expected


def test_the_first_step_that_differs_by_itself_is_the_suspect(here: InProcess) -> None:
    found = verified(here.runner, here.run(versions.ticking))
    assert not found.identical
    assert [(d.address, d.inputs_equal) for d in found.differences] == [("clock", True), ("later", False)]
    assert found.suspect is not None
    assert found.suspect.address == "clock"
    assert found.suspect.recorded != found.suspect.now
    assert found.compared == 5


def test_verification_takes_nothing_from_the_cache(here: InProcess) -> None:
    run = here.run(versions.storing_twice)
    assert here.run(versions.storing_twice).result() == run.result(), "the cache works"
    found = verified(here.runner, run)
    assert [d.address for d in found.differences if d.inputs_equal] == ["stored", "storing/stored"]
    facts = [r.fact for r in Run(here.installation, found.run).events()]
    assert not any(isinstance(fact, f.StepsCompleted) and fact.cached for fact in facts)


def test_steps_with_effects_are_taken_from_the_record_also_inside_islands(here: InProcess, ledger: str) -> None:
    run = here.run(versions.acting_twice, ledger=ledger)
    lines = Path(ledger).read_text()
    found = verified(here.runner, run)
    assert found.identical
    assert sorted(found.taken) == ["acting", "acts"]
    assert Path(ledger).read_text() == lines
    assert Run(here.installation, found.run).result() == run.result()


def test_a_step_with_effects_that_the_record_lacks_does_not_run(here: InProcess, ledger: str, tmp_path: Path) -> None:
    run = here.run(versions.unsure, marker=str(tmp_path / "marker"), ledger=ledger)
    renewal = here.runner.renewal(run.id, verify=True)
    again = here.runner.rerun(renewal).wait()
    with pytest.raises(RunFailed, match="a step with effects came up"):
        again.raise_for_state()
    assert not Path(ledger).exists()
    assert verification(here.installation, renewal, again.id).differences[0].address == "flips"


def test_a_call_with_effects_that_the_record_lacks_does_not_run(here: InProcess, ledger: str, tmp_path: Path) -> None:
    run = here.run(versions.unsure_inside, marker=str(tmp_path / "marker"), ledger=ledger)
    again = here.runner.rerun(here.runner.renewal(run.id, verify=True)).wait()
    with pytest.raises(RunFailed, match="a step with effects came up"):
        again.raise_for_state()
    assert not Path(ledger).exists()


def test_answers_of_people_are_taken_from_the_record(here: InProcess, ledger: str) -> None:
    run = here.start(versions.asked, ledger=ledger)
    run.approve("approve")
    run.signal("go", 7)
    run.wait()
    found = verified(here.runner, run)
    assert found.identical
    assert sorted(found.taken) == ["approve", "go"]


def test_a_file_that_changed_is_named_with_both_digests(here: InProcess, ledger: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("one")
    run = here.run(versions.sized, path=str(path), ledger=ledger)
    assert verified(here.runner, run).files == ()
    path.write_text("three")
    found = verified(here.runner, run)
    assert [file.path for file in found.files] == [str(path)]
    assert found.files[0].recorded != found.files[0].now
    assert found.suspect is None, "the step is not to blame for another file"
    assert found.differences[0].address == "size"
    path.unlink()
    assert [file.now for file in here.runner.renewal(run.id).files] == ["missing"]
    assert [c.node for c in run.compare(versions.sized).changes if c.action == "drop" and "rows.csv" in c.reason] == [
        "size"
    ]


def test_only_what_succeeded_can_be_verified_and_no_verification_is_repeated(here: InProcess, ledger: str) -> None:
    with pytest.raises(RunFailed) as caught:
        here.run(versions.report, ledger=ledger)
    with pytest.raises(RunError, match="is failed; only a run that succeeded can be verified"):
        here.runner.renewal(caught.value.details["run"], verify=True)
    found = verified(here.runner, here.run(versions.sizes_only))
    with pytest.raises(RunError, match=f"is a verification of {found.origin}"):
        here.runner.renewal(found.run)


def test_run_verify_in_python(here: InProcess) -> None:
    assert versions.sizes_only.run().verify().identical
