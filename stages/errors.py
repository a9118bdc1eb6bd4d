"""Errors of the stage library; they join the engine's tree under codes ``ORC-6xx``."""

from __future__ import annotations

from orchestrator.errors import OrchestratorError, UserError


class DataRejected(UserError, ValueError):
    """A blocking check failed, or the values of a table contradict what the stage was told about them."""

    code = "ORC-601"


class RowRejected(UserError, ValueError):
    """A row sent for prediction lacks an input or carries one of the wrong kind; names the row and the input."""

    code = "ORC-602"


class SourceUnavailable(OrchestratorError, OSError):
    """A source of data cannot be reached, or says to come back later; worth another attempt."""

    code = "ORC-603"
    retryable = True
