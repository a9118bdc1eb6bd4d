"""What ``orc doctor`` asks about a journal: is the library sound, is the disk local, is the file whole?

And of a server: does it answer, and does it keep what it acknowledges?"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from orchestrator.errors import OrchestratorError
from orchestrator.store.opening import is_server, open_server
from orchestrator.store.sqlite import SqliteDatabase, dbapi, path_of

_BUG_FROM = (3, 7, 0)
_FIXED_IN = (3, 51, 3)
_FIXED_BRANCHES = ((3, 44, 6), (3, 50, 7))

# fmt: off
_REMOTE_TYPES = frozenset({
    "9p", "acfs", "afpfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "glusterfs", "gpfs", "lustre", "ncpfs",
    "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "smb3", "smbfs", "vboxsf", "virtiofs", "webdav", "wekafs",
})
# fmt: on
_MOUNTS = Path("/proc/self/mounts")


class Finding(NamedTuple):
    """Outcome of one check; ``text`` says what was found and, if it is not ``ok``, what to do."""

    name: str
    ok: bool
    text: str


class Mount(NamedTuple):
    """A mounted file system."""

    point: str
    type: str


def check_journal(url: str) -> list[Finding]:
    """All checks of the journal at a URL; nothing is made or changed.

    Raises:
        ConfigError: the URL names no journal.
    """
    if is_server(url):
        return [check_server(url)]
    path = path_of(url)
    return [check_library(dbapi.sqlite_version), check_disk(path, mounts()), check_file(path)]


def check_server(url: str) -> Finding:
    """Does the server answer, and are its settings such that what it acknowledges survives a power failure?"""
    try:
        database = open_server(url)
    except OrchestratorError as error:
        return Finding("postgresql", False, error.message)
    try:
        settings = database.settings()
    except OrchestratorError as error:
        return Finding("postgresql", False, error.message)
    finally:
        database.close()
    version = f"PostgreSQL {settings['server_version']}"
    loose = [name for name in ("fsync", "full_page_writes", "synchronous_commit") if settings[name] == "off"]
    if loose:
        text = f"{version} loses acknowledged facts in a power failure; switch on: {', '.join(loose)}"
        return Finding("postgresql", False, text)
    return Finding("postgresql", True, version)


def check_library(version: str) -> Finding:
    """Is the SQLite library free of the WAL-reset bug, which can damage a file that several connections write?"""
    numbers = tuple(int(part) for part in version.split("."))
    backported = any(numbers[:2] == fixed[:2] and numbers >= fixed for fixed in _FIXED_BRANCHES)
    if _BUG_FROM <= numbers < _FIXED_IN and not backported:
        advice = "can damage a journal that several processes use; install a newer one with: pip install pysqlite3"
        return Finding("sqlite", False, f"SQLite {version} {advice}")
    return Finding("sqlite", True, f"SQLite {version}")


def check_disk(path: Path, mounted: Iterable[Mount]) -> Finding:
    """Is the journal on a disk of this machine? Locks and shared memory do not work reliably over a network."""
    type_ = file_system(path, mounted)
    if type_ in _REMOTE_TYPES or "sshfs" in type_ or "s3fs" in type_:
        text = f"{path} is on a network file system ({type_}); set ORC_STORE to a file on a local disk"
        return Finding("journal disk", False, text)
    return Finding("journal disk", True, f"{path} is on {type_}")


def check_file(path: Path) -> Finding:
    """Does the file open, and pass SQLite's own check of its pages and indexes?"""
    if not path.exists():
        return Finding("journal file", True, f"{path} does not exist yet; the first run makes it")
    try:
        database = SqliteDatabase(path)
    except OrchestratorError as error:
        return Finding("journal file", False, error.message)
    try:
        with database.read() as connection:
            answer = [row[0] for row in connection.exec_driver_sql("PRAGMA quick_check(5)")]
    except OrchestratorError as error:
        return Finding("journal file", False, error.message)
    finally:
        database.close()
    if answer != ["ok"]:
        return Finding("journal file", False, f"{path} is damaged ({'; '.join(answer)}); restore it from a backup")
    return Finding("journal file", True, f"{path} is whole")


def file_system(path: Path, mounted: Iterable[Mount]) -> str:
    """Type of the file system that a path is on; ``unknown`` if no mount fits."""
    real = path.resolve()
    fitting = [mount for mount in mounted if real.is_relative_to(mount.point)]
    # Of two mounts on one point the later covers the earlier.
    return max(reversed(fitting), key=lambda mount: len(Path(mount.point).parts)).type if fitting else "unknown"


def mounts() -> list[Mount]:
    """The mounted file systems of this machine."""
    if _MOUNTS.exists():
        return parse_proc_mounts(_MOUNTS.read_text(errors="replace"))
    return parse_mount_command(subprocess.run(["mount"], capture_output=True, text=True, check=False).stdout)


def parse_proc_mounts(text: str) -> list[Mount]:
    """Lines of Linux: ``device point type options 0 0``, with blanks in names as octal escapes."""
    fields = [line.split() for line in text.splitlines()]
    return [Mount(_unescape(parts[1]), parts[2]) for parts in fields if len(parts) > 2]


def parse_mount_command(text: str) -> list[Mount]:
    """Lines of macOS: ``device on point (type, options)``."""
    found = []
    for line in text.splitlines():
        left, _, options = line.rpartition(" (")
        _, on, point = left.partition(" on ")
        if on:
            found.append(Mount(point, options.split(",")[0].rstrip(")")))
    return found


def _unescape(name: str) -> str:
    return name.encode("latin-1", "backslashreplace").decode("unicode_escape") if "\\" in name else name
