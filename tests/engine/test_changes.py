"""Comparing a recorded run with a new graph, and going on with it: pure decisions, no store and no workers."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.engine.changes import Comparison, compare
from orchestrator.engine.snapshot import decode_snapshot, encode_snapshot
from orchestrator.engine.state import DONE, OPEN, RunFold
from orchestrator.graph import fact as f
from orchestrator.graph.json import graph_to_json
from orchestrator.graph.node import Const, Expr, Graph, Guard, ListExpr, Node, NodeKind, Ref, SecretRef, StageSpec
from orchestrator.graph.policy import DEFAULT_POLICY, Policy, Resources
from orchestrator.ports.values import encode_cell


def const(value: Any) -> Const:
    return Const(cell=encode_cell(value))


def node(name: str, code: str = "v1", policy: Policy = DEFAULT_POLICY, kind: NodeKind = "stage", **args: Expr) -> Node:
    mapped = ("items",) if "items" in args else ()
    return Node(name, kind, StageSpec(name.partition("#")[0], f"m:{name}", code, policy), args, mapped)


def graph(*nodes: Node) -> Graph:
    return Graph("p", nodes, Ref(nodes[-1].id) if nodes else const(None))


def run_of(old: Graph, *done: str, facts: tuple[f.Fact, ...] = ()) -> RunFold:
    fold = RunFold("r1", old, created=f.RunCreated("p", "g", "c", {}))
    for name in done:
        fold.apply(f.StepsCompleted(name, 0, 1, "chunk", 0), 0.0)
    for fact in facts:
        fold.apply(fact, 0.0)
    return fold


def judged(old: RunFold, new: Graph, began: tuple[str, ...] = (), **moved: str) -> dict[str, tuple[str, str]]:
    return {change.node: (change.action, change.part) for change in compare(old, new, moved, began).changes}


BEFORE = graph(node("load", n=const(3)), node("fit", x=Ref("load"), lr=const(0.1)), node("report", m=Ref("fit")))


def test_nothing_changed() -> None:
    old = run_of(BEFORE, "load", "fit")
    assert judged(old, BEFORE) == {"load": ("keep", ""), "fit": ("keep", ""), "report": ("keep", "")}
    assert compare(old, BEFORE, {}, ()).dropped == ()


def test_changed_code_takes_what_depends_on_it_along() -> None:
    new = graph(node("load", "v2", n=const(3)), *BEFORE.nodes[1:])
    found = compare(run_of(BEFORE, "load", "fit"), new, {}, ())
    assert judged(run_of(BEFORE, "load", "fit"), new) == {
        "load": ("drop", "code"), "fit": ("drop", "inputs"), "report": ("run", "inputs")
    }  # fmt: skip
    assert found.dropped == ("load", "fit")
    assert "load is made anew" in found.changes[1].reason


@pytest.mark.parametrize(
    ("changed", "part", "said"),
    [
        (node("fit", x=Ref("load"), lr=const(0.2)), "parameters", "'lr' changed from 0.1 to 0.2"),
        (node("fit", x=Ref("load")), "parameters", "'lr' is no longer given"),
        (node("fit", x=Ref("load"), lr=const(0.1), seed=const(1)), "parameters", "'seed' is new"),
        (node("fit", x=Ref("load", ("rows",)), lr=const(0.1)), "inputs", "'x' comes from elsewhere"),
        (node("fit", x=ListExpr((Ref("load"),)), lr=const(0.1)), "inputs", "'x' comes from elsewhere"),
        (node("fit", x=Ref("load"), lr=SecretRef("env:LR")), "inputs", "'lr' comes from elsewhere"),
        (node("fit", policy=Policy(resources=Resources(runtime_env={"pip": ["x"]})), x=Ref("load"), lr=const(0.1)),
         "environment", "runtime_env changed"),
        (node("fit", kind="dynamic", x=Ref("load"), lr=const(0.1)), "code", "is a dynamic now, was a stage"),
        (node("fit", x=Ref("load"), lr=const(0.1))._replace(guards=(Guard("load", True),)), "inputs", "branch"),
        (node("fit", x=Ref("load"), lr=const(0.1))._replace(fallback=const(1)), "parameters", "way it is called"),
    ],
)  # fmt: skip
def test_what_decided_is_named(changed: Node, part: str, said: str) -> None:
    found = compare(run_of(BEFORE, "load", "fit"), graph(BEFORE.nodes[0], changed), {}, ())
    change = next(change for change in found.changes if change.node == "fit")
    assert (change.action, change.part) == ("drop", part)
    assert said in change.reason


def test_options_that_decide_no_output_do_not_count() -> None:
    policy = Policy(timeout_s=5.0, cache_s=60.0, resources=Resources(num_cpus=2.0))
    new = graph(node("load", policy=policy, n=const(3)), *BEFORE.nodes[1:])
    assert judged(run_of(BEFORE, "load"), new)["load"] == ("keep", "")


def test_a_changed_file_is_named() -> None:
    found = judged(run_of(BEFORE, "load", "fit"), BEFORE, load="file x.csv changed")
    assert found["load"] == found["fit"] == ("drop", "inputs")


def test_new_and_removed_nodes() -> None:
    new = graph(BEFORE.nodes[0], node("plot", x=Ref("load")))
    assert judged(run_of(BEFORE, "load", "fit"), new) == {
        "load": ("keep", ""), "plot": ("new", ""), "fit": ("remove", "code"), "report": ("remove", "code")
    }  # fmt: skip


def test_a_call_that_moved_keeps_what_it_has() -> None:
    old = graph(node("fit", lr=const(1)), node("fit#2", lr=const(2)), node("best", a=Ref("fit"), b=Ref("fit#2")))
    new = graph(node("fit", lr=const(2)), node("fit#2", lr=const(3)), node("plot", x=Ref("fit")))
    found = compare(run_of(old, "fit", "fit#2"), new, {}, ())
    assert found.kept == {"fit": "fit#2"}
    assert {change.node: change.action for change in found.changes} == {
        "fit": "keep", "fit#2": "new", "plot": "new", "best": "remove",
    } | {"fit": "remove"}  # fmt: skip
    assert [change.was for change in found.changes if change.action == "remove"] == ["fit", "best"]


def test_equal_calls_are_matched_once_each() -> None:
    old = graph(node("fit", lr=const(1)), node("fit#2", lr=const(1)))
    new = graph(node("fit", lr=const(1)), node("fit#2", lr=const(1)), node("fit#3", lr=const(1)))
    assert compare(run_of(old, "fit", "fit#2"), new, {}, ()).kept == {"fit": "fit", "fit#2": "fit#2"}


def test_an_answer_holds_unless_something_before_it_does_not() -> None:
    old = graph(node("fit"), Node("approve", "approval", prompt="Ship?"), node("ship", ok=Ref("approve")))
    answered = run_of(old, "fit", "approve")
    assert judged(answered, old)["approve"] == ("keep", "")
    found = judged(answered, graph(node("fit", "v2"), *old.nodes[1:]))
    assert found["approve"] == ("drop", "inputs")
    assert found["ship"] == ("run", "inputs")


EFFECTS = Policy(effects=True)


def test_steps_with_effects_that_would_act_again_are_named() -> None:
    old = graph(node("load"), node("ship", policy=EFFECTS, x=Ref("load")))
    new = graph(node("load", "v2"), old.nodes[1])
    assert compare(run_of(old, "load", "ship"), new, {}, ("load", "ship")).acted == ("ship",)
    assert compare(run_of(old, "load"), new, {}, ("load", "ship")).acted == ("ship",), "it began: it may have acted"
    assert compare(run_of(old, "load"), new, {}, ("load",)).acted == ()
    assert compare(run_of(old, "load", "ship"), old, {}, ("load", "ship")).acted == ()


def test_a_step_with_effects_never_moves_to_another_key() -> None:
    old = graph(node("ship", policy=EFFECTS, x=const(1)), node("ship#2", policy=EFFECTS, x=const(2)))
    found = compare(run_of(old), graph(node("ship", policy=EFFECTS, x=const(2))), {}, ("ship", "ship#2"))
    assert found.kept == {}
    assert found.acted == ("ship",)


def changed_to(new: Graph, found: Comparison) -> f.CodeChanged:
    return f.CodeChanged("g2", "c2", graph_to_json(new), found.kept, found.dropped, "abc")


def test_the_fold_takes_what_stays_valid_into_the_changed_graph() -> None:
    boom = f.Failure(("m:Boom",), "boom")
    old = graph(
        node("load"), node("fit", items=Ref("load")), node("fit#2", items=const(1)), node("ask", kind="approval"),
        node("late", x=Ref("fit")), node("isle", kind="dynamic"), node("gone", "v0"),
    )  # fmt: skip
    child: dict[str, Any] = {"id": "isle[0]/one", "kind": "stage"}
    fold = run_of(old, "load", "gone", facts=(
        f.DriverStarted(1, "d", "h", 1, "local"), f.MapExpanded("fit", 3), f.StepsCompleted("fit", 0, 2, "c", 4),
        f.AttemptFailed("fit", 2, boom, 99.0), f.CheckpointSaved("fit", 2, "k"), f.ApprovalRequested("ask", "Go?"),
        f.NodeAdded("isle", 0, 0, "key", child), f.StepsCompleted("isle[0]/one", 0, 1, "d"),
        f.StepFailed("fit#2", 0, boom),
    ))  # fmt: skip
    new = graph(
        node("load"), node("zero"), node("fit", items=Ref("load")), node("fit#2", "v2", items=const(1)),
        node("ask", kind="approval"), node("late", "v2", x=Ref("fit")), node("isle", kind="dynamic"),
    )  # fmt: skip
    before = encode_snapshot(fold)
    found = compare(fold, new, {}, ())
    change = changed_to(new, found)
    fold.apply(change, 1.0)

    assert list(fold.nodes) == ["load", "zero", "fit", "fit#2", "ask", "late", "isle", "isle[0]/one"]
    assert [state.order for state in fold.nodes.values()] == list(range(8))
    assert fold.nodes["fit"].status == bytes([DONE, DONE, 5])
    assert fold.nodes["fit"].attempt(2) == 2
    assert fold.retrying == {("fit", 2): 99.0}
    assert fold.waiting["ask"].text == "Go?"
    assert fold.calls == {("isle", 0): [("isle[0]/one", "key")]}
    assert fold.failed == []
    assert fold.nodes["fit#2"].status == b""
    assert fold.nodes["late"].status == bytes([OPEN])
    assert fold.created is not None
    assert (fold.created.graph, fold.created.capsule, fold.revision) == ("g2", "c2", 1)
    assert found.dropped == ("gone",)

    again = decode_snapshot(encode_snapshot(fold), old)
    assert encode_snapshot(again) == encode_snapshot(fold)
    assert again.graph == fold.graph == new
    from_before = decode_snapshot(before, old)
    from_before.apply(change, 1.0)
    assert encode_snapshot(from_before) == encode_snapshot(fold)


def test_calls_of_a_dynamic_step_go_with_it() -> None:
    old = graph(node("isle", kind="dynamic"))
    child: dict[str, Any] = {"id": "isle[0]/one", "kind": "stage"}
    fold = run_of(old, facts=(f.NodeAdded("isle", 0, 0, "key", child), f.StepsCompleted("isle[0]/one", 0, 1, "d")))
    new = graph(node("isle", "v2", kind="dynamic"))
    fold.apply(changed_to(new, compare(fold, new, {}, ())), 1.0)
    assert list(fold.nodes) == ["isle"]
    assert fold.calls == {}
