"""Graphs written in YAML."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from orchestrator import Pipeline
from orchestrator.config.graph_file import graph_pipeline
from orchestrator.config.pipeline_file import parse_pipeline_file
from orchestrator.config.reference import Reference, references, resolved
from orchestrator.errors import ConfigError, CyclicGraph, DefinitionError, NotFound, UnknownArgument, WrongType
from orchestrator.graph.node import Graph
from tests.config import flow_stages

FLOW = """
params: {path: a.csv, by: 2, at_least: 1}
graph:
  out:
    uses: tests.config.flow_stages:publish
    with: {x: $sum, to: $$all}
    if: $good
    else: nothing
  rows:
    uses: tests.config.flow_stages:load
    with: {path: $params.path, n: 4}
  parts: {uses: "tests.config.flow_stages:split", with: {xs: $rows}}
  doubled:
    uses: tests.config.flow_stages:double
    with: {x: $parts.train, by: $params.by}
    map: x
  sum: {uses: "tests.config.flow_stages:total", with: {xs: $doubled}}
  good: {uses: "tests.config.flow_stages:enough", with: {x: $sum, at_least: $params.at_least}}
output: {result: $out, sums: [$sum]}
"""


def pipeline_from(text: str, name: str = "flow") -> Pipeline[..., Any]:
    return graph_pipeline(parse_pipeline_file(textwrap.dedent(text), name))


def test_a_graph_runs_like_a_function() -> None:
    flow = pipeline_from(FLOW)
    assert flow(path="b.csv") == {"result": "2 to $all", "sums": [2]}
    assert flow(path="b.csv", at_least=100) == {"result": "nothing", "sums": [2]}
    assert flow(by=0.5, at_least=0.25) == {"result": "0.5 to $all", "sums": [0.5]}


def test_a_graph_is_traced_with_the_lines_of_the_file() -> None:
    graph = pipeline_from(FLOW).graph()
    assert isinstance(graph, Graph)
    lines = {node.id: node.source.line for node in graph.nodes if node.source and node.stage}
    assert lines == {"rows": 9, "parts": 12, "doubled": 13, "sum": 17, "good": 18, "when/then/out": 4}
    assert all(node.source and node.source.file == "flow.yaml" for node in graph.nodes)
    assert graph.node("doubled").mapped == ("x",)
    assert graph.node("doubled").stage is not None
    assert graph.node("doubled").stage.ref == "tests.config.flow_stages:double"  # type: ignore[union-attr]


def test_a_wiring_error_names_the_line_of_the_node() -> None:
    text = """
        graph:
          rows: {uses: "tests.config.flow_stages:load", with: {path: x}}
          sum:
            uses: tests.config.flow_stages:publish
            with: {x: $rows, to: y}
    """
    with pytest.raises(WrongType) as refused:
        pipeline_from(text).graph()
    assert (refused.value.details["file"], refused.value.details["line"]) == ("flow.yaml", 4)
    unknown = 'graph:\n  rows: {uses: "tests.config.flow_stages:load", with: {pth: x}}'
    with pytest.raises(UnknownArgument, match="did you mean 'path'") as refused_argument:
        pipeline_from(unknown).graph()
    assert refused_argument.value.details["line"] == 2


def test_a_pipeline_and_a_dynamic_stage_may_be_nodes() -> None:
    flow = pipeline_from(
        """
        graph:
          part: {uses: "tests.config.flow_stages:summed", with: {n: 4}}
          best: {uses: "tests.config.flow_stages:search", with: {xs: [1, 5, 2]}}
        output: [$part, $best]
        """
    )
    assert flow() == [12, 10]
    assert {"summed/load", "summed/double", "best"} <= {node.id for node in flow.graph().nodes}


def test_an_else_may_call_another_stage() -> None:
    flow = pipeline_from(
        """
        params: {x: 1}
        graph:
          good: {uses: "tests.config.flow_stages:enough", with: {x: $params.x, at_least: 2}}
          out:
            uses: tests.config.flow_stages:publish
            with: {x: $params.x, to: front}
            if: $good
            else: {uses: "tests.config.flow_stages:publish", with: {x: 0, to: back}}
        output: $out
        """
    )
    assert flow() == "0 to back"
    assert flow(x=2) == "2 to front"
    ids = {node.id for node in flow.graph().nodes}
    assert {"when/then/out", "when/otherwise/out"} <= ids


def test_a_condition_on_a_parameter_folds_while_tracing() -> None:
    text = """
        params: {wanted: false}
        graph: {out: {uses: "tests.config.flow_stages:publish", with: {x: 1, to: all}, if: $params.wanted}}
        output: $out
    """
    assert len(pipeline_from(text).graph().nodes) == 0
    assert [node.id for node in pipeline_from(text).graph(wanted=True).nodes] == ["out"]


def test_approvals_and_signals_are_steps_too() -> None:
    flow = pipeline_from(
        """
        graph:
          ok: {uses: "orchestrator:approve", with: {text: Ship it, timeout: 3d}}
          go: {uses: "orchestrator:signal", with: {name: go}}
        """
    )
    kinds = {node.kind: node.prompt for node in flow.graph().nodes}
    assert kinds == {"approval": "Ship it", "signal": "go"}


def test_parameters_are_checked_by_the_types_of_their_defaults() -> None:
    flow = pipeline_from(FLOW)
    assert list(flow.signature.parameters) == ["path", "by", "at_least"]
    with pytest.raises(WrongType, match="path"):
        flow.graph(path=3)
    with pytest.raises(UnknownArgument, match="did you mean 'path'"):
        flow.graph(pth="x")


@pytest.mark.parametrize(
    ("graph", "error", "line", "complaint"),
    [
        ("{a: {uses: 'tests.config.flow_stages:load', with: {path: $nod}}}", ConfigError, 2, "no node 'nod'"),
        ("{a: {uses: 'tests.config.flow_stages:load', with: {path: $params.x}}}", ConfigError, 2, "no such parameter"),
        ("{a: {uses: 'tests.config.flow_stages:load', with: {path: '$'}}}", ConfigError, 2, "is no reference"),
        ("{a: {uses: 'tests.config.flow_stages:laod'}}", ConfigError, 2, "did you mean 'load'"),
        ("{a: {uses: 'tests.config.flow_stages:plain'}}", ConfigError, 2, "neither a stage nor a pipeline"),
        ("{a: {uses: 'tests.config.none:x'}}", NotFound, 2, "there is no module"),
        (
            "{a: {uses: 'tests.config.flow_stages:summed', with: {n: [1]}, map: n}}",
            ConfigError,
            2,
            "only stages are mapped",
        ),
        (
            "\n  a: {uses: 'tests.config.flow_stages:total', with: {xs: [$b]}}"
            "\n  b: {uses: 'tests.config.flow_stages:total', with: {xs: [$a]}}",
            CyclicGraph,
            3,
            "need each other",
        ),
        (
            "\n  a: {uses: 'tests.config.flow_stages:enough', with: {x: 1, at_least: 1},\n"
            "      if: true, else: {uses: 'a:b', wth: {}}}",
            ConfigError,
            4,
            "did you mean 'with'",
        ),
    ],
)
def test_wrong_graphs_are_refused(graph: str, error: type[DefinitionError], line: int, complaint: str) -> None:
    with pytest.raises(error, match=complaint) as refused:
        pipeline_from(f"description: a test\ngraph: {graph}")
    assert f"flow.yaml:{line}: " in str(refused.value)


def test_a_map_over_an_argument_that_is_not_there() -> None:
    text = "graph:\n  a: {uses: 'tests.config.flow_stages:double', with: {x: [1]}, map: [y]}"
    with pytest.raises(ConfigError, match=r"flow\.yaml:2: map: 'y'"):
        pipeline_from(text).graph()


def test_references_are_read() -> None:
    assert Reference.parse("$a") == Reference("a", ())
    assert Reference.parse('$my-node.field[3]["a b"].x') == Reference("my-node", ("field", 3, ("a b",), "x"))
    assert Reference.parse("$a.b[0]").of({"b": [7]}) == 7
    for wrong in ("$", "$.x", "$1", "$a b", "$a.", "$a[x]", "$a.b c"):
        with pytest.raises(ConfigError):
            Reference.parse(wrong)
    with pytest.raises(ConfigError, match="no 'b' there"):
        Reference.parse("$params.b").of({})


def test_references_are_found_and_replaced_in_containers() -> None:
    value = {"a": "$x", "b": ["$$y", "z$w", {"c": "$u.v"}], "d": 3}
    assert list(references(value)) == ["$x", "$u.v"]
    assert resolved(value, str.upper) == {"a": "$X", "b": ["$y", "z$w", {"c": "$U.V"}], "d": 3}


def test_the_stages_of_the_file_are_those_of_the_module() -> None:
    traced = pipeline_from(FLOW).trace()
    assert traced.stages["tests.config.flow_stages:double"].function is flow_stages.double.function
