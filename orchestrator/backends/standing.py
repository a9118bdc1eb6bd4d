"""A local Ray that stays up between commands (``orc up``): the record by which others find it, and attaching to it.

The record lies in ``ORC_HOME``, readable by its owner only. It names the process that keeps the Ray so that a later
process with the same id is never taken for it, and holds a mark that every process of that Ray carries.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import hashlib
import json
import logging
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.backends.bundles import orphans
from orchestrator.backends.cluster import Cluster, ClusterSettings, import_ray
from orchestrator.backends.ray_token import set_auth_mode
from orchestrator.errors import ClusterUnreachable

if TYPE_CHECKING:
    from orchestrator.backends.ray_head import ClusterUse

RECORD = "cluster.json"
LOCK = "cluster.lock"
LOOPBACK = "127.0.0.1"

_DIGEST_BYTES = 8
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StandingRay:
    """What is recorded of a standing Ray.

    Attributes:
        address: ``host:port`` of its head, on the loopback interface.
        pid, identity: The process that keeps it, and what tells that one from a later one with the same id.
        mark: Value of ``orphans.MARK`` with which the environment of all its processes begins.
        session: Ray's directory with the logs.
        versions: Python, Ray, and the environment they are installed in.
        auth_mode: ``token`` or ``disabled``, as for ``RAY_AUTH_MODE``.
        cpus, gpus, memory_bytes: What it has.
        idle_s: It ends when nobody was attached for so long; None to stay.
        started_at: Wall-clock time.
        environ: Digest of each variable of the environment it was started in.
    """

    address: str
    pid: int
    identity: str
    mark: str
    session: str
    versions: dict[str, str]
    auth_mode: str
    cpus: float
    gpus: float
    memory_bytes: float
    idle_s: float | None
    started_at: float
    environ: dict[str, str]

    @property
    def alive(self) -> bool:
        """True if the process that keeps it is there."""
        return process_identity(self.pid) == self.identity

    def differences(self) -> list[str]:
        """What is different here from what it was started with; nobody with differences can attach."""
        return [
            f"{part} {self.versions.get(part, '?')} there and {version} here"
            for part, version in installed_versions().items()
            if self.versions.get(part) != version
        ]

    def environ_changes(self, environ: Mapping[str, str]) -> dict[str, str | None]:
        """What is set otherwise (None: removed) than where it was started; ``RAY_*`` stays Ray's."""
        ours = digests(environ, self.mark)
        changed: dict[str, str | None] = {
            name: environ[name] for name, digest in ours.items() if self.environ.get(name) != digest
        }
        return changed | {name: None for name in self.environ if name not in ours}


def find(home: Path) -> StandingRay | None:
    """The record in a home, living or not; None if there is none, or nothing that we wrote."""
    try:
        return StandingRay(**json.loads((home / RECORD).read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        _log.warning("%s cannot be read and is ignored", home / RECORD)
        return None


def write(home: Path, standing: StandingRay) -> None:
    """Record it; readers see the old record or the new one."""
    draft = home / f"{RECORD}.{os.getpid()}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(standing), file, indent=1)
    draft.replace(home / RECORD)


def remove(home: Path, standing: StandingRay) -> None:
    """Remove its record; that of another one is left alone."""
    found = find(home)
    if found is not None and found.mark == standing.mark:
        (home / RECORD).unlink(missing_ok=True)


@contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Start and end a standing Ray one at a time; waits for whoever does it now. The lock ends with its process."""
    descriptor = os.open(home / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def process_identity(pid: int) -> str:
    """What tells a living process from any other that has or had its id; empty if there is none.

    Boot and start time where there is ``/proc``, else the start time to the second.
    """
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            state, *fields = stat.read_text().rpartition(")")[2].split()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return ""
        return "" if state == "Z" else f"{boot}/{fields[18]}"
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    state, _, started = subprocess.run(command, capture_output=True, text=True, check=False).stdout.partition(" ")
    return "" if state.startswith("Z") else started.strip()


def installed_versions() -> dict[str, str]:
    """What both sides must have in common, without importing Ray: steps run with the libraries of the standing Ray."""
    return {"Python": platform.python_version(), "Ray": metadata.version("ray"), "the environment": sys.prefix}


def digests(environ: Mapping[str, str], key: str) -> dict[str, str]:
    """A short digest of each value, so that changes show but values are not written down; without what is Ray's."""
    return {
        name: hashlib.blake2b(os.fsencode(value), digest_size=_DIGEST_BYTES, key=key.encode()).hexdigest()
        for name, value in environ.items()
        if not (name.startswith("RAY_") or name == orphans.MARK)
    }


class StandingCluster(Cluster):
    """The standing Ray of a home if one is up and suits, else a Ray of this process's own.

    Args:
        home: ``ORC_HOME``.
    """

    def __init__(self, home: Path) -> None:
        super().__init__()
        self._home = home
        self._standing: StandingRay | None = None

    def look(self) -> None:
        """Decide which one it will be, unless it is decided; says so if a standing one cannot be used."""
        if self.connected and not self.lost:
            return
        if self.connected:
            self.shutdown()
        self._standing = _usable(self._home)
        cpus = None if self._standing is None else int(self._standing.cpus)
        self.settings = replace(self.settings, num_cpus=cpus)

    @property
    def lost(self) -> bool:
        """True if this process is attached to a standing Ray that has ended."""
        return self.connected and self._standing is not None and not self._standing.alive

    @property
    def alive(self) -> bool:
        """See ``Cluster``."""
        return super().alive and not self.lost

    def check(self) -> None:
        """See to it that the Ray is still there.

        Raises:
            ClusterUnreachable: it was a standing one, and has ended.
        """
        if self.lost:
            raise ClusterUnreachable(
                "the background Ray that the steps ran on has ended; go on with: orc resume RUN (after orc up "
                "--background, or on a Ray of its own)"
            )

    def abandon(self) -> None:
        """Leave a Ray that has ended, without waiting: Ray tries to tell it for half a minute."""
        threading.Thread(target=self.shutdown, name="orc-ray-leave", daemon=True).start()

    def environ_changes(self) -> dict[str, str | None]:
        """See ``Cluster``; against the environment in which the standing Ray was started."""
        if self._standing is None:
            return super().environ_changes()
        return self._standing.environ_changes(os.environ)

    def _start_local(self) -> None:
        standing, ray = self._standing, sys.modules.get("ray")
        if standing is not None and not (ray is not None and ray.is_initialized()) and standing.alive:
            self._join(standing)
            return
        self._standing = None
        self.settings = ClusterSettings()
        super()._start_local()

    def _join(self, standing: StandingRay) -> None:
        if "RAY_AUTH_MODE" not in os.environ:
            set_auth_mode(standing.auth_mode)
            self._auth_mode_chosen = True
        ray = import_ray()
        from orchestrator.backends.ray_head import make_serializers, on_loopback, without_extra_serializers

        with on_loopback(), without_extra_serializers():
            what = f"the background Ray at {standing.address} (orc up --status)"
            self._keep(ray, {"address": standing.address}, self.settings.connect_timeout_s, what)
            make_serializers()
        atexit.unregister(ray.shutdown)  # it waits for half a second first, for output that we do not print
        atexit.register(self._leave)

    def _leave(self) -> None:
        """At the end of the process: quickly, because it may have been a short one."""
        self.shutdown()
        gc.freeze()  # nobody needs Ray's objects collected one by one, which takes half a second


def _usable(home: Path) -> StandingRay | None:
    standing = find(home)
    if standing is None:
        return None
    if not standing.alive:
        _log.warning("the background Ray has ended unexpectedly; start it again with: orc up --background")
        return None
    differences = standing.differences()
    if differences:
        _log.warning(
            "the background Ray is not used, this process starts its own: %s; replace it with: orc down && orc up "
            "--background", ", ".join(differences),
        )  # fmt: skip
        return None
    return standing


def use_of(standing: StandingRay) -> ClusterUse:
    """Who uses it, and how much of it; its keeper is not counted. Attaches nothing."""
    if "RAY_AUTH_MODE" not in os.environ:
        set_auth_mode(standing.auth_mode)
    import_ray()
    from orchestrator.backends.ray_head import HeadView

    view = HeadView(standing.address)
    try:
        use = view.use()
    finally:
        view.close()
    return use._replace(drivers=use.drivers - {standing.pid})
