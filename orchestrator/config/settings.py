"""Where this installation keeps things, read once from the ``ORC_*`` environment variables.

``Settings`` is immutable and is handed to whoever needs it, so nothing below the command
line and the composition root looks at the environment. Every variable has a default that
works on a laptop.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from orchestrator.errors import ConfigError, InvalidDuration, InvalidSize
from orchestrator.types import seconds, size_bytes

VARIABLES: Final[Mapping[str, str]] = {
    "ORC_HOME": "directory that holds the journal, artifacts, logs and keys (default ~/.orc)",
    "ORC_STORE": "URL of the journal, sqlite:///… or postgresql://… (default ORC_HOME/journal.db)",
    "ORC_ARTIFACTS": "fsspec URL of the artifact store (default ORC_HOME/artifacts)",
    "ORC_RAY_ADDRESS": "address of the Ray cluster that runs every step (default: local workers, or a local Ray)",
    "ORC_RELEASE_STAGE": "where a model has to stand to be released (default: production, once one was promoted)",
    "ORC_LEASE": "PostgreSQL: time after which the run of a silent driver may be taken over (default 10s)",
    "ORC_LARGE_TABLE": "larger tables of stages with scope= go through Ray Data (default 1GiB; off: none)",
    "ORC_OPENLINEAGE_FILE": "file that gets an OpenLineage event a line (default: OpenLineage's own settings, or none)",
    "ORC_MLFLOW": "URI of the MLflow tracking server that runs are told to (default: none)",
    "ORC_SLOTS": "steps that may run at once on local workers (default: the CPUs of this process)",
}
"""Every variable and what it is for; ``ORC_PARAM_<NAME>`` sets a pipeline parameter besides."""

PARAMETER_PREFIX: Final = "ORC_PARAM_"

_STORE_SCHEMES = ("sqlite", "postgresql")

LARGE_TABLE_BYTES: Final = float(2**30)
"""Docs: decision 0022 has what was measured."""

_PASSWORD = re.compile(r"://([^:/?#]*):(.*)@")


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one process.

    Attributes:
        home: Absolute directory that holds everything not configured to be elsewhere.
        journal_url: SQLAlchemy URL of the journal; may hold a password, so it is not printed.
        artifacts_url: fsspec URL of the artifact store, without a trailing slash.
        ray_address: Address of a Ray cluster, or None for local workers.
        slots: Steps that may run at once on local workers, 1 or more.
        large_table_bytes: Tables larger than this are divided by Ray Data; infinite for none.
        lease_s: Seconds after which a driver that does not answer may be succeeded, where drivers hold leases.
    """

    home: Path
    journal_url: str = field(repr=False)
    artifacts_url: str = field(repr=False)
    ray_address: str | None
    slots: int
    lease_s: float = 10.0
    large_table_bytes: float = LARGE_TABLE_BYTES

    @classmethod
    def from_environment(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read the settings; nothing is created.

        Args:
            env: The environment; that of the process when None.

        Raises:
            ConfigError: a variable holds something unusable; names the variable.
        """
        env = os.environ if env is None else env
        home = Path(_text(env, "ORC_HOME") or "~/.orc").expanduser().absolute()
        return cls(
            home=home,
            journal_url=_journal_url(_text(env, "ORC_STORE"), home),
            artifacts_url=_artifacts_url(_text(env, "ORC_ARTIFACTS"), home),
            ray_address=_text(env, "ORC_RAY_ADDRESS"),
            slots=_slots(_text(env, "ORC_SLOTS")),
            lease_s=_lease_s(_text(env, "ORC_LEASE") or "10s"),
            large_table_bytes=_large_table_bytes(_text(env, "ORC_LARGE_TABLE")),
        )

    @property
    def logs_dir(self) -> Path:
        """Directory of the workers' log files."""
        return self.home / "logs"

    @property
    def keys_dir(self) -> Path:
        """Directory of the keys that sign pickles."""
        return self.home / "keys"

    @property
    def capsules_dir(self) -> Path:
        """Directory where capsules are unpacked."""
        return self.home / "capsules"

    @property
    def locks_dir(self) -> Path:
        """Directory of the lock files that say which driver owns a run."""
        return self.home / "locks"

    @property
    def journal_label(self) -> str:
        """The journal's URL without its password, for people."""
        return without_password(self.journal_url)

    @property
    def artifacts_label(self) -> str:
        """The artifact store's URL without its password, for people."""
        return without_password(self.artifacts_url)

    def create_home(self) -> Settings:
        """Create ``home`` and its directories, readable by their owner only, if they are missing.

        Returns:
            The settings themselves.

        Raises:
            ConfigError: ``home`` cannot be created or written.
        """
        try:
            for directory in (self.home, self.logs_dir, self.keys_dir, self.capsules_dir, self.locks_dir):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"ORC_HOME cannot be used: {error.strerror or error}: {self.home}; "
                "set ORC_HOME to a directory that you may write"
            ) from error
        if not os.access(self.home, os.W_OK | os.X_OK):
            raise ConfigError(f"ORC_HOME is not writable: {self.home}; set ORC_HOME to a directory that you may write")
        return self


def misspelt_variables(env: Mapping[str, str]) -> dict[str, str]:
    """``ORC_*`` variables that nothing reads but that look like one which is read, each with that name."""
    found: dict[str, str] = {}
    for name in sorted(env):
        if not name.startswith("ORC_") or name in VARIABLES or name.startswith(PARAMETER_PREFIX):
            continue
        close = difflib.get_close_matches(name, VARIABLES, n=1, cutoff=0.75)
        if close:
            found[name] = close[0]
    return found


def without_password(url: str) -> str:
    """A URL with its password replaced by ``***``."""
    return _PASSWORD.sub(r"://\1:***@", url)


def _text(env: Mapping[str, str], name: str) -> str | None:
    return env.get(name, "").strip() or None


def _journal_url(text: str | None, home: Path) -> str:
    if text is None:
        return f"sqlite:///{home / 'journal.db'}"
    scheme = text.partition("://")[0].partition("+")[0]
    if "://" not in text or scheme not in _STORE_SCHEMES:
        raise ConfigError(
            f"ORC_STORE is {without_password(text)!r}, which is no journal; "
            "write sqlite:////absolute/path/journal.db or postgresql://user@host/database"
        )
    return text


def _artifacts_url(text: str | None, home: Path) -> str:
    if text is None:
        return f"file://{home / 'artifacts'}"
    if "://" not in text:
        return f"file://{Path(text).expanduser().absolute()}"
    return text.rstrip("/")


def _slots(text: str | None) -> int:
    if text is None:
        return _process_cpus()
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ConfigError(f"ORC_SLOTS is {text!r}; write a whole number of steps, 1 or more")
    return int(text)


def _lease_s(text: str) -> float:
    try:
        lease_s = seconds(text)
    except InvalidDuration as error:
        raise ConfigError(f"ORC_LEASE is {text!r}; write a duration such as 10s") from error
    if not 1 <= lease_s <= 3600:
        raise ConfigError(f"ORC_LEASE is {text!r}; write a duration from 1s to 1h")
    return lease_s


def _large_table_bytes(text: str | None) -> float:
    if text is None:
        return LARGE_TABLE_BYTES
    if text.lower() == "off":
        return math.inf
    try:
        return float(size_bytes(int(text) if text.isascii() and text.isdigit() else text))
    except InvalidSize as error:
        raise ConfigError(f"ORC_LARGE_TABLE is {text!r}; write a size such as 2GiB, or off") from error


def _process_cpus() -> int:
    """CPUs this process may use, which containers and ``taskset`` make fewer than the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
