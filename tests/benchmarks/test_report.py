"""The report: medians, ratios, verdicts, and what is printed of them."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from benchmarks import curves
from benchmarks.memory import MEMORY
from benchmarks.peers import FAN_OUT, PEERS, Peer
from benchmarks.picture import duration, svg
from benchmarks.report import (
    BEGIN,
    END,
    Document,
    describe_row,
    markdown,
    number,
    put_between,
    ratio_text,
    target_text,
    text,
)
from benchmarks.row import Reading, Row, Target


def never(_salt: int) -> Reading:
    raise AssertionError("a report measures nothing")


def a_row(*targets: Target, **changes: Any) -> Row:
    given: dict[str, Any] = {"key": FAN_OUT, "title": "fan-out", "unit": "µs/step", "base": "raw Ray"}
    return Row(columns={"raw Ray": never, "ours": never}, expected=int, targets=targets, **(given | changes))


def described(raw: list[float], ours: list[float], *targets: Target, **changes: Any) -> Document:
    readings = {"raw Ray": [Reading(v) for v in raw], "ours": [Reading(v, figures={"MB": 10 * v}) for v in ours]}
    return describe_row(a_row(*targets, **changes), readings)


def document(*rows: Document, quick: bool = False) -> Document:
    return {
        "versions": {"orchestrator": "1.2", "commit": "abc", "python": "3.11", "ray": "2.60"},
        "machine": {"cores": 2, "model": "A|B", "memory_gb": 8.0, "system": "Linux", "load": 0.5, "fsync_ms": 0.4},
        "method": {"repeat": 3, "quick": quick, "text": "in turn"},
        "rows": list(rows),
    }


def test_medians_and_ratios() -> None:
    row = described([100, 400, 200], [10, 30, 20])
    assert row["columns"]["ours"]["median"] == 20
    assert row["columns"]["ours"]["ratio"] == 10
    assert row["columns"]["ours"]["samples"] == [10, 30, 20]
    assert row["columns"]["ours"]["figures"]["MB"] == {"median": 200, "samples": [100, 300, 200]}
    assert ratio_text(row, "ours") == "10 × raw Ray"
    assert ratio_text(row, "raw Ray") == ""


@pytest.mark.parametrize(("raw", "ours", "changes"), [(0, 1, {"ratio": "over"}), (1, 0, {})])
def test_what_took_no_time_has_no_ratio(raw: float, ours: float, changes: dict[str, Any]) -> None:
    row = described([raw], [ours], **changes)
    assert row["columns"]["ours"]["ratio"] is None
    assert ratio_text(row, "ours") == ""
    assert "ours" in text(document(row))
    assert "ours" in markdown(document(row))


def test_a_rate_is_better_when_it_is_larger() -> None:
    assert described([100], [300], larger_is_better=True)["columns"]["ours"]["ratio"] == 3


@pytest.mark.parametrize(("ours", "said"), [(103.0, "3.0 % over raw Ray"), (99.0, "1.0 % under raw Ray")])
def test_what_goes_beyond_an_ideal(ours: float, said: str) -> None:
    assert ratio_text(described([100], [ours], ratio="over"), "ours") == said


def test_without_a_base_nothing_is_compared() -> None:
    row = described([100], [10], base="")
    assert row["columns"]["ours"]["ratio"] is None
    assert ratio_text(row, "ours") == ""


@pytest.mark.parametrize(
    ("target", "least_met", "missed", "said"),
    [
        (Target("ours", "times", 20, "raw Ray"), 5.0, 5.1, "≥ 20× raw Ray"),
        (Target("ours", "share", 1.25, "raw Ray"), 125.0, 126.0, "≤ 25 % over raw Ray"),
        (Target("ours", "share", 1.0, "raw Ray"), 100.0, 100.1, "no slower than raw Ray"),
        (Target("ours", "more", 0.5, "raw Ray"), 100.5, 100.6, "≤ raw Ray + 0.5 µs/step"),
        (Target("ours", "most", 30), 30.0, 30.1, "≤ 30 µs/step"),
        (Target("ours", "least", 50_000), 50_000.0, 49_999.0, "≥ 50,000 µs/step"),
        (Target("ours", "most", 500, figure="MB"), 50.0, 50.1, "MB ≤ 500"),
    ],
)
def test_targets(target: Target, least_met: float, missed: float, said: str) -> None:
    assert target_text(target, "µs/step") == said
    assert described([100], [least_met], target)["targets"][0]["met"]
    assert not described([100], [missed], target)["targets"][0]["met"]


def test_the_text_has_samples_targets_versions_and_machine() -> None:
    met, missed = Target("ours", "times", 2, "raw Ray"), Target("ours", "most", 1)
    said = text(document(described([100, 110, 90], [20, 21, 22], met, missed)))
    assert "(20, 21, 22)" in said
    assert "met     ours: ≥ 2× raw Ray" in said
    assert "MISSED  ours: ≤ 1 µs/step" in said
    assert "1 of 2 targets met" in said
    for part in ("commit abc", "Python 3.11", "Ray 2.60", "2 cores", "8.0 GB", "load 0.50"):
        assert part in said, part


def test_small_sizes_are_no_figures_to_go_by() -> None:
    assert "not how fast it is" in text(document(quick=True))
    assert "not how fast it is" not in text(document())


def test_the_document_is_json() -> None:
    row = described([100], [10], Target("ours", "most", 1))
    assert json.loads(json.dumps(document(row)))["rows"][0]["targets"][0]["met"] is False


def test_the_table_has_a_line_for_each_column() -> None:
    table = markdown(document(described([100], [10], Target("ours", "times", 20, "raw Ray"))))
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert len(lines) == 4
    assert "≥ 20× raw Ray: **missed**" in lines[3]
    assert {line.count("|") for line in lines} == {7}


def test_the_table_goes_between_its_marks_again_and_again() -> None:
    page = f"# Title\n\n{BEGIN}\nold\n{END}\nafter\n"
    once = put_between(page, "| new |\n")
    assert once == f"# Title\n\n{BEGIN}\n| new |\n{END}\nafter\n"
    assert put_between(once, "| new |\n") == once


@pytest.mark.parametrize("page", ["no marks", BEGIN, f"{END} {BEGIN}", f"{BEGIN}{END}{END}"])
def test_a_page_without_marks_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="once each"):
        put_between(page, "")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (12345.6, "12,346"), (450, "450"), (12.345, "12.3"), (0.0123, "0.0123"), (2e-5, "0.00002")],
)
def test_numbers(value: float, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(
    ("us", "shown"), [(0.5, "0.5 µs"), (9, "9 µs"), (999.4, "999 µs"), (999.9, "1 ms"), (1.43e6, "1.4 s")]
)
def test_durations(us: float, shown: str) -> None:
    assert duration(us) == shown


def test_the_picture_is_xml_with_a_bar_for_each_column_and_peer() -> None:
    row = described([1030], [7.4], title="1 → 10 <steps> & more")
    drawn = ElementTree.fromstring(svg([row], PEERS, "5 < 6"))
    bars = [rect for rect in drawn.iter("{http://www.w3.org/2000/svg}rect") if len(rect)]
    assert len(bars) == 2 + sum(peer.graph == FAN_OUT for peer in PEERS)
    told = [title.text for title in drawn.iter("{http://www.w3.org/2000/svg}title")]
    assert "ours: 7.4 µs" in told
    assert "raw Ray: 1 ms" in told
    assert "5 < 6" in "".join(drawn.itertext())


def test_bars_grow_with_the_logarithm() -> None:
    peers = [Peer(f"peer {ms:g}", FAN_OUT, ms) for ms in (0.01, 0.1, 1.0)]
    drawn = ElementTree.fromstring(svg([described([1000], [10])], peers, ""))
    widths = {
        title.text: float(rect.attrib["width"])
        for rect in drawn.iter("{http://www.w3.org/2000/svg}rect")
        for title in rect
    }
    steps = [
        widths["peer 0.1: 100 µs"] - widths["peer 0.01: 10 µs"],
        widths["peer 1: 1 ms"] - widths["peer 0.1: 100 µs"],
    ]
    assert steps[0] == pytest.approx(steps[1], abs=0.2)
    assert steps[0] > 10


def test_a_peer_that_was_given_up_is_marked() -> None:
    given_up = svg([described([1000], [10])], [Peer("slow", FAN_OUT, 9.0, at_least=True)], "")
    assert "slow: &gt; 9 ms" in given_up


def test_nothing_to_draw() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        svg([described([1], [1], key="journal")], PEERS, "")


def test_the_curves_are_xml_with_a_point_for_each_column_and_size() -> None:
    def sized(size: int, seconds: float) -> dict[str, Any]:
        column = {"median": seconds, "figures": {MEMORY: {"median": 10.0 * seconds}}}
        return {"size": size, "columns": {"Ray Data": column, "ours, local": column}}

    drawn = ElementTree.fromstring(curves.svg([sized(10_000, 0.5), sized(1_000_000, 9.0), {"size": 0}], "5 < 6"))
    points = [circle[0].text for circle in drawn.iter("{http://www.w3.org/2000/svg}circle")]
    assert len(points) == 2 * 2 * 2
    assert "ours, local, 1,000,000 rows: 90" in points
    with pytest.raises(ValueError, match="two rows or more"):
        curves.svg([sized(10, 1.0)], "")
