from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import Graph
from orchestrator.views.mermaid import graph_mermaid
from orchestrator.views.status import NodeStatus
from orchestrator.views.tree import Branch, graph_tree, tree_lines


def lines(*branches: Branch) -> list[str]:
    return [line.text for line in tree_lines(branches)]


def test_a_tree_of_branches() -> None:
    tree = Branch(
        "run", "1 s", "running", [Branch("a", "x", "succeeded"), Branch("bee", children=[Branch("c", state="failed")])]
    )
    assert lines(tree, Branch("other", "y")) == [
        "▶ run      1 s",
        "├─ ✓ a     x",
        "└─ bee",
        "   └─ ✗ c",
        "other      y",
    ]


def test_no_branches_no_lines() -> None:
    assert tree_lines([]) == []


def test_a_graph_as_a_tree(graph: Graph) -> None:
    shown = lines(graph_tree(graph))
    labels = [re.split(r"  +", line.lstrip("├└│─ "))[0] for line in shown]
    assert labels == [
        "outer", "load", "scale \u00d7 3", "a_long_name_that_is_not_to_be_cut_anywhere \u00d7 3", "scale#2 \u00d7 n",
        "stream",
        "inner", "train", "improve", "when", "passed?", "then", "release", "otherwise", "load", "choice",
        "approve", "when#2", "approve?", "then", "ready", "choice",
    ]  # fmt: skip
    assert "├─ inner" in shown
    assert "│  ├─ train" in " ".join(shown)
    assert len({line.index(detail) for line in shown for detail in ["cached", "dynamic, at"] if detail in line}) == 1


def test_a_run_as_a_tree(graph: Graph) -> None:
    status = {node.id: NodeStatus({"succeeded": 1}, 0.5) for node in graph.nodes}
    status["scale"] = NodeStatus({"succeeded": 998, "failed": 2}, 3.2)
    status["inner/train"] = NodeStatus({"failed": 1}, 2.0, note="ValueError: no rows")
    shown = {line.label: line for line in tree_lines([graph_tree(graph, status)])}
    assert shown["scale \u00d7 1\u2009000"].detail == "2 failed, 998 succeeded · 3.2 s"
    assert shown["scale \u00d7 1\u2009000"].state == "failed"
    assert shown["train"].detail == "failed · 2.0 s · ValueError: no rows"
    assert shown["inner"].state == "failed"
    assert shown["when"].state == "succeeded"


def test_a_scope_half_done_is_running(graph: Graph) -> None:
    status = {node.id: NodeStatus({"pending": 1}) for node in graph.nodes} | {"inner/train": NodeStatus({"cached": 1})}
    shown = {line.label: line.state for line in tree_lines([graph_tree(graph, status)])}
    assert (shown["inner"], shown["when"]) == ("running", "pending")


def test_mermaid(graph: Graph) -> None:
    text = graph_mermaid(graph)
    assert text.startswith("flowchart TD\n")
    assert '["a_long_name_that_is_not_to_be_cut_anywhere \u00d7 3<br/>scale"]' in text
    assert '[["improve<br/>dynamic, at most 9 steps"]]' in text
    assert '{"passed?"}' in text
    assert "Really #quot;release#quot; #lt;it#gt; & more?" in text
    assert text.count("subgraph") == text.count("    end\n") == 6
    assert re.search(r"n\d+ -\. yes \.-> s\d+", text)
    assert re.search(r'n\d+ -->\|"\.passed"\| n\d+', text)
    assert text.count("--> result") == 2


def test_mermaid_of_a_run(graph: Graph) -> None:
    text = graph_mermaid(
        graph, {"load": NodeStatus({"failed": 1}, 1.0), "scale": NodeStatus({"failed": 1, "running": 2})}
    )
    assert "✗ failed · 1.0 s" in text
    assert "✗ ▶ 1 failed, 2 running" in text
    names = re.search(r"class (\S+) failed", text)
    assert names is not None
    assert len(names[1].split(",")) == 2


trees = st.recursive(
    st.builds(Branch, st.text("abc ", min_size=1, max_size=9), st.text("xyz", max_size=5)),
    lambda children: st.builds(
        Branch, st.text("abc", min_size=1), st.text("xyz"), st.just(""), st.lists(children, max_size=3)
    ),
    max_leaves=12,
)


@given(trees)
def test_details_stand_in_one_column(tree: Branch) -> None:
    drawn = tree_lines([tree])
    starts = {len(line.guide) + len(line.glyph) + len(line.label) + len(line.gap) for line in drawn}
    assert len(starts) == 1


@pytest.mark.parametrize("text", ["#", '"', "<b>", "`", "a\nb"])
def test_mermaid_text_is_quoted(text: str) -> None:
    from orchestrator.graph.node import Const, Node

    drawn = graph_mermaid(Graph("p", (Node("n", "approval", prompt=text),), Const(None)))
    body = drawn.split('(["', 1)[1].split('"])', 1)[0].replace("<br/>", "")
    assert not set(re.sub(r"#(35|quot|lt|gt|96);", "", body)) & set('#"<>`\n')
