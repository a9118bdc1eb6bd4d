"""What becomes of a process that Ray starts: the same worker as a local one, and Ray's ports for who drives them."""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.app.worker import serve
from orchestrator.artifacts.objects import Objects
from orchestrator.artifacts.signing import Signer
from orchestrator.artifacts.store import open_objects, open_store
from orchestrator.artifacts.values import StoredValues
from orchestrator.backends import capsule
from orchestrator.backends.bundles import orphans
from orchestrator.backends.bundles.transport import WorkerNeeds, WorkerSettings
from orchestrator.ports.values import decode_cell
from orchestrator.types import Digest


@dataclass(frozen=True, slots=True)
class RayWorker:
    """The entry that ``RayTransport`` sends to its workers."""

    settings: WorkerSettings

    def __call__(self, connection: socket.socket, name: str, needs: WorkerNeeds) -> None:
        """Work until the driver says stop, or is gone."""
        mark = f"{os.environ.get(orphans.MARK) or secrets.token_hex(8)}/{name}"
        os.environ[orphans.MARK] = mark
        serve(connection, self.settings, name, needs.kind, mark, self._ports(needs))

    def _ports(self, needs: WorkerNeeds) -> dict[str, Any]:
        ports: dict[str, Any] = {}
        if "data" in needs.uses:
            from orchestrator.backends.data import RayData

            ports["data"] = RayData(CapsuleCode(self.settings, needs.capsule))
        if "tune" in needs.uses:
            from orchestrator.backends.tune import RayTune

            ports["tune"] = RayTune(
                TrialSource(self.settings, needs.capsule), Path(self.settings.keys).parent / "sweeps"
            )
        if "train" in needs.uses:
            from orchestrator.backends.train import RayTrain

            ports["train"] = RayTrain(
                TrialSource(self.settings, needs.capsule), Path(self.settings.keys).parent / "trainings"
            )
        if "serving" in needs.uses:
            from orchestrator.backends.serve import RayServing
            from orchestrator.backends.serve_router import RayRouter

            ports["serving"] = RayServing(CapsuleSource(self.settings, needs.capsule))
            ports["routing"] = RayRouter()
        return ports


@dataclass(frozen=True, slots=True)
class CapsuleSource:
    """Code and artifacts for replicas of Ray Serve: those of the run that deployed."""

    settings: WorkerSettings
    capsule: Digest

    def load(self, path: str) -> Any:
        """The object ``module:name`` of the project."""
        store = open_store(self.settings.artifacts)
        return capsule.load(self.capsule, store, Path(self.settings.capsules)).function(path)

    def artifact(self, digest: Digest) -> bytes:
        """The bytes of an artifact, verified."""
        return bytes(open_store(self.settings.artifacts).get(digest))

    def folder(self, url: str) -> Objects:
        """Where captured requests are written."""
        return open_objects(url)


@dataclass(frozen=True, slots=True)
class CapsuleCode:
    """The code of a run, for tasks that Ray Data, Tune and Train start for one of its steps."""

    settings: WorkerSettings
    capsule: Digest

    def function(self, reference: str) -> Any:
        """The function of a stage of the run."""
        store = open_store(self.settings.artifacts)
        return capsule.load(self.capsule, store, Path(self.settings.capsules)).function(reference)


@dataclass(frozen=True, slots=True)
class TrialSource(CapsuleCode):
    """Code and values for the processes of Ray Tune and Ray Train: those of the run that uses them."""

    def encode(self, value: Any) -> bytes:
        """Store a value; gives its stored form, which is small."""
        return self._values().encode(value)

    def load(self, stored: bytes) -> Any:
        """The value of a stored form."""
        return self._values().load(decode_cell(stored)).value

    def _values(self) -> StoredValues:
        return StoredValues(open_store(self.settings.artifacts), Signer(self.settings.keys))
