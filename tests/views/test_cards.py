from __future__ import annotations

import pytest

from orchestrator import Graph
from orchestrator.views.cards import Edge, map_widths, picture
from orchestrator.views.status import LOOKS, NodeStatus, count_text, duration_text


def test_widths_are_known_where_tracing_knows_them(graph: Graph) -> None:
    widths = map_widths(graph)
    assert widths == {"scale": 3, "a_long_name_that_is_not_to_be_cut_anywhere": 3, "scale#2": None}


def test_cards_say_what_a_node_needs(graph: Graph) -> None:
    cards = {card.key: card for card in picture(graph).cards}
    assert cards["load"].notes == ("cache · 4 attempts",)
    assert cards["inner/train"].notes == ("0.25 GPU · 2 GiB · effects",)
    assert cards["inner/improve"].notes == ("dynamic, at most 9 steps",)
    assert cards["stream"].notes == ("stream",)
    assert cards["scale"].width == "\u00d7 3"
    assert cards["scale#2"].width == "\u00d7 n"
    assert cards["when/branch"].title == "passed?"
    assert cards["when#2/branch"].title == "approve?"
    assert cards["approve"].notes == ('Really "release" <it> & more?',)


def test_edges_are_dependencies_and_guards(graph: Graph) -> None:
    edges = picture(graph).edges
    assert Edge("load", "scale#2") in edges
    assert Edge("inner/improve", "when/branch", ".passed") in edges
    assert Edge("when/branch", "when/then/", "yes", True) in edges
    assert Edge("when/branch", "when/otherwise/", "no", True) in edges
    assert Edge("when#2/branch", "when#2/choice", "no", True) in edges
    assert not any(
        edge.target.endswith("choice") and edge.source.endswith("branch") and not edge.guard for edge in edges
    )
    assert picture(graph).results == ("when/choice", "load")


def test_a_run_tells_the_width(graph: Graph) -> None:
    cards = {card.key: card for card in picture(graph, {"scale#2": NodeStatus({"succeeded": 12000})}).cards}
    assert cards["scale#2"].width == "\u00d7 12\u2009000"


def test_the_state_that_needs_attention_stands_for_the_node() -> None:
    status = NodeStatus({"succeeded": 5, "failed": 1, "running": 2, "pending": 0})
    assert status.state == "failed"
    assert status.ordered() == [("failed", 1), ("running", 2), ("succeeded", 5)]
    assert status.total == 8
    assert NodeStatus().state == "pending"


def test_a_node_that_lost_some_of_its_items_is_degraded() -> None:
    assert NodeStatus({"succeeded": 9, "dropped": 1}).state == "degraded"
    assert NodeStatus({"dropped": 2}).state == "dropped"
    assert NodeStatus({"dropped": 1, "failed": 1}).state == "failed"


def test_states_differ_in_more_than_colour() -> None:
    for part in ("glyph", "icon", "colour"):
        assert len({getattr(look, part) for look in LOOKS.values()}) == len(LOOKS)


@pytest.mark.parametrize(
    ("elapsed_s", "text"),
    [
        (0, "0 ms"), (0.34, "340 ms"), (0.9999, "1.0 s"), (3.21, "3.2 s"), (59.96, "1 m 00 s"), (245, "4 m 05 s"),
        (3600, "1 h 00 m"), (7800, "2 h 10 m"),
    ],
)  # fmt: skip
def test_durations(elapsed_s: float, text: str) -> None:
    assert duration_text(elapsed_s) == text


def test_counts() -> None:
    assert count_text(999) == "999"
    assert count_text(1_234_567) == "1\u2009234\u2009567"
