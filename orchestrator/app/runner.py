"""Starting, planning and resuming runs: what ``P.run`` and ``orc run`` do."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from orchestrator.app.backend import choose_backend, open_executor
from orchestrator.app.checkout import git_commit
from orchestrator.app.collector import collector
from orchestrator.app.inputs import file_versions, seal_inputs
from orchestrator.app.installation import Installation, shared
from orchestrator.app.run import Run
from orchestrator.app.session import Session
from orchestrator.app.switches import told
from orchestrator.engine.driver import Observer
from orchestrator.engine.machine import Machine
from orchestrator.engine.plan import Plan, make_plan
from orchestrator.engine.recovery import started
from orchestrator.engine.state import RunFold
from orchestrator.errors import ConfigError, RunError, RunOwned
from orchestrator.graph import fact as f
from orchestrator.graph.json import graph_to_json
from orchestrator.graph.node import Graph
from orchestrator.ports.executor import Executor
from orchestrator.ports.journal import Ownership, RunRow

if TYPE_CHECKING:
    from orchestrator.app.fork import Fork
    from orchestrator.app.new_code import NewCode
    from orchestrator.app.rerun import Renewal
    from orchestrator.graph.pipeline import Pipeline, RunOptions
    from orchestrator.graph.trace import Traced


class Runner:
    """Creates and drives runs of one installation, in this process.

    Args:
        installation: Where runs are kept; the one of the environment when None.
        on_facts: Told of every committed group of facts, from the driver's thread.
        executors: Makes the executor of a backend by name, when a run starts.
    """

    def __init__(
        self,
        installation: Installation | None = None,
        on_facts: Observer | None = None,
        executors: Callable[[str], Executor] | None = None,
    ) -> None:
        self.installation = here = installation or shared().get()
        self._on_facts = on_facts
        self._executors = executors or (lambda backend: open_executor(here.settings, backend))

    # ---- new runs

    def plan(self, pipeline: Pipeline[..., Any], params: Mapping[str, Any], options: RunOptions) -> Plan:
        """What ``run`` would do and why; runs nothing and writes nothing but small constants of the graph."""
        graph, _ = seal_inputs(self.installation, pipeline.graph(**params))
        machine = Machine(RunFold("", graph), self._encode_error)
        cells = self.installation.cells("", machine.chunks)
        return make_plan(
            graph, machine, self.installation.journal, cells, self.installation.files, self.installation.clock.now()
        )

    def run(self, pipeline: Pipeline[..., Any], params: Mapping[str, Any], options: RunOptions) -> Run:
        """Run to the end.

        Raises:
            DefinitionError: the wiring is wrong; nothing ran.
            RunFailed, RunCancelled: what became of the run.
            KeyboardInterrupt: interrupted; the run can be resumed.
        """
        with told(self.installation):
            run = self.start(pipeline, params, options)
            run.watch(anywhere=False)
        run.raise_for_state()
        return run

    def start(
        self, pipeline: Pipeline[..., Any], params: Mapping[str, Any], options: RunOptions, detach: bool = False
    ) -> Run:
        """Begin a run, driven by a thread of this process, and return at once.

        With a key that has a run, that one is returned: driven on here if nobody drives it and it has not ended.
        """
        known = self.installation.journal.run_of_key(options.key) if options.key is not None else None
        if known is not None:
            return self._of_key(pipeline, known, options, detach)
        collector().spare()
        traced = pipeline.trace(**params)
        backend = choose_backend(self.installation.settings, traced.graph, options.on)
        executor = self._executors(backend)  # its workers warm up while the store opens
        try:
            graph, versions = seal_inputs(self.installation, traced.graph)
            row, created = self._made(new_id(graph), graph, versions, traced, params, options, backend)
            ownership = self.installation.journal.begin(row, [created], {}, _driver_name())
            if isinstance(ownership, str):
                executor.close()
                return self._of_key(pipeline, ownership, options, detach)
            fold = RunFold(row.id, graph, created=created, seq=1)
            return self._drive(fold, ownership, backend, executor, detach)
        except BaseException:
            executor.close()
            raise

    def _of_key(self, pipeline: Pipeline[..., Any], run: str, options: RunOptions, detach: bool) -> Run:
        """The run that a trigger key has already; whoever made it may have died before driving it."""
        here = self.installation
        row = here.journal.run(run)
        if row.pipeline != pipeline.name:
            raise ConfigError(f"key {options.key!r} belongs to run {run} of pipeline {row.pipeline}; use another key")
        if row.state in f.FINISHED or here.journal.owner(run) is not None:
            return Run(here, run)
        try:
            return self.resume(run, options.on, detach)
        except RunError:  # somebody else drives it, or has ended it, by now
            return Run(here, run)

    def _made(
        self,
        run: str,
        graph: Graph,
        versions: Mapping[str, str],
        traced: Traced,
        params: Mapping[str, Any],
        options: RunOptions,
        backend: str,
    ) -> tuple[RunRow, f.RunCreated]:
        """A new run and its first fact, ready to be recorded: its code and graph are stored."""
        from orchestrator.backends.capsule import build

        here, name = self.installation, graph.pipeline
        capsule = build(traced.stages, here.artifacts)
        stored = here.artifacts.put(msgspec.json.encode(graph_to_json(graph)))
        created = f.RunCreated(
            name, stored, capsule, {name: _shown(value) for name, value in params.items()}, backend,
            dict(options.tags), git_commit(Path.cwd()), secrets.randbits(32), file_versions(here, graph),
            cursors=here.registry.positions(name), versions=versions,
        )  # fmt: skip
        now, tags = here.clock.now(), dict(options.tags)
        return RunRow(run, name, "queued", 1, 0, now, tags=tags, trigger_key=options.key), created

    # ---- runs on the cluster

    def submit(self, pipeline: Pipeline[..., Any], params: Mapping[str, Any], options: RunOptions) -> Run:
        """Bring a run to the cluster, where it goes on without this process; returns once it is in good hands there.

        Raises:
            DefinitionError: the wiring is wrong; nothing was sent.
            ConfigError, BackendError: as ``app.submit.submit``.
        """
        from orchestrator.app.submit import submit

        if options.on == "local":
            raise ConfigError("a submitted run goes to the cluster; leave on='local' out, or use run() or start()")
        traced = pipeline.trace(**params)
        graph, versions = seal_inputs(self.installation, traced.graph)
        run, here = new_id(graph), self.installation
        known = here.journal.run_of_key(options.key) if options.key is not None else None
        if known is not None:
            return Run(here, known)

        def create() -> None:
            row, created = self._made(run, graph, versions, traced, params, options, "ray")
            there = here.journal.create(row, [created], {})
            if there != run:
                raise RunOwned(f"key {options.key!r} has got run {there} meanwhile; follow that: orc show {there}")

        return submit(here, run, 1, create)

    def resubmit(self, run: str) -> Run:
        """Bring a run that nobody drives to the cluster; finished steps are not run again.

        Raises:
            NotFound: no such run.
            RunOwned: a living driver holds it.
            RunError: the run has ended.
            ConfigError, BackendError: as ``app.submit.submit``.
        """
        from orchestrator.app.submit import submit

        row = self.installation.journal.run(run)
        refuse_ended(row)
        driver = self.installation.journal.owner(row.id)
        if driver is not None:
            raise RunOwned(f"run {row.id} is driven by {driver}; wait for it, or end that process")
        return submit(self.installation, row.id, row.epoch + 1, lambda: None)

    # ---- runs that exist

    def resume(
        self, run: str, on: str | None = None, detach: bool = False, code: NewCode | None = None, wait_s: float = 0.0
    ) -> Run:
        """Take a run over and drive it on; finished steps are not run again.

        Args:
            code: What ``compare`` made: go on with that code instead of the run's own.
            wait_s: How long to wait for a living driver to let go of the run; if it ends it meanwhile, the run is
                returned as it is.

        Raises:
            NotFound: no such run.
            RunOwned: a living driver holds it.
            RunError: the run has ended, or may not go on with the new code.
        """
        here = self.installation
        row = here.journal.run(run)
        refuse_ended(row)
        backend = self._backend(on, here.created(row.id).on, code)
        executor = self._executors(backend)
        try:
            ownership = here.journal.own(row.id, _driver_name(), wait_s)
            if here.journal.run(row.id).state in f.FINISHED:
                ownership.release()
                executor.close()
                return Run(here, row.id)
            try:
                if code is not None:
                    from orchestrator.app.new_code import adopt

                    adopt(here, ownership, code, git_commit(Path.cwd()))
            except BaseException:
                ownership.release()
                raise
            return self._drive(None, ownership, backend, executor, detach)
        except BaseException:
            executor.close()
            raise

    def compare(self, run: str, pipeline: Pipeline[..., Any], given: Mapping[str, Any] | None = None) -> NewCode:
        """What the code of a pipeline as it is now would mean for a run; see ``trace_for``."""
        from orchestrator.app.new_code import trace_for

        return trace_for(self.installation, run, pipeline, given or {})

    def resume_with(self, run: str, pipeline: Pipeline[..., Any], accept: bool = False) -> Run:
        """Resume a run with other code.

        Args:
            accept: Also if finished steps do not stay valid and run again.

        Raises:
            RunError: as ``resume``; or finished steps do not stay valid and that was not accepted; says which.
        """
        from orchestrator.app.new_code import not_kept

        refuse_ended(self.installation.journal.run(run))
        code = self.compare(run, pipeline)
        lost = not_kept(code.comparison)
        if lost and not accept:
            raise RunError(f"run {code.run}: with this code finished steps do not stay valid: {lost}; pass accept=True")
        return self.resume(run, code=code)

    def renewal(self, run: str, *, keep: bool = False, verify: bool = False, code: NewCode | None = None) -> Renewal:
        """A run about to be made from the record of another; see ``renew``, ``renew_with``, ``renew_to_verify``."""
        from orchestrator.app import rerun

        if code is not None:
            return rerun.renew_with(self.installation, code, git_commit(Path.cwd()))
        return rerun.renew_to_verify(self.installation, run) if verify else rerun.renew(self.installation, run, keep)

    def fork(
        self,
        run: str,
        step: str,
        pipeline: Pipeline[..., Any] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Fork:
        """A fork of a run about to be made: from a step on with this pipeline as it is now, or as it was.

        Args:
            params: Values in the place of those on record; they need the pipeline.
        """
        from orchestrator.app import fork

        if pipeline is None:
            if params:
                raise ConfigError("other parameters make another graph: give the pipeline too, as code")
            return fork.fork(self.installation, run, step)
        return fork.fork_with(self.installation, run, step, pipeline, params or {}, git_commit(Path.cwd()))

    def rerun(
        self,
        renewal: Renewal,
        on: str | None = None,
        detach: bool = False,
        code: NewCode | None = None,
        key: str | None = None,
    ) -> Run:
        """Begin the run that ``renewal`` made ready; ``key``, which has no run yet, is its trigger key."""
        here = self.installation
        backend = self._backend(on, renewal.created.on, code)
        executor = self._executors(backend)
        try:
            ownership = here.journal.own(renewal.create(here, key), _driver_name())
            return self._drive(None, ownership, backend, executor, detach)
        except BaseException:
            executor.close()
            raise

    def _backend(self, on: str | None, recorded: str, code: NewCode | None) -> str:
        """Where a recorded run goes on; other code may need a Ray that its own did not."""
        if on is None and code is not None and recorded == "auto":
            return choose_backend(self.installation.settings, code.graph, None)
        return on or recorded

    def _drive(
        self,
        fold: RunFold | None,
        ownership: Ownership,
        backend: str,
        executor: Executor,
        detach: bool,
    ) -> Run:
        """Begin to drive a run that is owned; without its state, that is read from the journal."""
        here = self.installation
        try:
            machine = Machine(fold or here.fold(ownership.run), self._encode_error)
            begun = started(ownership.epoch, _driver_name(), backend, executor.slots)
            session = Session(here, machine, ownership, self._on_facts, detach, begun, executor)
            session.begin()
        except BaseException:
            ownership.release()
            raise
        return Run(here, ownership.run, session)

    def _encode_error(self, failure: f.Failure) -> tuple[str, bytes]:
        from orchestrator.artifacts.errors import item_error_chunk

        return item_error_chunk(failure)


def refuse_ended(row: RunRow) -> None:
    """Refuse to go on with a run that has ended.

    Raises:
        RunError: says what to do instead.
    """
    if row.finished_at is None and row.state not in f.FINISHED:
        return
    advice = f"start a new one from its record: orc rerun {row.id}"
    if row.state in ("failed", "cancelled"):
        advice += f" --keep takes over what finished, orc rerun {row.id} --code … also with corrected code"
    raise RunError(f"run {row.id} has ended ({row.state}); there is nothing to resume. Instead, {advice}")


def new_id(graph: Graph) -> str:
    """An id for a new run."""
    return f"{graph.pipeline}-{secrets.token_hex(4)}"


def _driver_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:199] + "…"
