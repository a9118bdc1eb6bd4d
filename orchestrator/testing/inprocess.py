"""Running pipelines in the test's own process, with everything real but the worker processes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


class InProcess:
    """Runs pipelines in this process: journal, artifacts, retries and cache as always, but no workers and no Ray.

    Args:
        home: Where runs are kept, such as pytest's ``tmp_path``.
        installation: Instead of ``home``.
    """

    def __init__(
        self, home: Path | None = None, installation: Installation | None = None, on_facts: Observer | None = None
    ) -> None:
        if installation is None:
            installation = Installation(Settings.from_environment({"ORC_HOME": str(home)}))
        self.installation = installation
        self._stages: dict[str, Stage[..., Any]] = {}
        self.runner = Runner(installation, on_facts, executors=self._executor)

    def run(self, pipeline: Pipeline[..., Any], tags: Mapping[str, str] | None = None, **params: Any) -> Run:
        """Run to the end; raises RunFailed or RunCancelled."""
        self._stages.update(pipeline.trace(**params).stages)
        return self.runner.run(pipeline, params, RunOptions(tags=tags or {}))

    def start(self, pipeline: Pipeline[..., Any], **params: Any) -> Run:
        """Begin a run and return at once."""
        self._stages.update(pipeline.trace(**params).stages)
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

    def _executor(self, backend: str) -> Executor:
        from orchestrator.backends.inline import inline_executor

        return inline_executor(self.installation.values, self.installation.artifacts, self._stages)
