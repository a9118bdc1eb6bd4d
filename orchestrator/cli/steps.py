"""``orc logs``, ``orc get`` and ``orc why``: what one step wrote, gave, and went through."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.app.installation import Installation
from orchestrator.app.outputs import Outputs
from orchestrator.app.run import Run
from orchestrator.cli.documents import ValueDocument
from orchestrator.cli.listing import Json
from orchestrator.cli.output import note, size, write, write_json
from orchestrator.cli.running import RunId
from orchestrator.cli.text import as_text
from orchestrator.cli.versions import get_version
from orchestrator.errors import ConfigError
from orchestrator.graph.version import names_version

Address = Annotated[
    str, typer.Argument(metavar="STEP", help="scope/name#2[7]; the last part is enough if it is unique")
]
MaybeAddress = Annotated[
    str | None, typer.Argument(metavar="STEP", help="scope/name#2[7]; what the pipeline returned if not given")
]
To = Annotated[Path | None, typer.Option("--to", metavar="FILE", help="save the stored bytes to a file")]


def get(run_id: RunId, address: MaybeAddress = None, to: To = None, json: Json = False) -> None:
    """Print or save the output of a step, what the run returned, or a version (data:NAME@v3); nothing is unpickled."""
    here = Installation()
    if names_version(run_id):
        get_version(here, run_id, address, to, json)
        return
    run = Run(here, here.journal.run(run_id).id)
    outputs = Outputs(here, run.fold())
    if to is not None:
        if address is None:
            raise ConfigError("--to saves the output of one step; name the step")
        count = to.write_bytes(outputs.stored(run[address].cells()))
        note(f"{to}: {size(count)}")
        return
    if address is None:
        run.raise_for_state()
        value = outputs.result()
    else:
        cells = run[address].cells()
        value = outputs.data(cells[0]) if len(cells) == 1 else [outputs.data(cell) for cell in cells]
    if json:
        write_json(ValueDocument(run.id, "" if address is None else run[address].address, value))
    else:
        write(as_text(value))


def _run(run_id: str) -> Run:
    here = Installation()
    return Run(here, here.journal.run(run_id).id)
