"""The pipelines that a server may start: the files under ``configs/`` of its project, and those that are shipped.

Only names are taken from outside, and a name is looked up in this list: no path leads anywhere else. Reading a file
runs no code; what it names is imported by the process that starts it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.config.locations import SUFFIXES, shipped_configs
from orchestrator.config.pipeline_file import read_pipeline_file
from orchestrator.config.suggestion import did_you_mean
from orchestrator.errors import NotFound, OrchestratorError


@dataclass(frozen=True, slots=True)
class Listed:
    """A pipeline file.

    Attributes:
        shipped: It comes with the package, not from the project.
        target: ``module:name``, or empty for a graph of stages.
        params: What the file sets.
        about: The comment at its head.
        problem: Why it cannot be read; empty if it can.
    """

    name: str
    file: Path
    shipped: bool
    target: str
    params: dict[str, Any]
    about: str
    problem: str


class Catalog:
    """Pipelines by name; a project's own take the place of shipped ones.

    Args:
        project: The project's directory; None for none.
    """

    def __init__(self, project: Path | None) -> None:
        self._project = project

    def list(self) -> list[Listed]:
        """All of them: the project's first, then by name."""
        found: dict[str, Listed] = {}
        for folder, shipped in self._folders():
            for file in _files(folder):
                if file.stem not in found:
                    found[file.stem] = _listed(file, shipped)
        return sorted(found.values(), key=lambda one: (one.shipped, one.name))

    def __getitem__(self, name: str) -> Listed:
        """One of them.

        Raises:
            NotFound: there is no such pipeline file.
        """
        known = {one.name: one for one in self.list()}
        if name not in known:
            where = f"{self._project}/configs" if self._project else "the shipped ones"
            raise NotFound(f"there is no pipeline {name!r} in {where}{did_you_mean(name, sorted(known))}")
        return known[name]

    def _folders(self) -> Iterator[tuple[Path, bool]]:
        own = None if self._project is None else (self._project / "configs")
        if own is not None:
            yield own, own.resolve() == shipped_configs().resolve()
        yield shipped_configs(), True


def _files(folder: Path) -> list[Path]:
    """Pipeline files of a folder; links that lead out of it are none."""
    if not folder.is_dir():
        return []
    root = folder.resolve()
    return [
        path for path in sorted(folder.iterdir())
        if path.suffix in SUFFIXES and path.is_file() and path.resolve().parent == root
    ]  # fmt: skip


def _listed(file: Path, shipped: bool) -> Listed:
    try:
        read = read_pipeline_file(file)
    except OrchestratorError as error:
        return Listed(file.stem, file, shipped, "", {}, "", error.message)
    return Listed(file.stem, file, shipped, read.target or "", dict(read.params), _about(file), "")


def _about(file: Path) -> str:
    """The comment lines at the head of a file."""
    said: list[str] = []
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            if not line.startswith("#"):
                break
            said.append(line.strip("# \n"))
    return " ".join(said)
