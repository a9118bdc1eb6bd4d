"""Which pipelines a server may start: names from two folders, and nothing that a name could lead to besides."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.app.catalog import Catalog
from orchestrator.errors import NotFound


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project" / "configs"
    folder.mkdir(parents=True)
    (folder / "own.yaml").write_text("# Does <something>.\n# Twice.\npipeline: own:flow\nparams: {a: 1}\n")
    (folder / "flights.yml").write_text("pipeline: own:flights\n")
    (folder / "broken.yaml").write_text("params: [\n")
    (folder / "notes.txt").write_text("no pipeline")
    (folder / "folder.yaml").mkdir()
    (tmp_path / "secret.yaml").write_text("pipeline: own:flow\n")
    (folder / "link.yaml").symlink_to(tmp_path / "secret.yaml")
    return folder.parent


def test_files_of_the_project_come_first_and_take_the_place_of_shipped_ones(project: Path) -> None:
    found = Catalog(project).list()
    assert [one.name for one in found if not one.shipped] == ["broken", "flights", "own"]
    assert {"credit", "demand"} <= {one.name for one in found if one.shipped}
    own = Catalog(project)["own"]
    assert (own.target, own.params, own.about, own.problem) == ("own:flow", {"a": 1}, "Does <something>. Twice.", "")
    assert Catalog(project)["flights"].target == "own:flights"
    assert Catalog(project)["broken"].problem


@pytest.mark.parametrize(
    "name", ["link", "../secret", "secret", "folder", "notes", "own.yaml", "/etc/passwd", "", "own:flow"]
)
def test_no_other_name_leads_anywhere(project: Path, name: str) -> None:
    with pytest.raises(NotFound, match="there is no pipeline"):
        Catalog(project)[name]


def test_without_a_project_there_are_the_shipped_ones(tmp_path: Path) -> None:
    assert all(one.shipped for one in Catalog(None).list())
    assert Catalog(tmp_path)["credit"].target == "stages.pipelines.credit:credit"
