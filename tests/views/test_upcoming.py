"""Triggers over time, drawn: what fired has the mark of its state, what will is a ring, or a stroke in a crowd."""

from __future__ import annotations

from xml.etree import ElementTree

from orchestrator.views.status import LOOKS
from orchestrator.views.upcoming import Mark, Row, upcoming_svg

NOW = 1_800_000_000.0  # 08:00 UTC
HOUR = 3600.0
SVG = "{http://www.w3.org/2000/svg}"


def drawn(*rows: Row) -> ElementTree.Element:
    return ElementTree.fromstring(upcoming_svg(rows, NOW - 6 * HOUR, NOW, NOW + 18 * HOUR))


def of_class(found: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [one for one in found.iter() if name in one.get("class", "").split()]


def test_what_fired_is_a_mark_and_a_link_and_what_will_is_a_ring() -> None:
    fired = Mark(NOW - HOUR, "failed", "v3: run a-1 failed", "/runs/a-1")
    found = drawn(
        Row("a & <b>", "/triggers/a", [fired, Mark(NOW + HOUR, "", "will fire"), Mark(NOW + 9 * HOUR, "", "x")])
    )
    (mark,) = of_class(found, "fired")
    assert "s-failed" in mark.get("class", "")
    assert mark.findall(f"{SVG}path")[0].get("d") == LOOKS["failed"].icon
    assert [one.tag for one in of_class(found, "due")] == [f"{SVG}circle"] * 2
    links = {one.get("href"): one.get("aria-label") for one in found.iter(f"{SVG}a")}
    assert links == {"/triggers/a": None, "/runs/a-1": "v3: run a-1 failed"}
    assert "a & <b>" in [one.text for one in found.iter(f"{SVG}text")]


def test_moments_lie_where_their_time_is() -> None:
    found = drawn(Row("a", "/a", [Mark(NOW + hours * HOUR, "", "") for hours in (1, 2, 4)]))
    first, second, fourth = (float(one.get("cx", "0")) for one in of_class(found, "due"))
    assert abs((fourth - second) - 2 * (second - first)) < 0.3
    said = [one.text for one in found.iter(f"{SVG}text")]
    assert {"UTC", "09:00", "16 Jan"} <= set(said)


def test_moments_that_are_close_are_strokes_and_no_more_than_can_be_seen() -> None:
    found = drawn(Row("often", "/a", [Mark(NOW + 10 * n, "", "") for n in range(400)], more=True))
    due = of_class(found, "due")
    assert {one.tag for one in due} == {f"{SVG}path"}
    assert 0 < len(due) < 30
    assert "…" in [one.text for one in found.iter(f"{SVG}text")]


def test_a_label_that_is_too_long_is_cut() -> None:
    found = drawn(Row("pipeline " * 20, "/a", []))
    (text,) = [one.text or "" for one in found.iter(f"{SVG}text") if (one.text or "").startswith("pipeline")]
    assert text.endswith("…")
    assert float(found.get("width", "0")) < 1200
