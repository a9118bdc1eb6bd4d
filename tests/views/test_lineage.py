"""Lineage as a drawing: everything is in it, what was asked for stands out, and kinds have shapes."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from orchestrator.readers.lineage import Lineage
from orchestrator.views.lineage import KINDS, lineage_svg
from tests.readers.test_lineage import two_runs

SVG = "{http://www.w3.org/2000/svg}"


def test_all_vertices_and_edges_are_drawn_with_their_links() -> None:
    lineage = two_runs()
    drawn = ET.fromstring(lineage_svg(lineage, {"model:a@v1"}, lambda vertex: f"/{vertex.kind}" if vertex.run else ""))
    groups = {group.get("data-vertex"): group for group in drawn.iter(f"{SVG}g") if group.get("data-vertex")}
    assert groups.keys() == lineage.vertices.keys()
    told = [title.text or "" for title in drawn.iter(f"{SVG}title")]
    for edge in lineage.edges:
        assert any(one.startswith(f"{edge.source} → {edge.target}:") for one in told), edge
    thick = [key for key, group in groups.items() if any(one.get("stroke-width") == "3" for one in group)]
    assert thick == ["model:a@v1"]
    assert {link.get("href") for link in drawn.iter(f"{SVG}a")} == {"/step", "/deployment"}
    words = {text.text for text in drawn.iter(f"{SVG}text")}
    assert {kind.word for kind in KINDS.values()} <= words
    assert {"r1", "r2"} <= words  # the boxes around the runs


def test_nothing_is_an_empty_drawing() -> None:
    assert ET.fromstring(lineage_svg(Lineage())) is not None
