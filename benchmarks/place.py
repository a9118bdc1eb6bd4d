"""Where the benchmark runs: its directory, its Ray, and fresh processes of it."""

from __future__ import annotations

import json
import logging
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.config.settings import Settings

if TYPE_CHECKING:
    from benchmarks.floor import Floor

CHECKOUT = Path(__file__).parents[1]
FRESH_TIMEOUT_S = 600.0
"""Longest time for a fresh process; one that hangs must not hang the benchmark."""

RAY_SETTINGS = {"worker_niceness": 0}
"""As the engine starts a Ray: tasks run with the priority of other processes. Raw Ray gains by it as well."""


class Place:
    """One directory and at most one Ray, which every column of every row shares.

    Args:
        home: An empty directory, on the disk that is to be measured.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.slots = Settings.from_environment({}).slots
        self._address = ""
        self._floor: Floor | None = None
        for name in [name for name in os.environ if name.startswith("ORC_")]:
            del os.environ[name]
        token = home / "ray-token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        os.environ |= {"ORC_HOME": str(home), "RAY_AUTH_TOKEN_PATH": str(token), "RAY_USAGE_STATS_ENABLED": "0"}

    def start_ray(self) -> None:
        """Start a Ray of as many CPUs as ours has slots."""
        import ray

        ray.init(
            address="local", num_cpus=self.slots, include_dashboard=False, log_to_driver=False,
            logging_level=logging.ERROR, _system_config=RAY_SETTINGS,
        )  # fmt: skip
        self._address = ray.get_runtime_context().gcs_address

    def floor(self) -> Floor:
        """The floor's loop, with its workers up."""
        if self._floor is None:
            from benchmarks.floor import Floor

            self._floor = Floor(self.home / "floor.db")
        return self._floor

    def stop_ray(self) -> None:
        """End it, if it was started."""
        if self._floor is not None:
            self._floor.close()
            self._floor = None
        if self._address:
            import ray

            ray.shutdown()
            self._address = ""

    @property
    def row_home(self) -> Path:
        """Where the row that is being measured keeps its runs."""
        return Path(os.environ["ORC_HOME"])

    def on(self, backend: str) -> dict[str, str]:
        """Environment in which a fresh process of ours uses a back end: ``ray`` is the Ray that is up already."""
        environment = dict(os.environ)
        if backend == "ray":
            environment["ORC_RAY_ADDRESS"] = self._address
        return environment

    @property
    def ray_address(self) -> str:
        """``host:port`` of the Ray that is up."""
        return self._address


def fresh(command: list[str], environment: Mapping[str, str]) -> tuple[float, str]:
    """Run a Python process to its end: seconds from its start to its exit, and the last line of its output.

    Raises:
        subprocess.TimeoutExpired: it has not ended in time.
        subprocess.CalledProcessError: it failed; what it said goes to standard error.
    """
    begun = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, *command],
        cwd=CHECKOUT,
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=FRESH_TIMEOUT_S,
    )
    took_s = time.perf_counter() - begun
    if ended.returncode:
        sys.stderr.write(ended.stderr)
        ended.check_returncode()
    lines = ended.stdout.strip().splitlines()
    return took_s, lines[-1] if lines else ""


def child(task: str, given: Mapping[str, Any]) -> list[str]:
    """Command of a fresh process that does one of the tasks of ``benchmarks.child``."""
    return ["-m", "benchmarks.child", task, json.dumps(given)]
