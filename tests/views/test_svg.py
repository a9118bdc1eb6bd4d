from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import Graph
from orchestrator.graph.node import Const, Node
from orchestrator.views.fragment import graph_html, table_html
from orchestrator.views.layout import Area, Layout, Leaf, Size, lay_out
from orchestrator.views.status import LOOKS, NodeStatus
from orchestrator.views.svg import graph_svg

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]


def every_status(graph: Graph) -> dict[str, NodeStatus]:
    states = list(LOOKS)
    status = {node.id: NodeStatus({states[i % len(states)]: 1}, float(i)) for i, node in enumerate(graph.nodes)}
    status["scale"] = NodeStatus({"succeeded": 998, "failed": 2}, 3.2, note="two & <failed>")
    return status


def test_every_node_is_drawn_with_its_whole_name(graph: Graph) -> None:
    svg = graph_svg(graph)
    root = ElementTree.fromstring(svg)
    drawn = {element.get("data-node") for element in root.iter(f"{SVG}g")} - {None}
    assert drawn == {node.id for node in graph.nodes}
    shown = texts(svg)
    assert any(text.startswith("a_long_name_that_is_not_to_be_cut_anywhere") for text in shown)
    assert any(text == "scale\u00d7 3" for text in shown)
    assert {"inner", "when", "when#2", "then", "otherwise", "result", "outer", "passed?"} <= set(shown)
    assert 'Really "release" <it> & more?' in " ".join(shown)


def test_a_run_shows_states_counts_and_times(graph: Graph) -> None:
    svg = graph_svg(graph, every_status(graph))
    shown = texts(svg)
    assert {"998", "2", "3.2 s"} <= set(shown)
    assert set(LOOKS) <= set(shown)
    for look in LOOKS.values():
        assert f'd="{look.icon}"' in svg
        assert look.colour in svg
    titles = ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(f"{SVG}title")]
    assert any("two & <failed>" in title and "998 succeeded" in title for title in titles)


def test_the_drawing_needs_nothing_from_elsewhere(graph: Graph) -> None:
    svg = graph_svg(graph, every_status(graph))
    assert "<script" not in svg
    assert re.findall(r"https?://[^\"' ]+", svg) == ["http://www.w3.org/2000/svg"]
    assert "url(" not in svg


def test_drawing_is_deterministic(graph: Graph) -> None:
    assert graph_svg(graph) == graph_svg(graph)


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=20), st.text(st.characters(), min_size=1, max_size=20))
def test_any_text_makes_wellformed_xml(title: str, name: str) -> None:
    node = Node(name.replace("/", "_") or "x", "approval", prompt=title)
    svg = graph_svg(Graph(title, (node,), Const(None)), {node.id: NodeStatus({"failed": 1}, note=title)})
    ElementTree.fromstring(svg)
    svg.encode()


def test_an_empty_graph() -> None:
    assert "result" not in texts(graph_svg(Graph("empty", (), Const(None))))


# ---- layout


def overlaps(one: Area, other: Area) -> bool:
    apart = one.x + one.width <= other.x + 0.01 or other.x + other.width <= one.x + 0.01
    return not (apart or one.y + one.height <= other.y + 0.01 or other.y + other.height <= one.y + 0.01)


def contains(outer: Area, inner: Area) -> bool:
    across = outer.x <= inner.x + 0.01 and inner.x + inner.width <= outer.x + outer.width + 0.01
    return across and outer.y <= inner.y + 0.01 and inner.y + inner.height <= outer.y + outer.height + 0.01


Drawn = tuple[list[Leaf], list[tuple[str, str]]]


@st.composite
def graphs(draw: st.DrawFn) -> Drawn:
    """Random acyclic graphs whose scopes are contiguous, as tracing makes them."""
    scopes: list[tuple[str, ...]] = [()]
    leaves: list[Leaf] = []
    counter = 0
    for _ in range(draw(st.integers(1, 14))):
        move = draw(st.sampled_from(["stay", "stay", "in", "out"]))
        if move == "in" and len(scopes) < 4:
            counter += 1
            path = f"{scopes[-1][-1]}/s{counter}" if scopes[-1] else f"s{counter}"
            scopes.append((*scopes[-1], path))
        elif move == "out" and len(scopes) > 1:
            scopes.pop()
        size = Size(draw(st.sampled_from([18.0, 70.0, 260.0])), draw(st.sampled_from([18.0, 30.0, 75.0])))
        leaves.append(Leaf(f"n{len(leaves)}", scopes[-1], size))
    pairs = [(a.key, b.key) for i, b in enumerate(leaves) for a in leaves[:i]]
    edges = draw(st.lists(st.sampled_from(pairs), max_size=20)) if pairs else []
    return leaves, edges


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_layouts_hold_together(drawn: Drawn) -> None:
    leaves, edges = drawn
    layout = lay_out(leaves, edges)
    canvas = Area(0, 0, layout.width, layout.height)
    areas = list(layout.cards.items())
    for position, (_, area) in enumerate(areas):
        assert contains(canvas, area)
        assert not any(overlaps(area, other) for _, other in areas[position + 1 :])
    for leaf in leaves:
        for scope, area in layout.scopes.items():
            inside = scope in leaf.scopes
            assert contains(area, layout.cards[leaf.key]) if inside else not overlaps(area, layout.cards[leaf.key])
    assert_routes(layout, edges)


def assert_routes(layout: Layout, edges: list[tuple[str, str]]) -> None:
    assert set(layout.routes) == set(edges)
    for (source, target), points in layout.routes.items():
        start, stop = layout.cards[source], layout.cards[target]
        assert points[0] == pytest.approx((start.x + start.width / 2, start.y + start.height))
        assert points[-1] == pytest.approx((stop.x + stop.width / 2, stop.y))
        assert all(lower[1] >= upper[1] - 0.01 for upper, lower in pairwise(points))


def test_a_straight_chain_is_straight() -> None:
    leaves = [Leaf(f"n{i}", (), Size(50 + 10.0 * i, 30)) for i in range(6)]
    layout = lay_out(leaves, [(f"n{i}", f"n{i + 1}") for i in range(5)])
    middles = {round(area.x + area.width / 2, 3) for area in layout.cards.values()}
    assert len(middles) == 1
    assert [area.y for area in layout.cards.values()] == sorted(area.y for area in layout.cards.values())


def test_crossings_are_avoided() -> None:
    leaves = [Leaf(key, (), Size(50, 30)) for key in ("a", "b", "c", "d", "e", "f")]
    layout = lay_out(leaves, [("a", "f"), ("b", "e"), ("c", "d")])
    order = sorted("abc", key=lambda key: layout.cards[key].x)
    below = sorted("def", key=lambda key: layout.cards[key].x)
    assert [{"a": "f", "b": "e", "c": "d"}[key] for key in order] == below


def test_large_graphs_are_drawn() -> None:
    leaves = [Leaf(f"n{layer}_{i}", (), Size(80, 30)) for layer in range(10) for i in range(30)]
    edges = [
        (f"n{layer}_{i}", f"n{layer + 1}_{(i * 7 + k) % 30}") for layer in range(9) for i in range(30) for k in range(2)
    ]
    assert len(lay_out(leaves, edges).cards) == 300


# ---- fragments


def test_notebook_fragments(graph: Graph) -> None:
    html = graph_html(graph)
    ElementTree.fromstring(html)
    assert html.startswith("<div")
    table = table_html("Runs & more", ["id", "state"], [["<b>", 3]])
    root = ElementTree.fromstring(table)
    assert ["".join(cell.itertext()) for cell in root.iter("td")] == ["<b>", "3"]
    with pytest.raises(ValueError, match="2 cells, its head 1"):
        table_html("x", ["a"], [[1, 2]])
