"""``orc send``: tells traces, lineage and experiments about runs, as ``orc up`` does all the time."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from orchestrator.app.installation import Installation
from orchestrator.app.signals import catch_up, tell_again
from orchestrator.app.switches import SWITCHES, sinks_wanted
from orchestrator.cli.exit_code import ExitCode
from orchestrator.cli.output import counted, note
from orchestrator.errors import ConfigError

MaybeRun = Annotated[
    str | None, typer.Argument(metavar="[RUN]", help="all of this run again; what is new if not given")
]
To = Annotated[
    Literal["traces", "lineage", "mlflow"] | None, typer.Option("--to", help="only there (default: all that are on)")
]


def send(run_id: MaybeRun = None, to: To = None) -> int:
    """Send what runs did to OpenTelemetry, OpenLineage and MLflow, as far as their settings are there."""
    here = Installation()
    wanted = sinks_wanted()
    if not wanted:
        raise ConfigError(f"nothing is switched on: set {', '.join(SWITCHES.values())}")
    if run_id is None:
        if to is not None:
            raise ConfigError("--to goes with a run")
        for name, count in catch_up(here).items():
            note(f"{name}: {counted(count, 'fact')}")
        return ExitCode.OK
    for name in SWITCHES if to is None else (to,):
        if to is not None or name in wanted:
            note(f"{name}: {counted(tell_again(here, run_id, name), 'fact')} of {run_id}")
    return ExitCode.OK
