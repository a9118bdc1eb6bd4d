"""The trials of sweeps as ``orc show`` prints and draws them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.app.record import RunRecord
from orchestrator.app.run import Run
from orchestrator.app.sweeping import trials_so_far
from orchestrator.cli.data_documents import SweepDocument, TrialItem
from orchestrator.cli.output import table, write, write_json
from orchestrator.views.sweeps import sweep_svg

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation


def show_sweep(here: Installation, run: str, step: str, *, json: bool, svg: Path | None) -> None:
    """Print, and with ``svg`` draw, the trials of one sweep, of one that goes on those that there are.

    Raises:
        NotFound: there is no such step, or it is no sweep.
    """
    record = RunRecord(here, run)
    record.advance()
    view = trials_so_far(record, Run(here, run)[step].address)
    if svg is not None:
        svg.write_text(sweep_svg(view))
    if json:
        items = [TrialItem(dict(t.params), t.state, t.value, list(t.reports), t.error) for t in view.trials]
        write_json(SweepDocument(run, view.name, view.metric, view.mode, view.best or 0, items))
        return
    write(view.title)
    write(table(view.head(), view.rows()))
