"""Which tools are told about runs, by the environment; asked before every run, so it loads next to nothing."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from orchestrator.backends.bundles.spans import traces_wanted
from orchestrator.errors import OrchestratorError

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation

FILE_VARIABLE: Final = "ORC_OPENLINEAGE_FILE"
MLFLOW_VARIABLE: Final = "ORC_MLFLOW"
SWITCHES: Final = {
    "traces": "OTEL_EXPORTER_OTLP_ENDPOINT",
    "lineage": f"OPENLINEAGE_URL or {FILE_VARIABLE}",
    "mlflow": MLFLOW_VARIABLE,
}
"""Sinks, and what switches each on."""

_OPENLINEAGE = ("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG", "OPENLINEAGE__TRANSPORT")
_log = logging.getLogger(__name__)


def sinks_wanted(env: Mapping[str, str] | None = None) -> list[str]:
    """Names of the sinks that the environment switches on."""
    env = os.environ if env is None else env
    found = ["traces"] if traces_wanted(env) else []
    disabled = env.get("OPENLINEAGE_DISABLED", "").lower() == "true"
    if not disabled and (env.get(FILE_VARIABLE) or any(name.startswith(_OPENLINEAGE) for name in env)):
        found.append("lineage")
    return found + (["mlflow"] if env.get(MLFLOW_VARIABLE) else [])


@contextmanager
def told(here: Installation) -> Iterator[None]:
    """Tell the sinks at the end what happened inside, unless ``orc up`` is about it; what is not told then waits."""
    if not sinks_wanted():
        yield
        return
    from orchestrator.app.signals import begin, catch_up

    begin(here)
    try:
        yield
    finally:
        try:
            catch_up(here)
        except OrchestratorError as error:
            _log.warning("%s; orc up or orc send tells it later", error.message)
        except Exception:  # whatever another tool's client does, it is no reason for a run to fail
            _log.exception("what this run did could not be told; orc up or orc send tries it again")
