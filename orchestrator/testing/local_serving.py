"""Serving and routing in this process: what Ray Serve does for an application, for tests that need no cluster.

Predictors are built here and answer real HTTP requests on this machine, through the same routing as on Ray. A
predictor that ends its process ends the test: crashes are for tests on Ray.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar
from urllib.parse import unquote

from orchestrator.artifacts.store import open_objects
from orchestrator.backends.serve_answer import Answer
from orchestrator.backends.serve_capture import Capturing, Sample
from orchestrator.backends.serve_choice import SEPARATOR, check_name, check_next, check_traffic
from orchestrator.backends.serve_counts import Counts, add_all
from orchestrator.backends.serve_models import MODEL_HEADER, ONLY, Models, model_in
from orchestrator.backends.serve_routing import ANSWER_HEADER, CLIENT_HEADER, Asked, Limits, Reply, Routing
from orchestrator.errors import ConfigError, ServingFailed
from orchestrator.ports.capture import Capture
from orchestrator.ports.serving import Endpoint, Load, Payload, Predictor, Served, check_deployment, check_payload
from orchestrator.ports.traffic import Tallies, Traffic

T = TypeVar("T")


class LocalServing:
    """``ports.serving.Serving`` and ``ports.traffic.Router`` in one; ``with`` it, or ``close`` it.

    Args:
        limits: How patient and how busy routers are.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._versions: dict[tuple[str, str], Models] = {}
        self._until: dict[tuple[str, str], float | None] = {}
        self._captures: dict[tuple[str, str], Capturing] = {}
        self._routings: dict[str, Routing] = {}
        self._totals: dict[str, dict[str, Counts]] = {}
        self._era = secrets.token_hex(8)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="local-serving", daemon=True).start()
        self._http = _Server(("127.0.0.1", 0), partial(_Handler, self._handle))
        threading.Thread(target=partial(self._http.serve_forever, 0.05), name="local-http", daemon=True).start()

    def __enter__(self) -> LocalServing:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything that is served here."""
        self._http.shutdown()
        self._http.server_close()
        for app, version in list(self._captures):
            self._end_capture(app, version)
        self._loop.call_soon_threadsafe(self._loop.stop)

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
        """See ``Serving.deploy``; the payload has to be bytes, and requests are answered one by one."""
        check_payload(payload)
        check_deployment(replicas, num_cpus, num_gpus, load, capture)
        check_name("app", app)
        check_name("version", version)
        given = payload if isinstance(payload, Mapping) else {ONLY: payload}
        sources: dict[str, Callable[[], Predictor]] = {}
        for name, one in given.items():
            if not isinstance(one, bytes):
                raise ConfigError(f"artifact {one} cannot be read: LocalServing has no artifact store; send the bytes")
            sources[name] = partial(_build, predictor, one, dict(config or {}))
        built = Models(sources, (load or Load()).max_num_models_per_replica)
        try:
            if ONLY in built:
                built.load(ONLY)
        except Exception as error:
            raise ServingFailed(f"{app} {version} could not be built: {type(error).__name__}: {error}") from error
        self._end_capture(app, version)
        self._versions[app, version] = built
        self._until[app, version] = until
        if capture is not None:
            self._captures[app, version] = Capturing(capture, app, version, open_objects(capture.folder))
        return self._endpoint(app, version)

    def status(self, app: str | None = None) -> list[Served]:
        """See ``Serving.status``."""
        self._end_expired()
        return [
            Served(self._endpoint(owner, version), "healthy")
            for owner, version in sorted(self._versions)
            if app in (None, owner)
        ]

    def until(self, app: str, version: str) -> float | None:
        """See ``Serving.until``."""
        return self._until.get((app, version))

    def undeploy(self, app: str, version: str | None = None) -> None:
        """See ``Serving.undeploy``."""
        if version is None:
            self.unroute(app)
        for served in self.status(app):
            if version in (None, served.endpoint.version):
                self._end(app, served.endpoint.version)

    def prepare(self, app: str, *, timeout_s: float = 60.0) -> None:
        """See ``Router.prepare``."""
        check_name("app", app)
        self._on_loop(self._routing(app))

    def route(self, app: str, traffic: Traffic, *, timeout_s: float = 60.0) -> Endpoint:
        """See ``Router.route``."""
        check_traffic(app, traffic)
        for version, percent in traffic.weights.items():
            if percent > 0 and (app, version) not in self._versions:
                raise ServingFailed(f"{app} {version} is not served, so it gets no requests; deploy it first")
        self._on_loop(self._follow(app, traffic))
        return self._endpoint(app)

    def traffic(self, app: str) -> Traffic | None:
        """See ``Router.traffic``."""
        routing = self._routings.get(app)
        return None if routing is None else routing.traffic

    def tallies(self, app: str) -> Tallies:
        """See ``Router.tallies``; nothing is missing."""
        return self._on_loop(self._tallies(app))

    def unroute(self, app: str) -> None:
        """See ``Router.unroute``."""
        self._routings.pop(app, None)
        self._totals.pop(app, None)

    def _end(self, app: str, version: str) -> None:
        self._until.pop((app, version), None)
        self._versions.pop((app, version), None)
        self._end_capture(app, version)

    def _end_expired(self) -> None:
        for (app, version), until in list(self._until.items()):
            if until is not None and until <= time.time():
                self._end(app, version)

    def _end_capture(self, app: str, version: str) -> None:
        capturing = self._captures.pop((app, version), None)
        if capturing is not None:
            capturing.close()

    def _endpoint(self, app: str, version: str = "") -> Endpoint:
        path = f"{app}/{version}" if version else app
        return Endpoint(app, version, f"http://127.0.0.1:{self._http.server_port}/{path}")

    def _on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _follow(self, app: str, traffic: Traffic) -> None:
        check_next(app, traffic, self.traffic(app))
        (await self._routing(app)).follow(traffic, self._limits)

    async def _routing(self, app: str) -> Routing:
        return self._routings.setdefault(app, Routing(app, partial(self._ask, app)))

    async def _tallies(self, app: str) -> Tallies:
        totals = self._totals.setdefault(app, {})
        if app in self._routings:
            add_all(totals, self._routings[app].take())
        return Tallies(self._era, {version: counts.tally() for version, counts in totals.items()})

    async def _ask(self, app: str, version: str, asked: Asked) -> Answer:
        models = self._versions.get((app, version))
        if models is None:
            raise ServingFailed(f"{app} {version} is not served")
        capturing = self._captures.get((app, version))
        answered: asyncio.Future[Answer] = self._loop.create_future()

        def finish(answer: Answer) -> None:
            if not answered.done():
                answered.set_result(answer)

        def work() -> None:
            began = time.perf_counter()
            (answer,) = models.answer(asked.model, [asked.body])
            if capturing is not None:
                took_ms = (time.perf_counter() - began) * 1000
                capturing.see(
                    Sample(asked.id, time.time(), took_ms, answer.status, asked.body, answer.body, asked.model)
                )
            self._loop.call_soon_threadsafe(finish, answer)

        threading.Thread(target=work, daemon=True).start()  # one that hangs must not hold up the end of the process
        return await answered

    def _handle(self, method: str, path: str, body: bytes, client: str | None, model: str) -> Reply:
        self._end_expired()
        app, _, rest = unquote(path).strip("/").partition("/")
        version, _, below = rest.partition("/")
        if (app, version) in self._versions:
            if method == "GET":
                return Reply(200, json.dumps({"app": app, "version": version}).encode(), {})
            asked = Asked(body, secrets.token_hex(8), model_in(below) or model)
            answer = self._on_loop(self._ask(app, version, asked))
            return Reply(answer.status, answer.body, {ANSWER_HEADER: f"{version}{SEPARATOR}{asked.id}"})
        routing = self._routings.get(app)
        if routing is None:
            return Reply(404, b'{"error":"nothing is served here"}', {})
        return self._on_loop(routing.handle(method, rest, body, client, model))


def _build(predictor: str, payload: bytes, config: dict[str, Any]) -> Predictor:
    module, _, name = predictor.partition(":")
    built: Predictor = getattr(importlib.import_module(module), name)(payload, config)
    return built


class _Server(ThreadingHTTPServer):
    daemon_threads = True


class _Handler(BaseHTTPRequestHandler):
    """Hands requests over; says nothing about them."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are written apart, and clients acknowledge the head late

    def __init__(self, handle: Any, *args: Any) -> None:
        self._handle = handle
        super().__init__(*args)

    def do_GET(self) -> None:
        """Answer a GET."""
        self._answer()

    def do_POST(self) -> None:
        """Answer a POST."""
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        client, model = self.headers.get(CLIENT_HEADER), self.headers.get(MODEL_HEADER, ONLY)
        reply = self._handle(self.command, self.path, body, client, model)
        self.send_response(reply.status)
        for name, value in {**reply.headers, "Content-Type": "application/json"}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)
