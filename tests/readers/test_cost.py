"""Cost as a fold: what is paid for, what of it was used, and that the parts add up."""

from __future__ import annotations

import pytest

from orchestrator.graph import fact as f
from orchestrator.graph.policy import Resources
from orchestrator.ports.prices import Prices
from orchestrator.readers.cost import Consumed, NodeUse, Use, consumed, cost_of, total

PRICES = Prices(cpu=3600.0, memory=3600.0, gpu=3600.0, gpus={"A100": 7200.0})
"""One for a second of each: amounts are seconds."""

GIB = 2**30
OOPS = f.Failure(("builtins:ValueError",), "oops")


def us(*seconds: float) -> bytes:
    return b"".join(int(one * 1e6).to_bytes(4, "little") for one in seconds)


def done(node: str, *seconds: float, cpu_s: float = 0.0, peak: int = 0) -> f.StepsCompleted:
    return f.StepsCompleted(node, 0, len(seconds), "c", 0, us(*seconds), cpu_us=int(cpu_s * 1e6), peak_bytes=peak)


def of(*facts: tuple[f.Fact, float], resources: Resources) -> Consumed:
    use = Use()
    for fact, at in facts:
        use.add(fact, at)
    (node,) = use.nodes.values()
    return consumed(node, resources)


def test_what_is_reserved_and_not_used_is_paid_for_and_idle() -> None:
    found = of((done("a", 4.0, cpu_s=1.0, peak=GIB), 10.0), resources=Resources(num_cpus=2.0, memory=4 * GIB))
    cost = cost_of(found, PRICES)
    assert (found.reserved_cpu_s, found.used_cpu_s) == (8.0, 1.0)
    assert (cost.cpu, cost.memory) == (8.0, 16.0)
    assert cost.idle == pytest.approx(7.0 + 12.0)
    assert cost.idle_share == pytest.approx(19 / 24)


def test_who_uses_more_than_was_reserved_pays_for_it() -> None:
    found = of((done("a", 2.0, cpu_s=6.0, peak=3 * GIB), 10.0), resources=Resources())
    cost = cost_of(found, PRICES)
    assert (cost.cpu, cost.memory, cost.idle) == (6.0, 6.0, 0.0)


def test_gpus_cost_their_share_by_kind() -> None:
    quarter = of((done("a", 8.0), 9.0), resources=Resources(num_gpus=0.25))
    assert cost_of(quarter, PRICES).gpu == 2.0
    fast = of((done("a", 8.0), 9.0), resources=Resources(num_gpus=1.0, accelerator_type="A100"))
    assert cost_of(fast, PRICES).gpu == 16.0


def test_failed_attempts_cost_from_their_start_and_reused_outputs_nothing() -> None:
    found = of(
        (f.StepsStarted("a", 0, 1, "b1", "w"), 100.0),
        (f.AttemptFailed("a", 0, OOPS, 104.0, "b1"), 103.0),
        (f.StepsStarted("a", 0, 1, "b2", "w"), 104.0),
        (done("a", 1.0, cpu_s=0.5), 105.0),
        (f.StepsCompleted("a", 1, 2, "c", cached="other", elapsed_us=us(50.0)), 106.0),
        resources=Resources(),
    )
    assert found.wall_s == pytest.approx(4.0)
    assert found.used_cpu_s == pytest.approx(3.5)  # what is not known of the failed attempt counts as used
    assert found.steps == 1


def test_steps_of_one_fact_share_its_cpu_time_by_their_own() -> None:
    use = Use()
    use.add(f.NodesCompleted(("a", "b"), "c", 0, us(3.0, 1.0), cpu_us=2_000_000, peak_bytes=GIB), 5.0)
    assert (use.nodes["a"].cpu_s, use.nodes["b"].cpu_s) == (1.5, 0.5)


def test_parts_add_up() -> None:
    parts = [consumed(NodeUse(1, wall, 0.0, wall, wall / 2), Resources(num_gpus=0.5)) for wall in (1.0, 2.0, 4.0)]
    whole = total(parts)
    assert whole.steps == 3
    assert cost_of(whole, PRICES).amount == pytest.approx(sum(cost_of(part, PRICES).amount for part in parts))


def test_changed_code_keeps_what_was_used() -> None:
    use = Use()
    use.add(done("a", 4.0), 1.0)
    use.add(f.CodeChanged("g", "c", {}, {"b": "a"}), 2.0)
    assert set(use.nodes) == {"b"}
