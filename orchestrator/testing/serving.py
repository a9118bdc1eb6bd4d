"""Serving without a server: versions and traffic are files, so they outlive the process that made them.

For crash tests of pipelines that deploy and release: what is served is kept as a real server would keep it, and every
call is written down. Nothing answers at the endpoints; how versions answered is what a test says.
"""

from __future__ import annotations

import glob
import json
import math
import os
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from orchestrator.backends.serve_choice import check_name, check_next, check_traffic, traffic_document, traffic_from
from orchestrator.errors import ServingFailed
from orchestrator.ports.capture import Capture
from orchestrator.ports.serving import Endpoint, Load, Payload, Served, check_deployment, check_payload
from orchestrator.ports.traffic import Tallies, Tally, Traffic
from orchestrator.ports.values import digest_bytes
from orchestrator.testing.ledger import append_line, read_lines


class FileServing:
    """``ports.serving.Serving`` and ``ports.traffic.Router`` in a directory.

    Args:
        folder: Made if missing; a file for each version and each change of traffic, and ``calls`` with a line for each
            call that deploys.
        tallies: How versions answered, by application.
    """

    def __init__(self, folder: str | Path, tallies: Callable[[str], Mapping[str, Tally]] | None = None) -> None:
        self._folder = Path(folder)
        self._tallies = tallies
        self._folder.mkdir(parents=True, exist_ok=True)

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
        """Keep a version; see ``Serving``. The same version again changes nothing."""
        check_payload(payload)
        check_deployment(replicas, num_cpus, num_gpus, load, capture)
        endpoint = Endpoint(app, version, f"file://{self._path(app, version)}")
        given = payload if isinstance(payload, Mapping) else {"": payload}
        digests = {name: one if isinstance(one, str) else digest_bytes(one) for name, one in given.items()}
        digest = digests.get("") or digest_bytes(json.dumps(digests, sort_keys=True).encode())
        document: dict[str, Any] = {"app": app, "version": version, "predictor": predictor, "payload": digest}
        document |= {} if until is None else {"until": until}
        append_line(self._folder / "calls", document)
        draft = self._folder / f".{secrets.token_hex(8)}"
        draft.write_text(json.dumps(document))
        os.replace(draft, self._path(app, version))
        return endpoint

    def status(self, app: str | None = None) -> list[Served]:
        """All versions, or those of one application."""
        found = [json.loads(path.read_text()) for path in sorted(self._folder.glob("*.version"))]
        return [
            Served(Endpoint(d["app"], d["version"], f"file://{self._path(d['app'], d['version'])}"), "healthy")
            for d in found
            if app in (None, d["app"]) and d.get("until", math.inf) > time.time()
        ]

    def until(self, app: str, version: str) -> float | None:
        """See ``Serving.until``."""
        path = self._path(app, version)
        return json.loads(path.read_text()).get("until") if path.exists() else None

    def undeploy(self, app: str, version: str | None = None) -> None:
        """End a version, or all of an application; no error if it is not served."""
        if version is None:
            self.unroute(app)
        for served in self.status(app):
            if version in (None, served.endpoint.version):
                self._path(app, served.endpoint.version).unlink(missing_ok=True)

    def prepare(self, app: str, *, timeout_s: float = 60.0) -> None:
        """See ``Router.prepare``; there is no process to start."""
        check_name("app", app)

    def route(self, app: str, traffic: Traffic, *, timeout_s: float = 60.0) -> Endpoint:
        """See ``Router.route``; of two processes that name the same generation one gets it."""
        check_traffic(app, traffic)
        served = {one.endpoint.version for one in self.status(app)}
        for version, percent in traffic.weights.items():
            if percent > 0 and version not in served:
                raise ServingFailed(f"{app} {version} is not served, so it gets no requests; deploy it first")
        check_next(app, traffic, self.traffic(app))
        draft = self._folder / f".{secrets.token_hex(8)}"
        draft.write_text(json.dumps(traffic_document(traffic)))
        try:
            os.link(draft, self._folder / f"{quote(app, safe='')}@{traffic.generation:09}.traffic")
        except FileExistsError:
            check_next(app, traffic, self.traffic(app))
        finally:
            draft.unlink()
        return Endpoint(app, "", f"file://{self._folder / quote(app, safe='')}")

    def traffic(self, app: str) -> Traffic | None:
        """See ``Router.traffic``."""
        changes = self._changes(app)
        return traffic_from(json.loads(changes[-1].read_text())) if changes else None

    def changes(self, app: str) -> list[Traffic]:
        """All that the router was told to do, one after the other."""
        return [traffic_from(json.loads(path.read_text())) for path in self._changes(app)]

    def tallies(self, app: str) -> Tallies:
        """See ``Router.tallies``: what the test says."""
        return Tallies("files", dict(self._tallies(app)) if self._tallies is not None else {})

    def unroute(self, app: str) -> None:
        """See ``Router.unroute``."""
        for path in self._changes(app):
            path.unlink(missing_ok=True)

    def _changes(self, app: str) -> list[Path]:
        return sorted(self._folder.glob(f"{glob.escape(quote(app, safe=''))}@*.traffic"))

    def calls(self) -> list[dict[str, str]]:
        """Every call that deployed something: application, version, predictor and digest of the payload."""
        return read_lines(self._folder / "calls")

    def _path(self, app: str, version: str) -> Path:
        return self._folder / f"{quote(app, safe='')}@{quote(version, safe='')}.version"
