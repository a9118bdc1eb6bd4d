"""Curves of a metric: a line for each run that reported it, told apart by more than colour."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

from orchestrator.views.curves import counts_up, curves_svg, key_svg
from orchestrator.views.reports import reports_svg

SVG = "{http://www.w3.org/2000/svg}"


def lines(drawn: ET.Element) -> list[ET.Element]:
    return [path for path in drawn.iter(f"{SVG}path") if path.get("stroke-width") == "2"]


def test_each_run_has_a_line_of_its_own_look() -> None:
    drawn = ET.fromstring(curves_svg("a < b", [[0.5, 0.75, 1.0], [], [0.1, 0.2]]))
    first, second = lines(drawn)
    assert (first.get("d") or "").count("L") == 2
    assert first.get("stroke") != second.get("stroke")
    assert first.get("stroke-dasharray") != second.get("stroke-dasharray")
    assert drawn.findtext(f"{SVG}title") == "a < b over its reports"
    assert {"0.1", "1"} <= {text.text for text in drawn.iter(f"{SVG}text")}
    assert 'stroke-dasharray="2 3"' in key_svg(2)


def test_what_only_numbers_the_reports_is_no_curve() -> None:
    assert (counts_up([0.0, 1.0, 2.0]), counts_up([0.0, 2.0]), counts_up([3.0])) == (True, False, False)
    drawn = reports_svg("fit", [[{"auc": 0.5, "iteration": 0.0}, {"auc": 0.7, "iteration": 1.0}]])
    assert (">auc 0.7<" in drawn, "iteration" in drawn) == (True, False)
    assert "iteration" in reports_svg("fit", [[{"iteration": 0.0}, {"iteration": 1.0}]])


def test_values_that_are_no_numbers_and_lines_of_one_value() -> None:
    drawn = ET.fromstring(curves_svg("x", [[1.0, math.nan, math.inf], [1.0]]))
    assert lines(drawn) == []
    assert len(list(drawn.iter(f"{SVG}circle"))) == 2
    assert ET.fromstring(curves_svg("x", [[], []])) is not None


def test_long_curves_keep_their_last_value_and_few_points() -> None:
    (line,) = lines(ET.fromstring(curves_svg("x", [[float(at % 7) for at in range(100_000)]])))
    assert (line.get("d") or "").count("L") < 1000
