"""What a cluster could ever supply, and the ledger of what is held: pure logic, no Ray."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.backends.bundles.ray_placement import Ledger, charged, holds
from orchestrator.backends.bundles.transport import WorkerNeeds
from orchestrator.backends.supply import NodeSupply, demand, label_matches, unschedulable
from orchestrator.graph.policy import Resources

SMALL = NodeSupply("small", {"CPU": 2.0, "memory": 4 * 2.0**30}, {"zone": "a"})
GPU = NodeSupply("gpu", {"CPU": 8.0, "GPU": 2.0, "accelerator_type:A100": 1.0, "memory": 2.0**36}, {"zone": "b"})


@pytest.mark.parametrize(
    "need",
    [
        Resources(),
        Resources(num_cpus=8),
        Resources(num_cpus=0, num_gpus=0.25),
        Resources(num_gpus=2),
        Resources(accelerator_type="A100"),
        Resources(memory=2**34),
        Resources(label_selector={"zone": "a"}),
        Resources(label_selector={"zone": "!a"}),
        Resources(label_selector={"zone": "in(a, c)"}),
        Resources(label_selector={"region": "!in(eu)"}),
    ],
)
def test_what_one_node_has_is_schedulable(need: Resources) -> None:
    assert unschedulable(need, [SMALL, GPU]) is None


@pytest.mark.parametrize(
    ("need", "words"),
    [
        (Resources(num_cpus=9), ["num_cpus=9", "8 CPU", "2 CPU"]),
        (Resources(num_gpus=3), ["num_gpus=3", "2 GPU"]),
        (Resources(num_gpus=1.5), ["num_gpus=1.5", "whole numbers"]),
        (Resources(accelerator_type="H100"), ["accelerator_type=H100", "A100"]),
        (Resources(memory=2**40), ["memory=1.02e+03GiB", "64GiB"]),
        (Resources(resources={"tpu": 1}), ["tpu=1", "0 tpu"]),
        (Resources(label_selector={"zone": "c"}), ["label zone=c", "label zone=a", "label zone=b"]),
        (Resources(num_cpus=4, label_selector={"zone": "a"}), ["num_cpus=4", "label zone=a"]),
    ],
)
def test_a_refusal_names_need_and_supply(need: Resources, words: list[str]) -> None:
    message = unschedulable(need, [SMALL, GPU])
    assert message is not None
    for word in words:
        assert word in message


def test_an_empty_cluster_is_named() -> None:
    assert "no node" in (unschedulable(Resources(), []) or "")


def test_many_nodes_are_not_all_listed() -> None:
    message = unschedulable(Resources(num_cpus=99), [SMALL] * 12)
    assert message is not None
    assert "and 7 more nodes" in message


def test_labels_of_node_groups_that_do_not_exist_yet_may_match() -> None:
    group = NodeSupply("node group big", {"CPU": 64.0}, None)
    assert unschedulable(Resources(label_selector={"zone": "z"}), [SMALL, group]) is None


@given(
    st.floats(0, 16, allow_nan=False).map(lambda x: round(x, 4)),
    st.floats(0, 1, allow_nan=False).map(lambda x: round(x, 4)),
    st.integers(0, 2**40),
)
def test_schedulable_is_exactly_fitting_one_node(cpus: float, gpus: float, memory: int) -> None:
    need = Resources(num_cpus=cpus, num_gpus=gpus, memory=memory)
    fits = any(
        all(node.resources.get(name, 0.0) + 1e-4 >= amount for name, amount in demand(need).items())
        for node in (SMALL, GPU)
    )
    assert (unschedulable(need, [SMALL, GPU]) is None) == fits


@pytest.mark.parametrize(
    ("value", "wanted", "expected"),
    [
        ("a", "a", True), ("a", "b", False), ("a", "!b", True), ("a", "!a", False),
        (None, "a", False), (None, "!a", True), (None, "in(a)", False),
        ("a", "in(a,b)", True), ("c", "in(a,b)", False), ("c", "!in(a,b)", True), ("a", "in('a', 'b')", True),
    ],
)  # fmt: skip
def test_selector_language(value: str | None, wanted: str, expected: bool) -> None:
    assert label_matches(value, wanted) is expected


# ---- the ledger

POOL = holds(WorkerNeeds("pool"))
HOST = holds(WorkerNeeds("host"))
DELEGATING = WorkerNeeds("heavy", uses=("data",))


def test_pool_workers_fill_the_cpus_and_hosts_take_none() -> None:
    ledger = Ledger([SMALL])
    assert ledger.slots == 2
    for name in ("a", "b"):
        assert ledger.fits(POOL)
        ledger.place(name, POOL)
    assert not ledger.fits(POOL)
    assert ledger.fits(HOST)
    ledger.remove("a")
    ledger.remove("a")
    assert ledger.fits(POOL)


def test_a_delegating_step_leaves_the_pool_one_cpu_less() -> None:
    one_cpu = NodeSupply("tiny", {"CPU": 1.0})
    for node, left in ((SMALL, 1), (one_cpu, 0)):
        ledger = Ledger([node])
        assert holds(DELEGATING).num_cpus == 0
        ledger.place("d", charged(DELEGATING))
        room = 0
        while ledger.fits(POOL):
            ledger.place(f"p{room}", POOL)
            room += 1
        assert room == left


def test_two_halves_do_not_make_a_whole() -> None:
    ledger = Ledger([SMALL, NodeSupply("other", {"CPU": 2.0})])
    ledger.place("a", POOL)
    assert ledger.fits(Resources(num_cpus=2))
    ledger.place("b", Resources(num_cpus=2))
    assert not ledger.fits(Resources(num_cpus=2))
    assert ledger.fits(POOL)


def test_what_others_hold_is_taken_off() -> None:
    ledger = Ledger([SMALL])
    ledger.place("a", POOL)
    ledger.sample({"CPU": 0.0, "memory": 2.0**32}, [POOL])
    assert not ledger.fits(POOL)
    ledger.sample({"CPU": 1.0, "memory": 2.0**32}, [POOL])
    assert ledger.fits(POOL)


def test_nodes_come_and_go_and_the_ledger_keeps_what_is_held() -> None:
    ledger = Ledger([SMALL])
    ledger.place("a", Resources(num_cpus=2))
    ledger.replace_nodes([SMALL, GPU])
    assert ledger.slots == 10
    assert ledger.fits(Resources(num_cpus=8))
    ledger.replace_nodes([SMALL])
    assert not ledger.fits(POOL)
    ledger.remove("a")
    assert ledger.fits(POOL)
