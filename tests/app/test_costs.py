"""What workers measure of real bodies, and what runs cost by run, pipeline and tag."""

from __future__ import annotations

import time
from pathlib import Path

from orchestrator import pipeline, runs, stage
from orchestrator.app.costs import consumed_by_node, grouped, slots_idle_share, spent_by_run
from orchestrator.app.installation import Installation
from orchestrator.app.record import RunRecord
from orchestrator.config.prices import read_prices
from orchestrator.ports.prices import Prices

MIB = 2**20


@stage
def spin(cpu_s: float) -> float:
    until = time.process_time() + cpu_s
    while time.process_time() < until:
        pass
    return cpu_s


@stage
def doze(after: float) -> float:
    time.sleep(0.6)
    return after


@stage
def hold(after: float) -> int:
    return len(b"x" * (200 * MIB))


@stage
def tiny(x: int) -> int:
    return x


@pipeline
def measured(count: int = 50) -> list[int]:
    hold(doze(spin(0.6)))
    return tiny.map(list(range(count)))


def test_cpu_time_and_memory_are_those_of_the_bodies() -> None:
    run = measured.options(on="local", tags={"team": "a"}).run()
    here = Installation()
    record = RunRecord(here, run.id)
    record.advance()
    found = consumed_by_node(record.fold, record.use)
    assert list(found) == ["spin", "doze", "hold", "tiny"]
    assert 0.55 < found["spin"].used_cpu_s < 2.0
    assert found["doze"].wall_s >= 0.6
    assert found["doze"].used_cpu_s < 0.3
    assert found["hold"].peak_bytes > 200 * MIB
    assert found["tiny"].steps == 50
    assert 0.0 < slots_idle_share(run.events(), here.clock.now()) < 1.0  # type: ignore[operator]
    assert runs[run.id].state == "succeeded"

    again = measured.options(on="local", tags={"team": "b"}).run(count=10)
    spent = spent_by_run(here)
    assert set(spent) == {run.id, again.id}
    by_team = grouped(spent, lambda _, one: one.tags["team"])
    assert {team: members for team, (_, members) in by_team.items()} == {"a": [run.id], "b": [again.id]}
    whole, _ = grouped(spent, lambda _, one: one.pipeline)["measured"]
    assert whole.steps == 3 + 50 + 3 + 10
    assert whole.used_cpu_s > 1.1


def test_prices_are_a_file(tmp_path: Path) -> None:
    assert read_prices(tmp_path) == Prices()
    (tmp_path / "prices.yaml").write_text("currency: EUR\ncpu_hour: 0.05\ngpu_hour: {default: 2, A100: 3.5}\n")
    prices = read_prices(tmp_path)
    assert (prices.currency, prices.cpu, prices.memory) == ("EUR", 0.05, Prices().memory)
    assert [prices.of_gpu(kind) for kind in (None, "A100", "T4")] == [2.0, 3.5, 2.0]
