"""``orc debug``: one step of a run again, in this process, on its real inputs, with a debugger if wanted."""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.app.debugging import debug_step
from orchestrator.app.installation import Installation
from orchestrator.app.run import Run
from orchestrator.app.step_inputs import inputs_of
from orchestrator.cli.addresses import MaybeAddress, RunOrStep, run_and_step
from orchestrator.cli.exit_code import ExitCode
from orchestrator.cli.output import note, write
from orchestrator.types import parse_address
from orchestrator.views.status import duration_text

if TYPE_CHECKING:
    from orchestrator.app.debugging import DebugStep, Outcome

_WIDEST = 400

Pdb = Annotated[bool, typer.Option("--pdb", help="look around with pdb where it failed")]
Effects = Annotated[bool, typer.Option("--effects", help="also a step that acts on the outside world")]
Now = Annotated[bool, typer.Option("--now", help="with the code as it is now, not that of the run")]


def debug(
    run_id: RunOrStep, address: MaybeAddress = None, pdb: Pdb = False, effects: Effects = False, now: Now = False
) -> int:
    """Run one step again in this process, on its real inputs; nothing of it is recorded."""
    here = Installation()
    run_name, step_name = run_and_step(run_id, address)
    run = Run(here, here.journal.run(run_name).id)
    node, index = parse_address(step_name)
    step = debug_step(here, run.id, run[node].address, index, effects, now)
    _introduce(here, run, step)
    outcome = step.run()
    for metrics in outcome.metrics:
        note("reported " + ", ".join(f"{name}={value:.6g}" for name, value in metrics.items()))
    if outcome.error is not None:
        return _failed(step, outcome, pdb)
    same = {True: ", as on record", False: ", which is not what is on record", None: ""}[outcome.same]
    note(f"{step.address} returned {type(outcome.value).__name__} in {duration_text(outcome.elapsed_s)}{same}")
    write(_shown(outcome.value))
    return ExitCode.OK


def _introduce(here: Installation, run: Run, step: DebugStep) -> None:
    node = step.state.node
    stage = node.stage.ref if node.stage is not None else node.id
    code = f"the code of the run, unpacked in {step.root}" if step.root else "the code as it is now"
    note(f"{step.address} of {run.id}: {stage}, {code}")
    for name, source, preview in inputs_of(here, run.fold(), step.state, step.index):
        note(f"  {name} = {preview}" + (f"  (from {source})" if source else ""))
    if node.policy.resources.runtime_env:
        note("  it runs in this environment, not in its runtime_env")


def _failed(step: DebugStep, outcome: Outcome, pdb: bool) -> ExitCode:
    """Show the user's traceback, and go into it if wanted."""
    error = outcome.error
    assert error is not None
    sys.stderr.write("".join(traceback.format_exception(type(error), error, outcome.traceback)))
    recorded = step.state.failures.get(step.index)
    known = recorded is not None and recorded.name == type(error).__name__ and recorded.message == _message(error)
    said = "as on record" if known else "another failure than on record" if recorded else "on record it did not fail"
    note(f"{step.address} failed in {duration_text(outcome.elapsed_s)}, {said}")
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if pdb and outcome.traceback is not None:
        import pdb as debugger

        debugger.post_mortem(outcome.traceback)
    elif not pdb:
        note("look around where it failed: add --pdb")
    return ExitCode.FAILED


def _message(error: BaseException) -> str:
    return getattr(error, "message", None) or str(error)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _WIDEST or not sys.stdout.isatty() else f"{text[:_WIDEST]}…"
