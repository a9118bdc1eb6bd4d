"""The statement that opens every transaction of a driver: fence, gap-free sequence and expected state at once.

It moves the run's ``seq`` only where epoch and ``seq`` are what the driver believes and the run has not ended.
"""

from __future__ import annotations

from sqlalchemy import Connection, Row, bindparam, func, select, update

from orchestrator.errors import NotFound, StaleEpoch
from orchestrator.graph.fact import FINISHED, DriverStarted, RunFinished, RunState
from orchestrator.ports.journal import Append
from orchestrator.store.schema import run as runs

_runs = runs.c
FENCE = (
    update(runs)
    .where(
        _runs.id == bindparam("run"),
        _runs.epoch == bindparam("believed_epoch"),
        _runs.seq == bindparam("believed_seq"),
        *(_runs.state != state for state in sorted(FINISHED)),  # NOT IN would be compiled anew each time
    )
    .values(
        seq=_runs.seq + bindparam("count"),
        state=func.coalesce(bindparam("new_state"), _runs.state),
        started_at=func.coalesce(_runs.started_at, bindparam("started")),
        finished_at=bindparam("finished"),
        attempt=bindparam("id_of_attempt"),
    )
)
_STANDING = select(_runs.epoch, _runs.seq, _runs.state, _runs.driver, _runs.attempt).where(_runs.id == bindparam("run"))

Standing = Row[int, int, str, str, str]
"""Epoch, seq, state, newest driver and last attempt of a run."""


def standing(connection: Connection, run: str) -> Standing:
    """Where a run stands; raises NotFound."""
    row = connection.execute(_STANDING, {"run": run}).one_or_none()
    if row is None:
        raise NotFound(f"there is no run {run!r}; `orc ls` lists the runs", run=run)
    return row


def pass_fence(connection: Connection, append: Append, state: RunState | None) -> bool:
    """Move the run on; False if this very append had been committed before and only its acknowledgement got lost.

    Raises:
        StaleEpoch: the run's epoch or seq is not what the driver believes, or it has ended.
        NotFound: no such run.
    """
    started = any(isinstance(fact, DriverStarted) for fact in append.facts)
    values = {
        "run": append.run,
        "believed_epoch": append.epoch,
        "believed_seq": append.seq,
        "count": len(append.facts),
        "new_state": state,
        "started": append.at if started else None,
        "finished": append.at if state in FINISHED else None,
        "id_of_attempt": append.attempt,
    }
    if connection.execute(FENCE, values).rowcount == 1:
        return True
    found = standing(connection, append.run)
    if found.attempt == append.attempt:
        return False
    raise _refusal(found, append)


def state_after(append: Append) -> RunState | None:
    """State that a run has after an append; its last fact decides if the run ends with it."""
    ends = [fact for fact in append.facts if isinstance(fact, RunFinished)]
    if not ends:
        return append.state
    if ends[0] is not append.facts[-1]:
        raise ValueError(f"run {append.run}: facts follow RunFinished in one append; it must be the last")
    if append.state not in (None, ends[0].state):
        raise ValueError(f"run {append.run}: state {append.state!r} contradicts RunFinished({ends[0].state!r})")
    return ends[0].state


def taken_over(run: str, epoch: int, found: Standing) -> StaleEpoch:
    """The error of a driver whose run has another driver now."""
    return StaleEpoch(
        f"run {run} has been taken over by {found.driver or 'another driver'} under epoch {found.epoch}; this driver, "
        f"of epoch {epoch}, stops and changes nothing more",
        run=run,
        epoch=found.epoch,
        seq=found.seq,
        driver=found.driver,
    )


def _refusal(found: Standing, append: Append) -> StaleEpoch:
    """Say why the fence did not open."""
    if found.state in FINISHED:
        return StaleEpoch(f"run {append.run} is {found.state}; a finished run takes no more facts", run=append.run)
    if found.epoch > append.epoch:
        return taken_over(append.run, append.epoch, found)
    return StaleEpoch(
        f"run {append.run} stands at epoch {found.epoch}, fact {found.seq}, but this driver believes epoch "
        f"{append.epoch}, fact {append.seq}; it must stop, and the run can be resumed",
        run=append.run,
        epoch=found.epoch,
        seq=found.seq,
    )
