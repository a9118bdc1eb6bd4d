"""Pictures of sweeps: every trial is there, told apart, and any text or number makes well-formed XML."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.ports.tune import Trial
from orchestrator.views.axes import axis_of
from orchestrator.views.sweeps import SweepView, sweep_html, sweep_svg

SVG = "{http://www.w3.org/2000/svg}"

TRIALS = [
    Trial({"lr": 0.001, "kind": "tree"}, "finished", 0.8, ({"auc": 0.5}, {"auc": 0.8})),
    Trial({"lr": 0.1, "kind": "linear <&>"}, "stopped", 0.5, ({"auc": 0.5},)),
    Trial({"lr": 0.01, "kind": "tree"}, "failed", error="ValueError: no"),
]


def lines(svg: str) -> dict[str, list[ElementTree.Element]]:
    found: dict[str, list[ElementTree.Element]] = {}
    for line in ElementTree.fromstring(svg).iter(f"{SVG}polyline"):
        found.setdefault(line.get("data-trial") or "", []).append(line)
    return found


def test_each_trial_is_a_line_across_the_axes_and_a_curve() -> None:
    view = SweepView("sweep", "auc", "max", TRIALS, 0)
    drawn = lines(sweep_svg(view))
    assert {place: len(found) for place, found in drawn.items()} == {"0": 2, "1": 2, "2": 1}
    across = {place: (found[0].get("points") or "").split() for place, found in drawn.items()}
    assert {place: len(points) for place, points in across.items()} == {"0": 3, "1": 3, "2": 2}  # no value, no end
    assert drawn["0"][0].get("stroke-width") == "3"
    assert len({(found[0].get("stroke-dasharray"), found[0].get("stroke")) for found in drawn.values()}) == 3
    heights = [float(points[0].split(",")[1]) for points in (across["1"], across["2"], across["0"])]
    assert heights[0] < heights[1] < heights[2]  # on a logarithmic axis, upwards
    assert heights[1] - heights[0] == pytest.approx(heights[2] - heights[1], abs=0.2)
    assert view.title == "sweep: 3 trials (1 stopped, 1 failed), best auc 0.8"


def test_without_reports_there_are_no_curves() -> None:
    view = SweepView("sweep", "loss", "min", [Trial({"x": 1}, "finished", 2.0)], 0)
    assert len(lines(sweep_svg(view))["0"]) == 1
    assert "by report" not in sweep_svg(view)


def test_the_fragment_has_the_picture_and_a_row_for_each_trial() -> None:
    html = sweep_html(SweepView("sweep", "auc", "max", TRIALS, 0))
    assert html.count("<svg") == 1
    assert html.count("<tr>") == 1 + len(TRIALS)
    assert "linear &lt;&amp;&gt;" in html


VALUES = st.one_of(st.text(max_size=8), st.floats(), st.integers(), st.booleans(), st.none())


@settings(max_examples=60)
@given(
    st.lists(
        st.builds(
            Trial,
            st.dictionaries(st.text(min_size=1, max_size=5), VALUES, max_size=3),
            st.sampled_from(["finished", "stopped", "failed"]),
            st.one_of(st.none(), st.floats()),
            st.lists(st.dictionaries(st.text(max_size=3), st.floats(), max_size=2), max_size=3).map(tuple),
            st.text(max_size=9),
        ),
        max_size=4,
    )
)
def test_anything_that_a_trial_may_hold_is_drawn(trials: list[Trial]) -> None:
    svg = sweep_svg(SweepView("x<y", "m&m", "min", trials, None))
    ElementTree.fromstring(svg)
    assert "nan" not in svg.partition("<title>")[0]
    assert 'points="nan' not in svg


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_values_stand_within_their_axis(values: list[float]) -> None:
    axis = axis_of("x", values)
    assert all(0.0 <= axis.at(value) <= 1.0 for value in values)
    assert all(0.0 <= at <= 1.0 for _, at in axis.ticks)
