"""What runs inside a replica of Ray Serve: one predictor behind one HTTP address.

Requests and answers are JSON, as ``ports.serving`` describes. Code and artifacts come through ``ReplicaSource``,
which the composition root hands over, so that a replica finds them where the steps of the run found them.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from orchestrator.backends.serve_answer import Answer, predict, refused
from orchestrator.errors import ConfigError
from orchestrator.types import Digest


class ReplicaSource(Protocol):
    """Where a replica gets code and bytes from; picklable."""

    def load(self, path: str) -> Any:
        """The object ``module:name`` of the project."""
        ...

    def artifact(self, digest: Digest) -> bytes:
        """The bytes of an artifact, verified."""
        ...


class LocalSource:
    """Code that every process of the cluster can import; no artifacts."""

    def load(self, path: str) -> Any:
        """Import ``module:name``; raises ConfigError if there is no such thing."""
        module, _, name = path.partition(":")
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"the predictor {path!r} cannot be imported here: {error}") from error

    def artifact(self, digest: Digest) -> bytes:
        """Raises ConfigError: this source has no artifact store."""
        raise ConfigError(f"artifact {digest} cannot be read: this deployment has no artifact store; send the bytes")


@dataclass(frozen=True, slots=True)
class Served:
    """What a replica serves; ``identity`` is the digest of everything that decides its answers."""

    app: str
    version: str
    identity: str
    predictor: str
    payload: bytes | Digest
    config: Mapping[str, Any]


class Replica:
    """One predictor. ``GET`` tells app, version and identity; ``POST`` predicts."""

    def __init__(self, served: Served, source: ReplicaSource) -> None:
        self._served = served
        payload = served.payload if isinstance(served.payload, bytes) else source.artifact(served.payload)
        self._predictor = source.load(served.predictor)(payload, served.config)

    async def __call__(self, request: Request) -> Response:
        """Answer one request that came over HTTP."""
        if request.method == "GET":
            served = self._served
            return JSONResponse({"app": served.app, "version": served.version, "identity": served.identity})
        if request.method != "POST":
            answer = refused(405, 'use POST with a JSON object {"rows": [...]}')
        else:
            answer = await self.answer(await request.body())
        return Response(answer.body, answer.status, media_type="application/json")

    async def answer(self, body: bytes) -> Answer:
        """Answer one request, given its body."""
        return await run_in_threadpool(predict, self._predictor, body)
