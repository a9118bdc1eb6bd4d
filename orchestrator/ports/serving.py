"""Port of serving: model versions that answer HTTP requests.

A served version is built from a predictor's class and a payload of bytes. Requests are ``POST`` with
``{"rows": [...]}`` and are answered with ``{"predictions": [...]}``; bad rows give 422 and ``{"error": "..."}``.
``GET`` on the same address says which version answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from orchestrator.types import Digest

ServedState = Literal["starting", "healthy", "unhealthy", "stopping"]


class Endpoint(NamedTuple):
    """A version of an application and where it answers."""

    app: str
    version: str
    url: str


class Served(NamedTuple):
    """A version as the server sees it; ``message`` says why it is not healthy."""

    endpoint: Endpoint
    state: ServedState
    message: str = ""


class Predictor(Protocol):
    """What ``module:Class`` of a deployment has to be."""

    def __init__(self, payload: bytes, config: Mapping[str, Any]) -> None:
        """Build the model from its bytes."""
        ...

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[Any]:
        """One JSON-able answer for each row. A ``UserError`` raised here is the client's fault (HTTP 422)."""
        ...


class Serving(Protocol):
    """Deploys versions. Every call may be repeated: the same version again changes nothing."""

    def deploy(
        self,
        app: str,
        version: str,
        predictor: str,
        payload: bytes | Digest,
        config: Mapping[str, Any] | None = None,
        *,
        replicas: int = 1,
        num_cpus: float = 0.0,
        num_gpus: float = 0.0,
        timeout_s: float = 120.0,
    ) -> Endpoint:
        """Serve a version and return when it answers; replicas that serve this version already are kept.

        Args:
            predictor: ``module:Class`` of the project, built inside the replica.
            payload: Bytes for the predictor, or the digest of an artifact that holds them.
            config: Given to the predictor; JSON values.
            num_cpus: What each replica reserves; 0 leaves all slots to runs.
            timeout_s: Longest time to wait for it to become healthy.

        Raises:
            ServingFailed: it did not become healthy; carries the replica's error. Nothing of it is left running.
            ConfigError: app or version is not made of letters, digits, ``.``, ``_`` and ``-``.
        """
        ...

    def status(self, app: str | None = None) -> list[Served]:
        """All versions, or those of one application."""
        ...

    def undeploy(self, app: str, version: str | None = None) -> None:
        """End a version, or all of an application; no error if it is not served."""
        ...
