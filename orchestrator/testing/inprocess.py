"""Running pipelines in the test's own process, with everything real but the worker processes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.app.fork import refuse_acting
from orchestrator.app.installation import Installation
from orchestrator.app.run import Run
from orchestrator.app.runner import Runner
from orchestrator.config.settings import Settings
from orchestrator.graph.pipeline import Pipeline, RunOptions
from orchestrator.graph.stage import Stage

if TYPE_CHECKING:
    from orchestrator.engine.driver import Observer
    from orchestrator.engine.plan import Plan
    from orchestrator.ports.executor import Executor

Around = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Makes the function that is called in the place of a stage's own."""


class InProcess:
    """Runs pipelines in this process: journal, artifacts, retries and cache as always, but no workers and no Ray.

    Args:
        home: Where runs are kept, such as pytest's ``tmp_path``.
        installation: Instead of ``home``.
        on_facts: Told of every committed group of facts, from a thread of the driver.
        ports: What ``step().serving`` and its like hand out, such as ``{"serving": served, "routing": served}`` with
            a ``LocalServing``.
        around: Put around the function of every stage, to watch it.
    """

    def __init__(
        self,
        home: Path | None = None,
        installation: Installation | None = None,
        on_facts: Observer | None = None,
        ports: Mapping[str, Any] | None = None,
        around: Around | None = None,
    ) -> None:
        if installation is None:
            installation = Installation(Settings.from_environment({"ORC_HOME": str(home)}))
        self.installation = installation
        self._stages: dict[str, Stage[..., Any]] = {}
        self._ports = ports
        self._around = around
        self.runner = Runner(installation, on_facts, executors=self._executor)

    def know(self, stages: Mapping[str, Stage[..., Any]]) -> None:
        """Take these stages (``Traced.stages``) as they are, not by import."""
        self._stages.update(stages)

    def run(self, pipeline: Pipeline[..., Any], tags: Mapping[str, str] | None = None, **params: Any) -> Run:
        """Run to the end; raises RunFailed or RunCancelled."""
        self.know(pipeline.trace(**params).stages)
        return self.runner.run(pipeline, params, RunOptions(tags=tags or {}))

    def start(self, pipeline: Pipeline[..., Any], **params: Any) -> Run:
        """Begin a run and return at once."""
        self.know(pipeline.trace(**params).stages)
        return self.runner.start(pipeline, params, RunOptions())

    def plan(self, pipeline: Pipeline[..., Any], **params: Any) -> Plan:
        """What ``run`` would do and why."""
        return self.runner.plan(pipeline, params, RunOptions())

    def resume(self, run: str, code: Pipeline[..., Any] | None = None, accept: bool = False) -> Run:
        """Drive a run on to its end; its stages must be importable, or have been run by this object before.

        Args:
            code: See ``Run.resume``.
        """
        if code is None:
            return self.runner.resume(run).wait()
        self._stages.update(self.runner.compare(run, code).traced.stages)
        return self.runner.resume_with(run, code, accept).wait()

    def fork(
        self,
        run: str,
        from_step: str,
        code: Pipeline[..., Any] | None = None,
        params: Mapping[str, Any] | None = None,
        repeat: Collection[str] = (),
    ) -> Run:
        """Fork a run and drive the fork to its end; see ``Run.fork``."""
        made = self.runner.fork(run, from_step, code, params)
        refuse_acting(made, repeat)
        if made.code is not None:
            self.know(made.code.traced.stages)
        return self.runner.rerun(made.renewal, code=made.code).wait()

    def _executor(self, backend: str) -> Executor:
        from orchestrator.backends.bundles.pool import Pool
        from orchestrator.backends.inline import InlineTransport, LiveCode

        here, code = self.installation, _WatchedCode(LiveCode(self._stages), self._around)
        return Pool(InlineTransport(here.values, here.artifacts, lambda capsule: code, ports=self._ports))


class _WatchedCode:
    """The stages of this process, with something around each."""

    root = ""

    def __init__(self, code: Any, around: Around | None) -> None:
        self._code = code
        self._around = around

    def function(self, reference: str) -> Callable[..., Any]:
        found: Callable[..., Any] = self._code.function(reference)
        return found if self._around is None else self._around(found)
