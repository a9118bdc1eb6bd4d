"""What ``orc doctor`` says about the journal."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from orchestrator.store.checks import (
    Mount,
    check_disk,
    check_file,
    check_journal,
    check_library,
    file_system,
    mounts,
    parse_mount_command,
    parse_proc_mounts,
)
from orchestrator.store.sqlite import dbapi
from tests.store.backend import PostgresBackend, SqliteBackend, facts, row


@pytest.mark.parametrize(
    ("version", "ok"),
    [
        ("3.6.23", True),
        ("3.7.0", False),
        ("3.40.1", False),
        ("3.44.5", False),
        ("3.44.6", True),
        ("3.45.0", False),
        ("3.50.6", False),
        ("3.50.7", True),
        ("3.51.2", False),
        ("3.51.3", True),
        ("3.53.4", True),
        ("4.0", True),
    ],
)
def test_which_sqlite_may_damage_a_journal(version: str, ok: bool) -> None:
    finding = check_library(version)
    assert finding.ok == ok
    assert version in finding.text
    assert ok or "pip install pysqlite3" in finding.text


LINUX = """\
/dev/vda / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
tmpfs /home/me/ram\\040disk tmpfs rw 0 0
host#x /mnt/ssh fuse.sshfs rw 0 0
"""
MACOS = """\
/dev/disk3s1 on / (apfs, sealed, local, read-only, journaled)
//me@server/share on /Volumes/My Share (smbfs, nodev, nosuid, mounted by me)
map auto_home on /System/Volumes/Data/home (autofs, automounted, nobrowse)
"""


@pytest.mark.parametrize(
    ("path", "expected", "ok"),
    [
        ("/var/journal.db", "ext4", True),
        ("/home/me/journal.db", "nfs4", False),
        ("/home/me/ram disk/journal.db", "tmpfs", True),
        ("/homely/journal.db", "ext4", True),
        ("/mnt/ssh/a/journal.db", "fuse.sshfs", False),
    ],
)
def test_network_file_systems_on_linux(path: str, expected: str, ok: bool) -> None:
    mounted = parse_proc_mounts(LINUX)
    assert file_system(Path(path), mounted) == expected
    assert check_disk(Path(path), mounted).ok == ok


def test_network_file_systems_on_macos() -> None:
    mounted = parse_mount_command(MACOS)
    assert check_disk(Path("/Users/me/journal.db"), mounted).ok
    finding = check_disk(Path("/Volumes/My Share/journal.db"), mounted)
    assert not finding.ok
    assert "smbfs" in finding.text


def test_the_mount_on_top_counts() -> None:
    assert file_system(Path("/a/b"), [Mount("/", "ext4"), Mount("/a", "nfs"), Mount("/a", "tmpfs")]) == "tmpfs"
    assert file_system(Path("/a/b"), []) == "unknown"


def test_this_machine_has_a_root(tmp_path: Path) -> None:
    assert file_system(tmp_path, mounts()) != "unknown"


def test_a_sound_journal_and_a_damaged_one(sqlite: SqliteBackend) -> None:
    journal = sqlite.open()
    journal.create(row(), facts(20_000), {})
    journal.close()
    findings = check_journal(sqlite.url)
    assert [finding.name for finding in findings] == ["sqlite", "journal disk", "journal file"]
    assert findings[2].ok
    with sqlite.path.open("r+b") as file:
        file.seek(4096 * 30)
        file.write(b"\xff" * 4096)
    finding = check_journal(sqlite.url)[2]
    assert not finding.ok
    assert "restore it from a backup" in finding.text


def test_a_server_that_answers_and_one_that_does_not(on_server: PostgresBackend) -> None:
    [finding] = check_journal(on_server.url)
    assert (finding.name, finding.ok) == ("postgresql", True)
    assert finding.text.startswith("PostgreSQL 1")
    [finding] = check_journal("postgresql://orc:s3cret@127.0.0.1:1/none")
    assert not finding.ok
    assert "does not answer" in finding.text
    assert "s3cret" not in finding.text


def test_a_file_that_does_not_open_or_does_not_exist(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    assert check_file(path).ok
    assert not path.exists()
    path.write_bytes(b"no database" * 500)
    finding = check_file(path)
    assert not finding.ok
    assert "damaged or no journal" in finding.text


@pytest.mark.skipif(sys.platform != "linux", reason="the wheel that carries SQLite is for Linux")
def test_the_installed_library_is_sound() -> None:
    assert check_library(dbapi.sqlite_version).ok
