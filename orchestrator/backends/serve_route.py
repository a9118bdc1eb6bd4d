"""What runs in the replicas of a router on Ray Serve: ``Routing``, between HTTP and the handles of the versions.

Weights come as Serve's ``user_config``, which Serve keeps and hands to every replica, to later ones too, without
starting them anew; those that run already hear of them from the application's ledger, which is sooner. What was counted
goes there a few times a second.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from orchestrator.backends import ray_private
from orchestrator.backends.serve_answer import Answer, refused
from orchestrator.backends.serve_choice import SEPARATOR, traffic_from
from orchestrator.backends.serve_ledger import ledger_of
from orchestrator.backends.serve_models import MODEL_HEADER, ONLY
from orchestrator.backends.serve_routing import BUSY, CLIENT_HEADER, Asked, Limits, Routing
from orchestrator.errors import ServingFailed
from orchestrator.ports.traffic import Traffic

PREDICTOR = "predictor"
"""Name of the one deployment in a version's Serve application."""

_REPORT_S = 0.25
_LAST_REPORT_S = 1.0
_WARM_S = 1.0
_LOG = logging.getLogger(__name__)


class Route:
    """``POST`` is answered by a version, ``GET`` by what the traffic is; outcomes are taken below ``/outcomes``."""

    def __init__(self, app: str) -> None:
        self._app = app
        self._routing = Routing(app, self._ask)
        self._handles: dict[str, Any] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._ledger: Any = None
        self._working: list[asyncio.Task[None]] = []

    async def reconfigure(self, config: Mapping[str, Any]) -> None:
        """Take over new weights. Never raises: Serve would take the whole router for broken."""
        try:
            if config["traffic"] is not None:
                await self._follow(traffic_from(config["traffic"]), Limits(**config["limits"]))
        except Exception:
            _LOG.exception("the router of %s keeps what it did: this is no traffic: %r", self._app, config)
        if not self._working:
            self._working = [asyncio.create_task(self._report()), asyncio.create_task(self._hear())]

    async def __call__(self, request: Request) -> Response:
        """Answer one request that came over HTTP."""
        path = request.scope["path"].removeprefix(request.scope.get("root_path", "")).strip("/")
        client = request.headers.get(CLIENT_HEADER)
        model = request.headers.get(MODEL_HEADER, ONLY)
        reply = await self._routing.handle(request.method, path, await request.body(), client, model)
        return Response(reply.body, reply.status, dict(reply.headers), media_type="application/json")

    def __del__(self) -> None:
        """Serve's call before it ends a replica that has answered its last request."""
        counts = self._routing.take()
        if counts and self._ledger is not None:
            import ray

            ray.wait([self._ledger.add.remote(counts)], timeout=_LAST_REPORT_S)

    async def _follow(self, traffic: Traffic, limits: Limits) -> None:
        shares = (*traffic.weights.items(), *traffic.mirrored.items())
        needed = {version for version, percent in shares if percent > 0} | {traffic.stable}
        await self._warm(needed)
        if self._routing.follow(traffic, limits):
            self._drop_handles(needed)

    async def _ask(self, version: str, asked: Asked) -> Answer:
        from ray.serve.exceptions import BackPressureError

        handle = self._handle(version)
        traffic = self._routing.traffic
        if traffic is not None and version != traffic.stable and not ray_private.has_replicas(handle):
            raise ServingFailed(f"{self._app} {version} has no replica at the moment")
        response = handle.remote(*asked)
        try:
            return Answer(*await response)
        except BackPressureError:
            return refused(BUSY, f"{self._app} {version} has more requests than it can take; try again later")
        except asyncio.CancelledError:
            response.cancel()
            raise

    def _handle(self, version: str) -> Any:
        if version not in self._handles:
            handle = ray_private.own_handle(f"{self._app}{SEPARATOR}{version}", PREDICTOR)
            self._handles[version] = handle.options(method_name="told")
        return self._handles[version]

    async def _warm(self, versions: set[str]) -> None:
        """Handles learn of their replicas a moment after they were made: the first request need not wait for that."""
        deadline = time.monotonic() + _WARM_S
        handles = [self._handle(version) for version in versions]
        while not all(map(ray_private.has_replicas, handles)) and time.monotonic() < deadline:
            await asyncio.sleep(0.005)

    def _drop_handles(self, needed: set[str]) -> None:
        for version in self._handles.keys() - needed:
            task = asyncio.create_task(_end_later(self._handles.pop(version), self._routing.limits.timeout_s))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(_REPORT_S)
            counts = self._routing.take()
            if not counts:
                continue
            try:
                await (await self._found_ledger()).add.remote(counts)
            except Exception as error:  # the ledger's process died, or Ray is busy: the next report says it all
                _LOG.warning("the ledger of %s does not answer: %s", self._app, error)
                self._routing.put_back(counts)
                self._ledger = None

    async def _hear(self) -> None:
        """Do what the ledger says as soon as it says it, and tell it by asking for what comes next."""
        from ray import serve

        me = serve.get_replica_context().replica_tag
        while True:
            try:
                done = 0 if self._routing.traffic is None else self._routing.traffic.generation
                config = await (await self._found_ledger()).follow.remote(me, done)
                if config is not None:
                    await self.reconfigure(config)
            except Exception as error:
                _LOG.warning("the ledger of %s does not answer: %s", self._app, error)
                self._ledger = None
                await asyncio.sleep(_REPORT_S)

    async def _found_ledger(self) -> Any:
        if self._ledger is None:
            self._ledger = await asyncio.to_thread(ledger_of, self._app)
        return self._ledger


async def _end_later(handle: Any, after_s: float) -> None:
    """Requests that are under way may still need it."""
    await asyncio.sleep(after_s)
    await handle.shutdown_async()
