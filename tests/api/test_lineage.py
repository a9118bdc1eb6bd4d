"""Lineage over real runs: the document, the drawing and the page."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from orchestrator.testing.inprocess import InProcess
from tests.api import lineage_flow
from tests.api.conftest import Served, served


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A file, two runs over it, and another file that leads nowhere."""
    folder = tmp_path_factory.mktemp("lineage")
    (folder / "clicks.csv").write_text("user,clicked,noise\na,1,3\nb,0,4\n")

    def make(process: InProcess) -> dict[str, str]:
        first = process.run(lineage_flow.ingest, path=str(folder / "clicks.csv")).id
        return {"ingest": first, "train": process.run(lineage_flow.train).id, "file": str(folder / "clicks.csv")}

    with served(folder / "home", make) as found:
        yield found


def titles(found: dict[str, list[dict[str, str]]], *kinds: str) -> list[str]:
    return sorted(one["title"] for one in found["vertices"] if one["kind"] in kinds)


def test_a_model_goes_back_to_its_file_and_on_to_what_answers_with_it(traced: Served) -> None:
    found = traced.client.api("/lineage?of=model:ctr")
    assert titles(found, "file", "data", "model", "deployment") == sorted(
        [traced.runs["file"], "data:clicks@v1", "model:ctr@v1", "shop"]
    )
    assert set(found["runs"]) == {traced.runs["ingest"], traced.runs["train"]}
    assert {"tests.api.lineage_flow:fit", "tests.api.lineage_flow:read"} <= set(titles(found, "code"))
    up, down = (traced.client.api(f"/lineage?of=model:ctr@v1&way={way}&code=false") for way in ("up", "down"))
    assert titles(up, "step", "deployment") == ["clean", "fit", "read"]
    assert (titles(down, "deployment"), titles(down, "file"), titles(down, "code")) == (["shop"], [], [])


@pytest.mark.parametrize("of", ["{ingest}", "{ingest}/read", "{train}", "{train}/fit", "data:clicks@v1", "file:{file}"])
def test_every_place_leads_to_the_same_deployment(traced: Served, of: str) -> None:
    found = traced.client.api(f"/lineage?of={quote(of.format(**traced.runs))}")
    assert titles(found, "deployment") == ["shop"]
    gates = [(edge["source"], edge["kind"]) for edge in found["edges"] if edge["target"].endswith("/serve")]
    assert (f"step {traced.runs['train']}/judge", "decides") in gates


def test_columns_where_tables_were_described(traced: Served) -> None:
    found = traced.client.api(f"/lineage?of={traced.runs['ingest']}/clean")
    columns = {one["title"]: {c["name"]: c for c in one["columns"]} for one in found["vertices"] if one["columns"]}
    read, clean = (f"step {traced.runs['ingest']}/{name}" for name in ("read", "clean"))
    assert list(columns["read"]) == ["user", "clicked", "noise"]
    assert (columns["clean"]["clicked"]["sources"], columns["read"]["clicked"]["targets"]) == ([read], [clean])
    assert columns["read"]["noise"]["targets"] == []
    page = traced.client.page(f"/lineage?of={traced.runs['ingest']}/clean&column=clicked")
    assert (">clicked</th>" in page, ">user</th>" in page) == (True, False)


def test_drawing_and_page(traced: Served) -> None:
    for query in ("of=model:ctr", "of=model:ctr&way=up", f"of={traced.runs['train']}&code=false"):
        drawing = ET.fromstring(traced.client(f"/api/v1/lineage.svg?{query}").text)
        assert drawing.findall(".//*[@data-vertex]")
    page = traced.client.page("/lineage?of=model:ctr")
    assert f"/runs/{traced.runs['train']}/steps/fit" in page
    assert "model:ctr@v1" in traced.client.page("/lineage")
    assert f"of={traced.runs['train']}%2Ffit" in traced.client.page(f"/runs/{traced.runs['train']}/steps/fit")


@pytest.mark.parametrize(("of", "status"), [("nothing", 404), ("model:none", 404), ("file:/none", 404), ("/x", 400),
                                        ("{train}/none", 404), ("data:", 400)])  # fmt: skip
def test_what_is_not_there(traced: Served, of: str, status: int) -> None:
    assert traced.client(f"/api/v1/lineage?of={quote(of.format(**traced.runs))}").status == status


def test_what_a_run_says_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_text("user,clicked,noise\na,1,3\nb,0,4\n")
    with served(tmp_path / "home", lambda process: {}) as found:
        found.process.run(lineage_flow.ingest, path=str(tmp_path / "clicks.csv"))
        assert titles(found.client.api("/lineage?of=data:clicks"), "deployment") == []
        found.process.run(lineage_flow.train)
        assert titles(found.client.api("/lineage?of=data:clicks"), "deployment") == ["shop"]
