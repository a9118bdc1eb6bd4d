"""What differs between two runs, from their records alone."""

from __future__ import annotations

import struct
from dataclasses import replace

from orchestrator.graph import fact as f
from orchestrator.graph.node import Const, Graph, Node, Ref, StageSpec
from orchestrator.ports.values import encode_cell
from orchestrator.readers.comparison import Packed, RunSide, RunTrace, compare


def spec(name: str, fingerprint: str = "f", files: tuple[str, ...] = ()) -> StageSpec:
    return StageSpec(name, f"m:{name}", fingerprint, files=files)


def const(value: str | float) -> Const:
    return Const(cell=encode_cell(value))


def side(run: str, lr: float = 0.1, fingerprint: str = "f", data: str = "d1", **outputs: tuple[str, ...]) -> RunSide:
    nodes = (
        Node("load", "stage", spec("load", files=("path",)), {"path": const("a.csv")}),
        Node("train", "stage", spec("train", fingerprint), {"rows": Ref("load"), "lr": const(lr)}),
        Node("score", "stage", spec("score"), {"model": Ref("train")}),
    )
    created = f.RunCreated("p", "g", "c", {"lr": str(lr)}, files={"a.csv": data})
    given = {"load": ("L",), "train": ("T",), "score": ("S",)} | outputs
    return RunSide(run, "p", "succeeded", created, Graph("p", nodes, Ref("score")), given, RunTrace())


def test_equal_runs_have_no_difference() -> None:
    found = compare([side("a"), side("b")])
    assert (found.identical, found.first) == (True, None)
    assert all(row.equal for row in (*found.params, *found.data, *found.code))


def test_what_differs_first_is_the_step_with_a_cause_of_its_own() -> None:
    found = compare([side("a"), side("b", lr=0.2, train=("T2",), score=("S2",))])
    assert found.first is not None
    assert (found.first.address, found.first.causes) == ("train", ("lr is 0.2 instead of 0.1",))
    assert found.steps[2].causes == ("its input train differs",)
    assert [(row.name, row.values) for row in found.params if not row.equal] == [("lr", ("0.1", "0.2"))]


def test_a_parameter_that_was_not_given_has_its_default() -> None:
    given, default = side("a", lr=0.2), side("b")
    graph = replace(default.graph, params={"lr": const(0.1), "depth": const(6)})
    found = compare([given, replace(default, created=replace(default.created, params={}), graph=graph)])
    assert [(row.name, row.values) for row in found.params] == [("lr", ("0.2", "0.1"))]


def test_causes_name_code_and_files() -> None:
    found = compare([side("a"), side("b", fingerprint="g", data="d2", load=("L2",), train=("T2",))])
    assert found.steps[0].causes == ("file a.csv differs",)
    assert found.steps[1].causes == ("the code of m:train differs", "its input load differs")
    assert [row.name for row in found.code if not row.equal] == ["m:train"]


def test_equal_code_and_inputs_with_other_outputs_are_not_deterministic() -> None:
    found = compare([side("a"), side("b", train=("T2",), score=("S2",))])
    assert found.first is not None
    assert found.first.address == "train"
    assert "not deterministic" in found.first.causes[0]


def test_items_that_differ_are_counted() -> None:
    found = compare([side("a", train=("1", "2", "3")), side("b", train=("1", "x", "3", "4"))])
    assert (found.steps[1].differing, found.steps[1].steps) == (2, 4)


def test_too_many_items_are_equal_or_unknown() -> None:
    one, other = (replace(side(run), outputs={"train": Packed(9, run)}) for run in "ab")
    assert compare([one, replace(other, outputs=one.outputs)]).steps[1].differing == 0
    assert compare([one, other]).steps[1].differing is None


def test_a_step_that_only_one_run_has() -> None:
    other = side("b")
    graph = replace(other.graph, nodes=(*other.graph.nodes[:2], Node("extra", "stage", spec("extra"))))
    outputs = {"load": ("L",), "train": ("T",), "extra": ("E",)}
    found = compare([side("a"), replace(other, graph=graph, outputs=outputs)])
    told = {step.address: step.causes for step in found.steps if not step.equal}
    assert told == {"score": ("not in b",), "extra": ("not in a",)}


def test_curves_and_times_are_gathered_from_facts() -> None:
    trace = RunTrace(frozenset({"m"}))
    trace.add(f.MetricsReported("train", 0, {"auc": 0.5}))
    trace.add(f.MetricsReported("train", 0, {"auc": 0.75}))
    trace.add(f.MetricsReported("m", 2, {"auc": 0.1}))
    trace.add(f.StepsCompleted("m", 0, 2, "c", elapsed_us=struct.pack("<2I", 500_000, 1_000_000)))
    trace.add(f.NodesCompleted(("load", "train"), "c", elapsed_us=struct.pack("<2I", 1, 2_000_000)))
    assert trace.curves == {"train auc": [0.5, 0.75], "m[2] auc": [0.1]}
    assert (trace.busy_s["m"], trace.busy_s["train"]) == (1.5, 2.0)
    found = compare([replace(side("a"), trace=trace), side("b")])
    assert [(row.name, row.values) for row in found.metrics] == [
        ("train auc", ("0.75", None)),
        ("m[2] auc", ("0.1", None)),
    ]
