"""Bars of what is taken: as wide as their share, within the frame, and told in words."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from orchestrator.views.packing import Bar, Segment, packing_svg

SVG = "{http://www.w3.org/2000/svg}"


def test_segments_are_as_wide_as_their_share() -> None:
    segments = [Segment("fit 0.25 GPU", 0.25, "fit & more", 0, "/runs/a"), Segment("others", 0.5, "others")]
    drawn = ET.fromstring(packing_svg("What of <h> is taken", [Bar("GPU 0", 1.0, segments, "0.75 of 1")]))
    frame, first, second = drawn.iter(f"{SVG}rect")
    whole, quarter, half = (float(one.get("width") or 0) for one in (frame, first, second))
    assert abs(quarter - whole / 4) < 3
    assert abs(half - whole / 2) < 3
    assert float(second.get("x") or 0) + half <= float(frame.get("x") or 0) + whole
    assert [one.text for one in drawn.iter(f"{SVG}title")] == [
        "What of <h> is taken", "0.75 of 1", "fit & more", "others"
    ]  # fmt: skip
    assert [one.get("href") for one in drawn.iter(f"{SVG}a")] == ["/runs/a"]


def test_more_taken_than_there_is_stays_within_the_frame_and_narrow_labels_are_left_out() -> None:
    segments = [Segment(f"step {number}", 1.0, "", number) for number in range(200)]
    drawn = ET.fromstring(packing_svg("", [Bar("CPU", 4.0, segments, "200 of 4")]))
    frame, *rest = drawn.iter(f"{SVG}rect")
    edge = float(frame.get("x") or 0) + float(frame.get("width") or 0)
    assert all(float(one.get("x") or 0) < edge for one in rest)
    assert [one.text for one in drawn.iter(f"{SVG}text")] == ["CPU", "200 of 4"]
