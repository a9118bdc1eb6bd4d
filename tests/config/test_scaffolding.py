"""What ``orc init`` writes: it is refused where it would do harm, and runs as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.config.scaffolding import project_name, write_project
from orchestrator.errors import ConfigError


@pytest.mark.parametrize(("folder", "name"), [("Churn Model", "churn_model"), ("a-b", "a_b"), ("x", "x")])
def test_the_folder_suggests_a_name(tmp_path: Path, folder: str, name: str) -> None:
    assert project_name(tmp_path / folder) == name


@pytest.mark.parametrize("name", ["", "2fast", "class", "a b", "orchestrator", "tests", "naïve", "../up"])
def test_a_name_that_python_cannot_use_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the name"):
        write_project(tmp_path / "project", name)
    assert not (tmp_path / "project").exists()


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(ConfigError, match=r"README\.md exists already"):
        write_project(tmp_path, "churn")
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        write_project(tmp_path / "file" / "project", "churn")
