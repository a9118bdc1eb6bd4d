"""Port of serving: model versions that answer HTTP requests.

A served version is built from a predictor's class and a payload of bytes. Requests are ``POST`` with
``{"rows": [...]}`` and are answered with ``{"predictions": [...]}``; bad rows give 422 and ``{"error": "..."}``.
``GET`` on the same address says which version answers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from orchestrator.errors import ConfigError
from orchestrator.ports.capture import Capture
from orchestrator.types import Digest

Payload: TypeAlias = bytes | Digest | Mapping[str, bytes | Digest]
"""Bytes of a model or the digest of an artifact that holds them; or one of these for each of many models by name."""

MOST_PAYLOAD_BYTES = 64 * 1024 * 1024
"""The bytes of many models together; artifacts may have any size."""

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


@dataclass(frozen=True, slots=True)
class Autoscaling:
    """More replicas when there is more to do, fewer when there is less; names are Ray Serve's where it has one.

    Attributes:
        max_replicas: Most replicas.
        min_replicas: Fewest, and how many there are at first.
        target_ongoing_requests: How many requests each replica should have at a time, waiting ones included.
        target_latency_ms: There are also more replicas when 95 of 100 answers are not given within this time, measured
            in the replica; None for no regard to it.
        upscale_delay_s, downscale_delay_s: How long more or fewer replicas have to be wanted before anything is done.
    """

    max_replicas: int
    min_replicas: int = 1
    target_ongoing_requests: float = 2.0
    target_latency_ms: float | None = None
    upscale_delay_s: float = 5.0
    downscale_delay_s: float = 60.0

    def __post_init__(self) -> None:
        if not 1 <= self.min_replicas <= self.max_replicas:
            raise ConfigError(
                f"autoscaling: min_replicas={self.min_replicas} and max_replicas={self.max_replicas}; at least one has "
                "to stay, and the least cannot be over the most"
            )
        if not self.target_ongoing_requests > 0 or not (self.target_latency_ms is None or self.target_latency_ms > 0):
            raise ConfigError("autoscaling: target_ongoing_requests and target_latency_ms have to be positive")
        if not (self.upscale_delay_s >= 0 and self.downscale_delay_s >= 0):
            raise ConfigError("autoscaling: upscale_delay_s and downscale_delay_s cannot be negative")


@dataclass(frozen=True, slots=True)
class Load:
    """How much each replica of a version takes on, and how; names are Ray Serve's.

    Attributes:
        max_ongoing_requests: Most requests that a replica works on at a time.
        max_queued_requests: Most that wait for one, at each proxy and each replica of the router; more are answered 503
            with ``Retry-After``.
        max_batch_size: Requests that the predictor answers in one call; 1 for one at a time.
        batch_wait_timeout_s: How long a request waits for others to be answered with.
        max_num_models_per_replica: Of a version with many models, those that a replica keeps built; the ones used last.
        autoscaling: How the number of replicas follows the load; None for a fixed number.
    """

    max_ongoing_requests: int = 64
    max_queued_requests: int = 256
    max_batch_size: int = 1
    batch_wait_timeout_s: float = 0.01
    max_num_models_per_replica: int = 16
    autoscaling: Autoscaling | None = None

    def __post_init__(self) -> None:
        for name in ("max_ongoing_requests", "max_queued_requests", "max_batch_size", "max_num_models_per_replica"):
            if getattr(self, name) < 1:
                raise ConfigError(f"load: {name}={getattr(self, name)} has to be 1 or more")
        if self.max_batch_size > self.max_ongoing_requests:
            raise ConfigError(
                f"load: max_batch_size={self.max_batch_size} is never reached by a replica that takes "
                f"max_ongoing_requests={self.max_ongoing_requests}; raise that, or lower the batch"
            )
        if not 0 <= self.batch_wait_timeout_s <= 60:
            raise ConfigError(f"load: batch_wait_timeout_s={self.batch_wait_timeout_s} has to be from 0 to 60 seconds")


def check_payload(payload: Payload) -> None:
    """Raises ConfigError if many models are none, have no names or are not small."""
    if not isinstance(payload, Mapping):
        return
    if not payload or not all(name.isascii() and name.isprintable() and name.strip() == name != "" for name in payload):
        raise ConfigError(
            "many models need at least one, and each needs a name that a header can hold: printable ASCII"
        )
    total = sum(len(one) for one in payload.values() if isinstance(one, bytes))
    if total > MOST_PAYLOAD_BYTES:
        raise ConfigError(
            f"{len(payload)} models have {total:,} bytes together, more than {MOST_PAYLOAD_BYTES:,}; give digests of "
            "artifacts instead, or serve them as several applications"
        )


def check_deployment(
    replicas: int, num_cpus: float, num_gpus: float, load: Load | None, capture: Capture | None
) -> None:
    """Raises ConfigError if no server could give a version that."""
    if capture is not None and not capture.inputs:
        raise ConfigError(
            "capture: say which inputs the model has (inputs={name: kind}); they are the columns of the rows"
        )
    if replicas < 1:
        raise ConfigError(f"replicas={replicas} has to be 1 or more; end a version with undeploy")
    if replicas > 1 and load is not None and load.autoscaling is not None:
        raise ConfigError(f"replicas={replicas} is a fixed number; with autoscaling give min_replicas there instead")
    for name, amount in (("num_cpus", num_cpus), ("num_gpus", num_gpus)):
        if not (math.isfinite(amount) and amount >= 0):
            raise ConfigError(f"{name}={amount!r} cannot be reserved; give 0 or more")
        if amount > 1 and amount != int(amount):
            raise ConfigError(f"{name}={amount!r}: a fraction is of one; over 1 give whole numbers")


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
        payload: Payload,
        config: Mapping[str, Any] | None = None,
        *,
        replicas: int = 1,
        num_cpus: float = 0.0,
        num_gpus: float = 0.0,
        load: Load | None = None,
        capture: Capture | None = None,
        until: float | None = None,
        timeout_s: float = 120.0,
    ) -> Endpoint:
        """Serve a version and return when it answers; replicas that serve this version already are kept.

        Args:
            predictor: ``module:Class`` of the project, built inside the replica.
            payload: Bytes for the predictor, or the digest of an artifact that holds them. If it has them for each of
                many models by name, a request says in its header ``X-Model`` which one it is for; a model is built
                when it is asked for.
            config: Given to the predictor; JSON values.
            num_cpus, num_gpus: What each replica reserves, also fractions of one; 0 leaves all slots to runs.
            load: How much each replica takes on, and how; and how many replicas there are, if that is not fixed.
            capture: Which requests are kept with their answers, and where; with the model's inputs in it.
            until: When it ends by itself, in seconds since 1970, whatever has become of this process; None for never.
            timeout_s: Longest time to wait for it to become healthy.

        Raises:
            ServingFailed: it did not become healthy; carries the replica's error. Nothing of it is left running; if
                the version was served before, with other options, it still is.
            ConfigError: app or version is not made of letters, digits, ``.``, ``_`` and ``-``, or no replica could be
                like that.
        """
        ...

    def status(self, app: str | None = None) -> list[Served]:
        """All versions, or those of one application."""
        ...

    def until(self, app: str, version: str) -> float | None:
        """When a version ends by itself; None if it stays, or is not served."""
        ...

    def undeploy(self, app: str, version: str | None = None) -> None:
        """End a version, or all of an application; no error if it is not served."""
        ...
