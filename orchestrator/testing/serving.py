"""Serving without a server: versions are files, so a deployment outlives the process that made it.

For crash tests of pipelines that deploy: what is served is kept as a real server would keep it, and every call is
written down. Nothing answers at the endpoints.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from orchestrator.ports.serving import Endpoint, Served
from orchestrator.ports.values import digest_bytes
from orchestrator.testing.ledger import append_line, read_lines
from orchestrator.types import Digest


class FileServing:
    """``ports.serving.Serving`` in a directory.

    Args:
        folder: Made if missing; a file for each version, and ``calls`` with a line for each call that deploys.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)

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
        """Keep a version; see ``Serving``. The same version again changes nothing."""
        endpoint = Endpoint(app, version, f"file://{self._path(app, version)}")
        digest = payload if isinstance(payload, str) else digest_bytes(payload)
        document = {"app": app, "version": version, "predictor": predictor, "payload": digest}
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
            if app in (None, d["app"])
        ]

    def undeploy(self, app: str, version: str | None = None) -> None:
        """End a version, or all of an application; no error if it is not served."""
        for served in self.status(app):
            if version in (None, served.endpoint.version):
                self._path(app, served.endpoint.version).unlink(missing_ok=True)

    def calls(self) -> list[dict[str, str]]:
        """Every call that deployed something: application, version, predictor and digest of the payload."""
        return read_lines(self._folder / "calls")

    def _path(self, app: str, version: str) -> Path:
        return self._folder / f"{quote(app, safe='')}@{quote(version, safe='')}.version"
