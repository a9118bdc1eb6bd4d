"""Versions of files: change when the content does, and only then."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

import fsspec
import pytest

from orchestrator.artifacts import FileVersions
from orchestrator.errors import ConfigError, NotFound, StoreUnavailable


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "churn.parquet"
    path.write_bytes(b"rows" * 1000)
    return path


def test_a_copy_or_a_touch_is_no_change_but_one_byte_is(file: Path) -> None:
    files = FileVersions()
    before = files.version(str(file))
    shutil.copy(file, file.with_name("copy"))
    os.utime(file, (1, 1))
    assert files.version(str(file)) == files.version(f"file://{file.with_name('copy')}") == before
    file.write_bytes(b"rowS" + b"rows" * 999)
    assert files.version(str(file)) != before


def test_a_file_replaced_by_one_of_equal_size_and_time_is_seen(file: Path) -> None:
    files = FileVersions()
    before = files.version(str(file))
    status = file.stat()
    other = file.with_name("other")
    other.write_bytes(b"cols" * 1000)
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.rename(file)
    assert files.version(str(file)) != before


def test_a_directory_covers_names_and_contents_below(tmp_path: Path) -> None:
    root = tmp_path / "data"
    (root / "2013").mkdir(parents=True)
    (root / "2013" / "a").write_text("1")
    (root / "b").write_text("2")
    files = FileVersions()
    versions = [files.version(str(root))]
    (root / "2013" / "a").write_text("changed")
    versions.append(files.version(str(root)))
    (root / "b").rename(root / "c")
    versions.append(files.version(str(root)))
    (root / "c").rename(root / "2013" / "c")
    versions.append(files.version(str(root)))
    (root / "2013" / "c").unlink()
    versions.append(files.version(str(root)))
    assert len(set(versions)) == len(versions)


def test_objects_have_versions_too() -> None:
    url = f"memory://{uuid.uuid4().hex}/object"
    memory = fsspec.filesystem("memory")
    memory.pipe_file(url, b"one")
    files = FileVersions()
    before = files.version(url)
    assert files.version(url) == before
    memory.pipe_file(url, b"two")
    assert files.version(url) != before
    memory.rm(url)
    with pytest.raises(NotFound, match=url):
        files.version(url)


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    files = FileVersions()
    with pytest.raises(NotFound, match=r"absent\.csv"):
        files.version("absent.csv")
    with pytest.raises(ConfigError, match="nonsense"):
        files.version("nonsense://x/y")
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="file"):
        files.version(str(tmp_path / "file" / "below"))
