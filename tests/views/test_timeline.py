"""Timelines, sparklines and bars are well-formed and tell what they show in words, too."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from orchestrator.views.status import LOOKS
from orchestrator.views.timeline import TimelineRow, bar_svg, icon_svg, sparkline_svg, timeline_svg


def row(label: str, state: str = "succeeded", *times: float | None, critical: bool = False) -> TimelineRow:
    ready, started, ended = times or (0.0, 1.0, 3.0)
    return TimelineRow(label, state, ready, started, ended, critical, f"/x?y={label}&z")


def titles(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("title")]


def test_a_row_shows_waiting_and_running() -> None:
    svg = timeline_svg([row("a<b", critical=True), row("never", "skipped", None, None, None)], 0.0, 4.0)
    assert titles(svg)[1:] == [
        "a<b: succeeded, waited 1.0 s, ran 2.0 s, the end of the run waited for it", "never: skipped"
    ]  # fmt: skip
    root = ElementTree.fromstring(svg)
    widths = {element.get("class"): float(element.get("width") or 0) for element in root.iter() if element.get("class")}
    assert widths["busy"] == pytest.approx(2 * widths["queued"], abs=0.2)


def test_a_wide_map_shows_when_its_items_ended() -> None:
    wide = TimelineRow("map", "succeeded", 0.0, 0.0, 10.0, ended=[100, 0, 300, 600])
    svg = timeline_svg([wide], 0.0, 10.0)
    (columns,) = [one.get("d", "") for one in ElementTree.fromstring(svg).iter() if one.get("class") == "ended"]
    heights = [float(part.split("H")[0]) for part in columns.split("V")[1:5]]
    down = float(columns.split("V")[-1].rstrip("Z"))
    assert [(down - top) / (down - heights[3]) for top in heights] == pytest.approx([1 / 6, 0.0, 0.5, 1.0], abs=0.01)
    assert "10.0 s, 100 items/s" in svg


@pytest.mark.parametrize("lasted", [0.0, 0.0004, 0.7, 4.9, 61.0, 5000.0, 9e5])
@pytest.mark.parametrize("state", LOOKS)
def test_every_state_and_length_is_drawn(state: str, lasted: float) -> None:
    rows = [row("x" * 80, state, 0.0, None, None), row("", state, 0.0, 0.0, None), row("é", state, 0.0, 0.0, lasted)]
    svg = timeline_svg(rows, 0.0, lasted)
    ElementTree.fromstring(svg)
    assert svg.count('class="tick"') <= 25


def test_small_drawings() -> None:
    assert titles(sparkline_svg([(1.0, "succeeded"), (3.0, "failed")])) == ["The last 2 took 1.0 s to 3.0 s"]
    assert sparkline_svg([]) == bar_svg([]) == ""
    assert titles(bar_svg([("failed", 1), ("succeeded", 99_999)])) == ["1 failed, 99,999 succeeded"]
    for state in (*LOOKS, "queued"):
        ElementTree.fromstring(icon_svg(state))
