"""Durable machine-learning pipelines on Ray: the public names.

Importing this loads neither Ray nor pyarrow nor the store; what needs them is loaded on first use.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from orchestrator.errors import OrchestratorError, RunCancelled, RunFailed
from orchestrator.graph.branch import when
from orchestrator.graph.context import StepContext, step
from orchestrator.graph.display import Shown, Watch
from orchestrator.graph.item import ItemError, each, fixed
from orchestrator.graph.node import Graph
from orchestrator.graph.options import Retry
from orchestrator.graph.pipeline import Pipeline, Runner, pipeline
from orchestrator.graph.quality import Check, CheckResult, Conforms
from orchestrator.graph.secret import File, Secret
from orchestrator.graph.stage import Stage, dynamic, stage
from orchestrator.graph.version import VersionInput, version
from orchestrator.graph.wait import approve, signal
from orchestrator.sweeps import sweep

if TYPE_CHECKING:
    from orchestrator.app.models import models
    from orchestrator.app.released import releases
    from orchestrator.app.runs import Run, runs
    from orchestrator.app.versions import Version, versions

__version__ = "0.1.0"

__all__ = [
    "Check",
    "CheckResult",
    "Conforms",
    "File",
    "Graph",
    "ItemError",
    "OrchestratorError",
    "Pipeline",
    "Retry",
    "Run",
    "RunCancelled",
    "RunFailed",
    "Secret",
    "Stage",
    "StepContext",
    "Version",
    "approve",
    "dynamic",
    "each",
    "fixed",
    "models",
    "pipeline",
    "releases",
    "runs",
    "signal",
    "stage",
    "step",
    "sweep",
    "version",
    "versions",
    "when",
]


_LAZY = {
    "Run": "runs",
    "runs": "runs",
    "Version": "versions",
    "versions": "versions",
    "models": "models",
    "releases": "released",
}
"""Public names by the module of ``app`` that has them; loaded on first use."""


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"orchestrator.app.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


def _make_runner() -> Runner:
    from orchestrator.app.runner import Runner as DurableRunner

    return DurableRunner()


def _bundle(shown: Shown) -> Mapping[str, str]:
    from orchestrator.notebook.bundle import bundle

    return bundle(shown)


def _watch(run: Run, anywhere: bool) -> Watch | None:
    if not anywhere and not {"ipykernel", "marimo"} & sys.modules.keys():
        return None
    from orchestrator.notebook.progress import open_progress

    return open_progress(run, anywhere)


def _load_version(address: str) -> Any:
    from orchestrator.app.versions import versions as of_names

    return of_names[address].value()


def _divided(stage: Stage[Any, Any]) -> Any:
    from orchestrator.backends.division import Divided

    merge = None if stage.merge is None else stage.merge.function
    return Divided(stage.function, stage.policy, merge=merge)


Pipeline.make_runner = staticmethod(_make_runner)
Shown.bundle = staticmethod(_bundle)
Shown.watcher = staticmethod(_watch)
VersionInput.load = staticmethod(_load_version)
Stage.divided = staticmethod(_divided)
