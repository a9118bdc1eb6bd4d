"""``orc why``: why a step ran, what it waited for, what the cache had to do with it, and how it failed."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from orchestrator.app.explaining import explain
from orchestrator.app.installation import Installation
from orchestrator.app.reasons import reasons_of
from orchestrator.app.record import RunRecord
from orchestrator.app.run import Run
from orchestrator.cli.addresses import MaybeAddress, RunOrStep, run_and_step
from orchestrator.cli.documents import FailureItem, ReasonItem, WhyDocument
from orchestrator.cli.failing import failure_lines
from orchestrator.cli.listing import Json
from orchestrator.cli.output import iso, local_time, write, write_json
from orchestrator.cli.run_documents import InputItem, KeyPartItem, WaitItem
from orchestrator.graph import fact as f
from orchestrator.graph.node import dependencies
from orchestrator.types import parse_address
from orchestrator.views.status import duration_text

if TYPE_CHECKING:
    from orchestrator.app.explaining import Explanation
    from orchestrator.engine.state import NodeState

_MOST = 40


def why(run_id: RunOrStep, address: MaybeAddress = None, json: Json = False) -> None:
    """Say why a step ran, waited, was reused or failed."""
    here = Installation()
    run_name, step_name = run_and_step(run_id, address)
    run = Run(here, here.journal.run(run_name).id)
    step = run[step_name]
    record = RunRecord(here, run.id)
    record.advance()
    node, item = parse_address(step.address)
    state = record.fold.nodes[node]
    origin = record.fold.created.origin if record.fold.created is not None else ""
    about = 0 if item is None and not state.node.many else item
    reasons = [
        ReasonItem(iso(recorded.at) or "", *said)
        for recorded in here.journal.facts(run.id)
        for fact in f.apart(recorded.fact)
        for said in reasons_of(fact, recorded.at, node, about, origin)
    ]
    found, now = explain(record, state, item), _state(record, state, item)
    needs = list(dict.fromkeys(ref.node for ref in dependencies(state.node)))
    if json:
        write_json(_document(run.id, step.address, now, needs, reasons, found, item))
    else:
        _tell(record, state, item, step.address, now, needs, reasons, found)


def _tell(
    record: RunRecord, state: NodeState, item: int | None, address: str, now: str, needs: list[str],
    reasons: list[ReasonItem], found: Explanation,
) -> None:  # fmt: skip
    write(f"{address}: {now}" + (f", after {', '.join(needs)}" if needs else ""))
    if found.because:
        write(f"because: {found.because}")
    for part in found.key_parts:
        write(f"  {part.name}: {part.before} -> {part.now}  (run {found.nearest} has an output for the former)")
    ended = record.row.finished_at is not None
    for wait in found.waits:
        verb, vain = (
            ("waited", "") if wait.until is not None else ("waited", " in vain") if ended else ("has waited", "")
        )
        write(f"{verb} {duration_text(wait.waited_s)}{vain} {wait.why}")
    if found.failure is not None:
        single = item if item is not None else min(state.failures)
        for line in failure_lines(record.installation, record.fold, state, single):
            write(line)
    elif item is not None or not state.node.many:
        for one in found.inputs:
            write(f"  {one.name} = {one.preview}" + (f"  (from {one.source})" if one.source else ""))
    for reason in reasons[-_MOST:]:
        at = local_time(datetime.fromisoformat(reason.at).timestamp())[-8:]
        write(f"  {at:<8}  {reason.what:<10} {reason.why}".rstrip())
    if len(reasons) > _MOST:
        write(f"  the last {_MOST} of {len(reasons):,}; all with --json, or name an item: {address}[0]")


def _state(record: RunRecord, state: NodeState, item: int | None) -> str:
    if item is None or not state.node.is_map:
        return record.statuses()[state.node.id].state
    return record.page(state, [item])[0].state


def _document(
    run: str, address: str, now: str, needs: list[str], reasons: list[ReasonItem], found: Explanation, item: int | None
) -> WhyDocument:
    failure = found.failure
    return WhyDocument(
        run, address, now, needs, reasons, found.because,
        [WaitItem(one.for_, iso(one.since) or "", iso(one.until), one.waited_s, one.why) for one in found.waits],
        found.nearest, [KeyPartItem(*part) for part in found.key_parts], [InputItem(*one) for one in found.inputs],
        None if failure is None else FailureItem(item or 0, failure.name, failure.message, list(failure.frames)),
    )  # fmt: skip
