"""How a step is named on the command line: ``RUN STEP``, or in one ``RUN/STEP``."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.errors import ConfigError

RunOrStep = Annotated[
    str,
    typer.Argument(metavar="RUN[/STEP]", help="a run's id or a unique beginning of it; a step may follow: RUN/STEP"),
]
MaybeAddress = Annotated[
    str | None, typer.Argument(metavar="STEP", help="scope/name#2[7]; the last part is enough if it is unique")
]


def run_and_step(run: str, step: str | None) -> tuple[str, str]:
    """The run and the step that were named.

    Raises:
        ConfigError: no step was named, or two.
    """
    found, step_found = run_and_maybe_step(run, step)
    if step_found is None:
        raise ConfigError(f"name the step too: {run}/STEP; orc show {run} lists the steps")
    return found, step_found


def run_and_maybe_step(run: str, step: str | None) -> tuple[str, str | None]:
    """The run, and the step if one was named; raises ConfigError for two."""
    name, slash, rest = run.partition("/")
    if slash and step is not None:
        raise ConfigError(f"{run} names a step already; leave out {step!r}")
    return name, step if not slash else rest
