"""A run as its users see it: state, result, steps, events. Reads the journal; acts through the inbox or its session."""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.app.step import Step
from orchestrator.engine.state import RunFold
from orchestrator.errors import NotFound, RunCancelled, RunFailed, RunWaiting
from orchestrator.graph import fact as f
from orchestrator.graph.display import Shown, Watch
from orchestrator.graph.fact import FINISHED, Recorded, RunState
from orchestrator.graph.node import Const, DictExpr, Expr, ListExpr, Ref, SecretRef
from orchestrator.types import Duration, parse_address, seconds

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation
    from orchestrator.app.session import Session
    from orchestrator.app.verification import Verification
    from orchestrator.engine.changes import Comparison
    from orchestrator.graph.pipeline import Pipeline
    from orchestrator.views.run import RunView

_POLL_S, _LEAST_PAUSE_S = 0.1, 0.002


class Run(Shown):
    """One run.

    Attributes:
        id: The run's id.
    """

    def __init__(self, installation: Installation, run_id: str, session: Session | None = None) -> None:
        self.id = run_id
        self._installation = installation
        self._session = session

    def __repr__(self) -> str:
        return f"Run({self.id!r}, state={self.state!r})"

    def svg(self) -> str:
        """The run's graph with the state of each node, as an SVG document."""
        from orchestrator.app.picture import run_svg

        return run_svg(self.fold())

    def view(self) -> RunView:
        """The run and its steps, for drawing."""
        from orchestrator.app.report import Report

        return Report(self._installation, self.id, in_full=False).run()

    def export(self, path: str | PathLike[str]) -> Path:
        """Write all of the run into one HTML file, which can be read anywhere, without this machine and offline.

        Graph, timeline, curves, parameters, and of each step its inputs, output, errors and the end of its log. Secrets
        stay references, and nothing is unpickled.

        Raises:
            ConfigError: the file cannot be written.
        """
        from orchestrator.app.report import write_page

        return write_page(self._installation, self.id, Path(path))

    # ---- state

    @property
    def pipeline(self) -> str:
        """Name of the pipeline."""
        return self._installation.journal.run(self.id).pipeline

    @property
    def state(self) -> RunState:
        """``queued running waiting succeeded degraded failed cancelled``."""
        ended = self._ended
        return ended.finished.state if ended and ended.finished else self._installation.journal.run(self.id).state

    @property
    def driver(self) -> str | None:
        """The living driver that holds the run; None if there is none, then ``resume`` goes on."""
        return self._installation.journal.owner(self.id)

    @property
    def finished(self) -> f.RunFinished | None:
        """How the run ended: state, reason, outcome; None while it has not."""
        return self.fold().finished

    def fold(self) -> RunFold:
        """The run's state in full: as its driver left it if that was in this process, else read from its facts now."""
        return self._ended or self._installation.fold(self.id)

    @property
    def installation(self) -> Installation:
        """Where the run is kept."""
        return self._installation

    @property
    def over_here(self) -> bool:
        """True if a driver of this process has brought it to its end: then its state is at hand."""
        return self._ended is not None

    @property
    def _ended(self) -> RunFold | None:
        return self._session.ended if self._session is not None else None

    def events(self, follow: bool = False) -> Iterator[Recorded]:
        """Facts in order; with ``follow`` until the run has ended, as they come."""
        seq = 0
        while True:
            state = self.state
            for recorded in self._installation.journal.facts(self.id, seq):
                seq = recorded.seq
                yield recorded
            if not follow or state in FINISHED:
                return
            time.sleep(_POLL_S)

    # ---- control

    def wait(self, timeout: Duration | None = None) -> Run:
        """Wait until the run has ended (or waits for a person and nobody drives it).

        Raises:
            TimeoutError: it has not ended in time; it goes on.
            KeyboardInterrupt: the driver of this process was stopped; the run can be resumed.
        """
        timeout_s = None if timeout is None else seconds(timeout)
        if self._session is not None:
            if not self._session.wait(timeout_s):
                raise TimeoutError(f"run {self.id} has not ended within {timeout_s} s; it goes on")
            return self
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while self.state not in FINISHED:
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"run {self.id} has not ended within {timeout_s} s")
            time.sleep(_POLL_S)
        return self

    def watch(self, timeout: Duration | None = None, anywhere: bool = True) -> Run:
        """Wait as ``wait`` does, and show the progress meanwhile: one display in Jupyter and marimo.

        Args:
            anywhere: Elsewhere, as lines on standard error.

        Raises:
            TimeoutError: it has not ended in time; it goes on.
            KeyboardInterrupt: the driver of this process was stopped; the run can be resumed.
        """
        opened = self._display(anywhere)
        if opened is None:
            return self.wait(timeout)
        deadline = None if timeout is None else time.monotonic() + seconds(timeout)
        try:
            while not self._over(_POLL_S):
                opened.look()
                if deadline is not None and time.monotonic() > deadline:
                    raise TimeoutError(f"run {self.id} has not ended in time; it goes on")
        except KeyboardInterrupt:
            self.stop()
            raise
        finally:
            opened.close()
        return self

    def _display(self, anywhere: bool) -> Watch | None:
        return None if Shown.watcher is None else Shown.watcher(self, anywhere)

    def _over(self, timeout_s: float) -> bool:
        """Whether the run has ended, or its driver has returned, after waiting a little; raises what made that fail."""
        if self._session is not None:
            return self._session.wait(timeout_s)
        if self.state in FINISHED:
            return True
        time.sleep(timeout_s)
        return False

    def __await__(self) -> Generator[Any, None, Run]:
        """``run = await P.start(...)``: the run once it has ended, without blocking the event loop meanwhile.

        To cancel the task that awaits leaves the run going.

        Raises:
            RunFailed, RunCancelled, RunWaiting: what became of the run.
        """
        return self._ended_meanwhile().__await__()

    async def _ended_meanwhile(self) -> Run:
        import asyncio

        opened = self._display(False)
        pause_s = _LEAST_PAUSE_S
        try:
            while not self._over(0.0):
                if opened is not None:
                    opened.look()
                await asyncio.sleep(pause_s)
                pause_s = min(1.5 * pause_s, _POLL_S)
        finally:
            if opened is not None:
                opened.close()
        self.raise_for_state()
        return self

    def stop(self) -> None:
        """Stop driving the run in this process, leaving it to be resumed; nothing if another process drives it."""
        if self._session is not None:
            self._session.stop()

    def cancel(self, reason: str = "") -> None:
        """Ask the run's driver to end it; a run without a driver ends when it is resumed."""
        body = {"kind": "cancel", "by": "api", "reason": reason}
        self._installation.journal.post(self.id, f"cancel-{uuid.uuid4().hex}", body, self._installation.clock.now())

    def approve(self, step: str, approved: bool = True, by: str = "") -> None:
        """Answer an ``approve`` step.

        Raises:
            NotFound: the run has no such step, or it asks for no approval.
        """
        self._answer(step, "approval", approved, by)

    def signal(self, name: str, value: Any = None, by: str = "") -> None:
        """Answer a ``signal`` step by its name or address; the value must be plain data.

        Raises:
            NotFound: the run has no such step, or it waits for no signal.
        """
        self._answer(name, "signal", value, by)

    def _answer(self, step: str, kind: str, value: Any, by: str) -> None:
        fold = self.fold()
        found = [s.node.id for s in fold.nodes.values() if s.node.kind == kind and step in (s.node.id, s.node.prompt)]
        found = found or [s.node.id for s in fold.nodes.values() if s.node.kind == kind and s.node.name == step]
        if len(found) != 1:
            asked = ", ".join(s.node.id for s in fold.nodes.values() if s.node.kind == kind) or "none"
            raise NotFound(f"run {self.id} has no {kind} step {step!r}; it has: {asked}")
        body = {"kind": kind, "node": found[0], "value": value, "by": by}
        key = f"{kind}-{found[0]}" if not fold.revision else f"{kind}-{found[0]}-{fold.revision}"
        self._installation.journal.post(self.id, key, body, self._installation.clock.now())

    def resume(self, code: Pipeline[..., Any] | None = None, accept: bool = False) -> Run:
        """Drive the run on in this process; finished steps are not run again.

        Args:
            code: Go on with this pipeline as it is now instead of the run's own code; ``compare`` says what that means.
            accept: Also if finished steps do not stay valid under that code.
        """
        from orchestrator.app.runner import Runner

        runner = Runner(self._installation)
        resumed = runner.resume(self.id) if code is None else runner.resume_with(self.id, code, accept)
        self._session = resumed._session
        return self

    def compare(self, code: Pipeline[..., Any]) -> Comparison:
        """Which finished steps would stay valid if the run went on with this pipeline as it is now, and which not."""
        from orchestrator.app.new_code import trace_for

        return trace_for(self._installation, self.id, code, {}).comparison

    def rerun(self, keep: bool = False) -> Run:
        """Begin a new run with this one's code, graph, parameters and seed; with ``keep`` also what it finished."""
        from orchestrator.app.runner import Runner

        runner = Runner(self._installation)
        return runner.rerun(runner.renewal(self.id, keep=keep))

    def fork(
        self,
        from_step: str,
        params: Mapping[str, Any] | None = None,
        code: Pipeline[..., Any] | None = None,
        repeat: Collection[str] = (),
    ) -> Run:
        """Begin a new run with this one's history up to a step: that and what depends on it runs again.

        Args:
            from_step: Its address; also a call in the body of a ``@dynamic`` step, or an item of a map.
            params: Values in the place of those on record; they need ``code``.
            code: Go on with this pipeline as it is now instead of the run's own code.
            repeat: Steps with effects that began in this run and may act again, besides ``from_step``.

        Raises:
            NotFound: there is no such step.
            ForkRefused: the run cannot be forked from there, or a step with effects would act again; says why.
        """
        from orchestrator.app.fork import refuse_acting
        from orchestrator.app.runner import Runner

        runner = Runner(self._installation)
        made = runner.fork(self.id, from_step, code, params)
        refuse_acting(made, repeat)
        return runner.rerun(made.renewal, code=made.code)

    def verify(self) -> Verification:
        """Run everything but effects again, without the cache, and compare the outputs with those on record.

        Raises:
            RunError: the run has not succeeded.
            RunFailed: the repetition failed.
        """
        from orchestrator.app.runner import Runner
        from orchestrator.app.verification import verification

        runner = Runner(self._installation)
        renewal = runner.renewal(self.id, verify=True)
        again = runner.rerun(renewal).wait()
        again.raise_for_state()
        return verification(self._installation, renewal, again.id)

    def raise_for_state(self) -> None:
        """Raise RunFailed, RunCancelled or RunWaiting unless the run succeeded (or is degraded)."""
        state = self.state
        if state in ("succeeded", "degraded"):
            return
        finished = self.fold().finished
        reason = finished.reason if finished else ""
        if state == "failed":
            raise RunFailed(f"run {self.id} failed: {reason}", run=self.id, **self._failure_details())
        if state == "cancelled":
            raise RunCancelled(f"run {self.id} was cancelled: {reason}", run=self.id)
        advice = "approve or signal it" if state == "waiting" else f"go on with: orc resume {self.id}"
        raise RunWaiting(f"run {self.id} is {state}; {advice}", run=self.id)

    def _failure_details(self) -> dict[str, Any]:
        fold = self.fold()
        for node, index in fold.failed[:1]:
            failure = fold.nodes[node].failures[index]
            return {"step": f"{node}[{index}]", "error": failure.name, "frames": list(failure.frames)}
        return {}

    # ---- results

    def result(self) -> Any:
        """What the pipeline returned; waits for the end. A degraded run has a result too.

        Raises:
            RunFailed, RunCancelled, RunWaiting: there is no result.
        """
        if self._session is not None or self.state not in ("waiting",):
            self.wait()
        self.raise_for_state()
        fold = self.fold()
        return self._value(fold, fold.graph.output)

    def _value(self, fold: RunFold, expr: Expr) -> Any:
        values = self._installation.values
        if isinstance(expr, Const):
            return values.load(self._installation.cells(self.id).decode(expr.cell or b"\xc0")).value
        if isinstance(expr, SecretRef):
            return expr.reference
        if isinstance(expr, ListExpr):
            items = [self._value(fold, item) for item in expr.items]
            return tuple(items) if expr.is_tuple else items
        if isinstance(expr, DictExpr):
            return {key: self._value(fold, item) for key, item in expr.items.items()}
        return self._referenced(fold, expr)

    def _referenced(self, fold: RunFold, ref: Ref) -> Any:
        value = self[ref.node].output
        for element in ref.path:
            if isinstance(element, str):
                value = getattr(value, element)
            else:
                value = value[element if isinstance(element, int) else element[1]]
        return value

    def __getitem__(self, address: str | tuple[str, int]) -> Step:
        """A step by address: ``run["scope/train"]``, ``run["train", 7]``, ``run["train[7]"]``.

        A unique last part of the address is enough.

        Raises:
            NotFound: no such step; names those that look like it.
        """
        name, index = address if isinstance(address, tuple) else parse_address(address)
        fold = self.fold()
        return Step(self._installation, fold, self._find(fold.nodes, name), index)

    def _find(self, nodes: Any, name: str) -> str:
        if name in nodes:
            return name
        found: Sequence[str] = [node for node in nodes if node.endswith("/" + name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise NotFound(f"run {self.id} has several steps {name!r}: {', '.join(found[:5])}")
        raise NotFound(f"run {self.id} has no step {name!r}; it has: {', '.join(list(nodes)[:10])}")
