"""What runs inside a replica of Ray Serve: one predictor behind one HTTP address.

Requests and answers are JSON, as ``ports.serving`` describes. Code and artifacts come through ``ReplicaSource``,
which the composition root hands over, so that a replica finds them where the steps of the run found them. Here
requests become batches, and here they are captured: the router before it has more to do.
"""

from __future__ import annotations

import importlib
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from orchestrator.backends.serve_answer import Answer, refused
from orchestrator.backends.serve_capture import Capturing, Sample
from orchestrator.backends.serve_choice import SEPARATOR
from orchestrator.backends.serve_models import MODEL_HEADER, ONLY, Models, model_in
from orchestrator.backends.serve_routing import ANSWER_HEADER
from orchestrator.backends.serve_scaling import P95_MS, LatencyWindow
from orchestrator.errors import ConfigError
from orchestrator.ports.capture import Capture, Folder
from orchestrator.ports.serving import Load, Payload, Predictor
from orchestrator.types import Digest


class ReplicaSource(Protocol):
    """Where a replica gets code and bytes from; picklable."""

    def load(self, path: str) -> Any:
        """The object ``module:name`` of the project."""
        ...

    def artifact(self, digest: Digest) -> bytes:
        """The bytes of an artifact, verified."""
        ...

    def folder(self, url: str) -> Folder:
        """Where captured requests are written."""
        ...


class LocalSource:
    """Code that every process of the cluster can import; no artifacts and no folders."""

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

    def folder(self, url: str) -> Folder:
        """Raises ConfigError: this source writes nowhere."""
        raise ConfigError(f"nothing can be captured in {url}: this deployment has nowhere to write")


@dataclass(frozen=True, slots=True)
class Served:
    """What a replica serves; ``identity`` is the digest of everything that decides its answers."""

    app: str
    version: str
    identity: str
    predictor: str
    payload: Payload
    config: Mapping[str, Any]
    load: Load
    capture: Capture | None = None


class Replica:
    """One predictor, or one for each of many names. ``GET`` tells app, version and identity; ``POST`` predicts."""

    def __init__(self, served: Served, source: ReplicaSource) -> None:
        self._served = served
        self._source = source
        given = served.payload if isinstance(served.payload, Mapping) else {ONLY: served.payload}
        sources = {name: partial(self._built, payload) for name, payload in given.items()}
        self._models = Models(sources, served.load.max_num_models_per_replica)
        if ONLY in sources:
            self._models.load(ONLY)
        self._latencies = LatencyWindow()
        self._answer = self._batched() if served.load.max_batch_size > 1 else self._alone
        capture = served.capture
        self._capturing = (
            None if capture is None else Capturing(capture, served.app, served.version, source.folder(capture.folder))
        )

    def __del__(self) -> None:
        """Serve's call before it ends a replica that has answered its last request."""
        capturing = getattr(self, "_capturing", None)  # there is none if the predictor could not be built
        if capturing is not None:
            capturing.close()

    async def __call__(self, request: Request) -> Response:
        """Answer one request that came over HTTP."""
        if request.method == "GET":
            return JSONResponse(self._described())
        headers = {}
        if request.method != "POST":
            answer = refused(405, 'use POST with a JSON object {"rows": [...]}')
        else:
            asked = secrets.token_hex(8)
            path = request.scope["path"].removeprefix(request.scope.get("root_path", "")).strip("/")
            model = model_in(path) or request.headers.get(MODEL_HEADER, ONLY)
            answer = await self.answer(await request.body(), asked, model)
            headers[ANSWER_HEADER] = f"{self._served.version}{SEPARATOR}{asked}"
        return Response(answer.body, answer.status, headers, media_type="application/json")

    async def answer(self, body: bytes, request: str, model: str = ONLY) -> Answer:
        """Answer one request, given its body, its id, and which model it is for."""
        began = time.perf_counter()
        answer = await self._answer((model, body))
        took_ms = (time.perf_counter() - began) * 1000
        self._latencies.add(took_ms)
        if self._capturing is not None:
            self._capturing.see(Sample(request, time.time(), took_ms, answer.status, body, answer.body, model))
        return answer

    async def told(self, body: bytes, request: str, model: str = ONLY) -> tuple[int, bytes, bool]:
        """The same for the router: plain values, which any process can read."""
        answer = await self.answer(body, request, model)
        return answer.status, answer.body, answer.broken

    def reconfigure(self, config: Mapping[str, Any]) -> None:
        """What Serve keeps of a version for others (``serve_upkeep``); it changes no answer."""

    def record_autoscaling_stats(self) -> dict[str, float]:
        """What Serve's autoscaler gets to see beside numbers of requests; see ``serve_scaling``."""
        return {P95_MS: self._latencies.p95_ms()}

    async def _alone(self, asked: tuple[str, bytes]) -> Answer:
        return (await run_in_threadpool(self._models.answer, asked[0], [asked[1]]))[0]

    async def _together(self, asked: list[tuple[str, bytes]]) -> list[Answer]:
        return await run_in_threadpool(self._models.answer_all, asked)

    def _batched(self) -> Callable[[tuple[str, bytes]], Coroutine[Any, Any, Answer]]:
        from ray import serve

        load = self._served.load
        batching: Any = serve.batch(max_batch_size=load.max_batch_size, batch_wait_timeout_s=load.batch_wait_timeout_s)
        batched: Callable[[tuple[str, bytes]], Coroutine[Any, Any, Answer]] = batching(self._together)
        return batched

    def _built(self, payload: bytes | Digest) -> Predictor:
        data = payload if isinstance(payload, bytes) else self._source.artifact(payload)
        predictor: Predictor = self._source.load(self._served.predictor)(data, self._served.config)
        return predictor

    def _described(self) -> dict[str, Any]:
        served = self._served
        told: dict[str, Any] = {"app": served.app, "version": served.version, "identity": served.identity}
        if ONLY not in self._models:
            told["models"] = self._models.built
        return told if self._capturing is None else told | {"captured": self._capturing.counts()}
