"""Whatever graph and step: a fork runs that step and what depends on it, nothing else, and comes to the same."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.testing import InProcess, check_run, read_ledger
from tests.app.shaped import Part, pipeline_of, steps_after


@st.composite
def shapes(draw: st.DrawFn) -> list[Part]:
    shape: list[Part] = [Part("list", ())]
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["sum", "list", "map", "map"]))
        lists = [place for place, part in enumerate(shape) if part.kind != "sum"]
        every = list(range(len(shape)))
        needs = [draw(st.sampled_from(lists))] if kind == "map" else draw(st.lists(st.sampled_from(every), max_size=3))
        shape.append(Part(kind, tuple(dict.fromkeys(needs))))
    return shape


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> InProcess:
    return InProcess(tmp_path_factory.mktemp("shaped") / "home")


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(shape=shapes(), data=st.data())
def test_a_fork_runs_exactly_what_depends_on_its_step(here: InProcess, shape: list[Part], data: st.DataObject) -> None:
    ledger = here.installation.settings.home / f"ledger-{abs(hash(tuple(shape)))}"
    run = here.run(pipeline_of(shape, str(ledger)))
    start = data.draw(st.integers(0, len(shape) - 1))
    item = data.draw(st.sampled_from([None, 0, 1, 2])) if shape[start].kind == "map" else None
    address = f"n{start}" if item is None else f"n{start}[{item}]"
    fork = here.fork(run.id, address)
    began = [line.step for line in read_ledger(ledger) if line.run == fork.id]
    assert sorted(began) == sorted(steps_after(shape, start, item))
    assert fork.result() == run.result()
    assert check_run(here.installation.journal, fork.id, [li for li in read_ledger(ledger) if li.run == fork.id]) == []


def test_the_other_way_to_find_what_depends_on_a_step() -> None:
    shape = [Part("list", ()), Part("map", (0,)), Part("map", (1,)), Part("sum", (2,)), Part("sum", ())]
    assert steps_after(shape, 1, 2) == {"n1[2]", "n2[2]", "n3[0]"}
    assert steps_after(shape, 4, None) == {"n4[0]"}
