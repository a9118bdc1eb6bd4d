from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from orchestrator import pipeline, stage, when
from orchestrator.errors import BranchEscape, InvalidPipeline, PlaceholderMisuse, WrongType
from orchestrator.graph.node import Const, DictExpr, Guard, ListExpr, Ref


@dataclass
class Report:
    passed: bool
    auc: float


@stage
def check(x: int = 0) -> Report:
    return Report(True, 0.5)


@stage
def number(x: float = 0) -> int:
    return int(x)


@stage
def text(x: Any = None) -> str:
    return "t"


def graph_of(body: Any) -> Any:
    return pipeline(body, name="p").graph()


def test_both_branches_are_traced_in_their_own_scope() -> None:
    @pipeline
    def p() -> int:
        report = check()
        result = when(report.passed, then=lambda: number(1), otherwise=lambda: number(2))
        return number(result)

    graph = p.graph()
    assert [(node.id, node.kind) for node in graph.nodes] == [
        ("check", "stage"),
        ("when/branch", "branch"),
        ("when/then/number", "stage"),
        ("when/otherwise/number", "stage"),
        ("when/choice", "choice"),
        ("number", "stage"),
    ]
    assert graph.node("when/branch").args == {"value": Ref("check", ("passed",))}
    assert graph.node("when/then/number").guards == (Guard("when/branch", True),)
    assert graph.node("when/otherwise/number").guards == (Guard("when/branch", False),)
    assert graph.node("when/choice").args == {
        "branch": Ref("when/branch"), "then": Ref("when/then/number"), "otherwise": Ref("when/otherwise/number"),
    }  # fmt: skip
    assert graph.node("number").args == {"x": Ref("when/choice")}
    assert graph.node("number").guards == ()


def test_without_otherwise_there_is_none() -> None:
    graph = graph_of(lambda: when(check().passed, then=lambda: number()))
    assert set(graph.node("when/choice").args) == {"branch", "then"}
    with pytest.raises(WrongType, match=r"int \| None"):
        graph_of(lambda: number(when(check().passed, then=lambda: number())))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "packed"),
    [
        (lambda n: [n, 1], ListExpr((Ref("n"), Const(1)))),
        (lambda n: {"a": n}, DictExpr({"a": Ref("n")})),
        (lambda n: 3, Const(3)),
        (lambda n: None, Const(None)),
        (lambda n: check.options(name="c")().auc, Ref("when/then/c", ("auc",))),
        (lambda n: number.options(name="m").map([1, 2]), Ref("when/then/m")),
    ],
)
def test_what_is_no_single_result_is_packed_in_the_branch(value: Any, packed: Any) -> None:
    def body() -> Any:
        n = number.options(name="n")()
        return when(check().passed, then=lambda: value(n))

    graph = graph_of(body)
    pack = graph.node("when/then/pack")
    assert (pack.kind, pack.args) == ("pack", {"value": packed})
    assert pack.guards == (Guard("when/branch", True),)
    assert graph.node("when/choice").args["then"] == Ref("when/then/pack")


def test_a_result_from_before_may_be_a_branchs_value() -> None:
    def body() -> Any:
        n = number()
        return when(check().passed, then=lambda: n, otherwise=lambda: number(2))

    assert graph_of(body).node("when/choice").args["then"] == Ref("number")


def test_second_when_gets_an_ordinal_and_nested_ones_accumulate_guards() -> None:
    def body() -> Any:
        report = check()
        first = when(report.passed, then=lambda: number(1))
        second = when(report.passed, then=lambda: when(report.auc, then=lambda: number(1), otherwise=lambda: text()))
        return [first, second]

    graph = graph_of(body)
    deep = graph.node("when#2/then/when/then/number")
    assert deep.guards == (Guard("when#2/branch", True), Guard("when#2/then/when/branch", True))
    assert graph.node("when#2/then/when/branch").guards == (Guard("when#2/branch", True),)
    assert graph.node("when#2/then/when/choice").guards == (Guard("when#2/branch", True),)
    assert graph.node("when#2/choice").guards == ()
    assert graph.node("when#2/choice").args["then"] == Ref("when#2/then/when/choice")


def test_results_of_a_branch_do_not_escape() -> None:
    kept: list[Any] = []

    def leak() -> Any:
        kept.append(number())
        return kept[-1]

    def outside() -> Any:
        when(check().passed, then=leak)
        return number(kept[-1])

    def in_the_other() -> Any:
        return when(check().passed, then=leak, otherwise=lambda: number(kept[-1]))

    def returned() -> Any:
        when(check().passed, then=leak)
        return [kept[-1]]

    for body in (outside, in_the_other, returned):
        with pytest.raises(BranchEscape, match="'when/then/number' exists only in its branch") as caught:
            graph_of(body)
        assert caught.value.details["file"] == __file__


def test_results_of_a_branch_may_be_used_deeper_in_it() -> None:
    def branch() -> Any:
        n = number()
        return when(n, then=lambda: number(n), otherwise=lambda: n)

    graph_of(lambda: when(check().passed, then=branch))


def test_a_real_condition_folds() -> None:
    def body(flag: bool) -> Any:
        return when(flag, then=lambda: number(1), otherwise=lambda: text())

    assert [node.id for node in graph_of(lambda: body(True)).nodes] == ["number"]
    assert [node.id for node in graph_of(lambda: body(False)).nodes] == ["text"]
    assert graph_of(lambda: when(False, then=lambda: number(1))).output == Const(None)


def test_branches_are_functions() -> None:
    with pytest.raises(InvalidPipeline, match="then is a function"):
        graph_of(lambda: when(check().passed, then=number(1)))  # type: ignore[call-overload]
    with pytest.raises(InvalidPipeline, match="otherwise is a function"):
        graph_of(lambda: when(check().passed, then=lambda: 1, otherwise=3))  # type: ignore[call-overload]
    graph_of(lambda: when(check().passed, then=number))


def test_when_in_plain_python() -> None:
    assert when(True, then=lambda: 1, otherwise=lambda: 2) == 1
    assert when(0, then=lambda: 1) is None


def test_when_outside_of_the_tracing() -> None:
    kept: list[Any] = []
    graph_of(lambda: kept.append(check()))
    with pytest.raises(PlaceholderMisuse, match="no pipeline is being traced"):
        when(kept[0], then=lambda: 1)


def test_the_value_of_when_has_the_type_of_both_branches() -> None:
    def body(otherwise: Any) -> Any:
        return number(when(check().passed, then=lambda: number(1), otherwise=otherwise))

    graph_of(lambda: body(lambda: number(2)))
    with pytest.raises(WrongType, match=r"int \| str"):
        graph_of(lambda: body(lambda: text()))


def test_a_failing_branch_leaves_the_scope() -> None:
    def broken() -> Any:
        raise KeyError("author")

    def body() -> Any:
        try:
            when(check().passed, then=broken)
        except KeyError:
            return number()

    assert graph_of(body).nodes[-1].id == "number"
    assert graph_of(body).nodes[-1].guards == ()
