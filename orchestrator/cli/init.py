"""``orc init``: a new project that runs as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.documents import ProjectDocument
from orchestrator.cli.listing import Json
from orchestrator.cli.output import note, write, write_json
from orchestrator.config.scaffolding import project_name, write_project


def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="where; made if need be")] = Path(),
    name: Annotated[str | None, typer.Option("--name", help="of the pipeline; the folder's name if not given")] = None,
    json: Json = False,
) -> None:
    """Write a new project: a pipeline, its settings, an example of data, and tests."""
    chosen = name or project_name(folder)
    written = write_project(folder, chosen)
    if json:
        write_json(ProjectDocument(chosen, [str(path) for path in written]))
        return
    write("\n".join(map(str, written)))
    there = "" if folder.resolve() == Path.cwd() else f"cd {folder} && "
    note(f"next: {there}orc run {chosen}")
