"""Starting, planning and resuming runs: what ``P.run`` and ``orc run`` do."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from orchestrator.app.backend import choose_backend, open_executor
from orchestrator.app.collector import Spared
from orchestrator.app.installation import Installation
from orchestrator.app.picture import plan_html
from orchestrator.app.run import Run
from orchestrator.app.session import Session
from orchestrator.engine.driver import Observer
from orchestrator.engine.machine import Machine
from orchestrator.engine.plan import Plan, make_plan
from orchestrator.engine.recovery import started
from orchestrator.engine.state import RunFold
from orchestrator.errors import ConfigError, RunError, RunOwned
from orchestrator.graph import fact as f
from orchestrator.graph.json import graph_to_json, seal
from orchestrator.graph.node import Graph
from orchestrator.ports.executor import Executor
from orchestrator.ports.journal import Ownership, RunRow

if TYPE_CHECKING:
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
        self.installation = here = installation or Installation()
        self._on_facts = on_facts
        self._executors = executors or (lambda backend: open_executor(here.settings, backend))

    # ---- new runs

    def plan(self, pipeline: Pipeline[..., Any], params: Mapping[str, Any], options: RunOptions) -> Plan:
        """What ``run`` would do and why; runs nothing and writes nothing but small constants of the graph."""
        graph = self._sealed(pipeline.graph(**params))
        machine = Machine(RunFold("", graph), self._encode_error)
        cells = self.installation.cells("", machine.chunks)
        Plan.draw = staticmethod(plan_html)
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
        run = self.start(pipeline, params, options)
        run.wait()
        run.raise_for_state()
        return run

    def start(
        self, pipeline: Pipeline[..., Any], params: Mapping[str, Any], options: RunOptions, detach: bool = False
    ) -> Run:
        """Begin a run, driven by a thread of this process, and return at once."""
        spared = Spared()
        try:
            return self._start(pipeline, params, options, detach, spared)
        except BaseException:
            spared.end()
            raise

    def _start(
        self, pipeline: Pipeline[..., Any], params: Mapping[str, Any], options: RunOptions, detach: bool, spared: Spared
    ) -> Run:
        traced = pipeline.trace(**params)
        backend = choose_backend(self.installation.settings, traced.graph, options.on)
        executor = self._executors(backend)  # its workers warm up while the store opens
        try:
            graph = self._sealed(traced.graph)
            run, created = self._create(new_id(graph), graph, traced, params, options, backend)
            ownership = self.installation.journal.own(run, _driver_name())
            fold = RunFold(run, graph, created=created, seq=1)
            return self._drive(fold, ownership, backend, executor, detach, spared)
        except BaseException:
            executor.close()
            raise

    def _create(
        self, run: str, graph: Graph, traced: Traced, params: Mapping[str, Any], options: RunOptions, backend: str
    ) -> tuple[str, f.RunCreated]:
        """Record a new run; its id and first fact."""
        from orchestrator.backends.capsule import build

        here, name = self.installation, graph.pipeline
        capsule = build(traced.stages, here.artifacts)
        stored = here.artifacts.put(msgspec.json.encode(graph_to_json(graph)))
        created = f.RunCreated(
            name, stored, capsule, {name: _shown(value) for name, value in params.items()}, backend,
            dict(options.tags), git_commit(), secrets.randbits(32),
        )  # fmt: skip
        row = RunRow(run, name, "queued", 1, 0, here.clock.now(), tags=dict(options.tags))
        here.journal.create(row, [created], {})
        return run, created

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
        graph = self._sealed(traced.graph)
        run = new_id(graph)
        return submit(self.installation, run, 1, lambda: self._create(run, graph, traced, params, options, "ray"))

    def resubmit(self, run: str) -> Run:
        """Bring a run that nobody drives to the cluster; finished steps are not run again.

        Raises:
            NotFound: no such run.
            RunOwned: a living driver holds it.
            RunError: the run has ended.
            ConfigError, BackendError: as ``app.submit.submit``.
        """
        from orchestrator.app.submit import submit

        row = self._unfinished(run)
        driver = self.installation.journal.owner(row.id)
        if driver is not None:
            raise RunOwned(f"run {row.id} is driven by {driver}; wait for it, or end that process")
        return submit(self.installation, row.id, row.epoch + 1, lambda: None)

    # ---- runs that exist

    def resume(self, run: str, on: str | None = None, detach: bool = False) -> Run:
        """Take a run over and drive it on; finished steps are not run again.

        Raises:
            NotFound: no such run.
            RunOwned: a living driver holds it.
            RunError: the run has ended.
        """
        row = self._unfinished(run)
        backend = on or self.installation.created(row.id).on
        executor = self._executors(backend)
        try:
            ownership = self.installation.journal.own(row.id, _driver_name())
            return self._drive(None, ownership, backend, executor, detach)
        except BaseException:
            executor.close()
            raise

    def _unfinished(self, run: str) -> RunRow:
        row = self.installation.journal.run(run)
        if row.finished_at is not None or row.state in f.FINISHED:
            raise RunError(f"run {row.id} has ended ({row.state}); there is nothing to resume, start a new run instead")
        return row

    def _drive(
        self,
        fold: RunFold | None,
        ownership: Ownership,
        backend: str,
        executor: Executor,
        detach: bool,
        spared: Spared | None = None,
    ) -> Run:
        """Begin to drive a run that is owned; without its state, that is read from the journal."""
        here = self.installation
        try:
            machine = Machine(fold or here.fold(ownership.run), self._encode_error)
            begun = started(ownership.epoch, _driver_name(), backend, executor.slots)
            session = Session(here, machine, ownership, self._on_facts, detach, begun, executor, spared)
            session.begin()
        except BaseException:
            ownership.release()
            raise
        return Run(here, ownership.run, session)

    def _sealed(self, graph: Graph) -> Graph:
        return seal(graph, self.installation.values.encode)

    def _encode_error(self, failure: f.Failure) -> tuple[str, bytes]:
        from orchestrator.artifacts.errors import item_error_chunk

        return item_error_chunk(failure)


def new_id(graph: Graph) -> str:
    """An id for a new run."""
    return f"{graph.pipeline}-{secrets.token_hex(4)}"


def _driver_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def git_commit() -> str:
    """Commit of the working directory, with ``+`` if it has changes; empty outside of git."""
    if not any((folder / ".git").exists() for folder in (Path.cwd(), *Path.cwd().parents)):
        return ""
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=2, check=True)
        return head.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:199] + "…"
