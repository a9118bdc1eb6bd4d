"""What bodies do to the outside is seen, and what does not last is not."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from orchestrator.testing.touches import Touch, Touches


@pytest.fixture(scope="module")
def touches(tmp_path_factory: pytest.TempPathFactory) -> Touches:
    """One for the process: an audit hook stays for ever."""
    return Touches([str(tmp_path_factory.getbasetemp() / "ignored")])


def test_what_lasts_is_seen_with_its_payload(touches: Touches, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("before ")
    with touches.of_body() as found:
        with open(there, "a") as file:
            file.write("after")
        (tmp_path / "new").mkdir()
        subprocess.run([sys.executable, "-c", ""], check=True)
    assert [(touch.what, touch.target) for touch in found] == [
        ("writes", str(there)),
        ("makes the directory", str(tmp_path / "new")),
        ("starts the program", f"{sys.executable} -c "),
    ]
    (tmp_path / "other").write_text("after")
    with touches.of_body() as other:
        (tmp_path / "other").write_text("after")
    assert other == [Touch("writes", str(tmp_path / "other"), found[0].payload)]


def test_a_file_that_was_there_and_is_removed_is_seen(touches: Touches, tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    with touches.of_body() as found:
        os.remove(tmp_path / "there")
    assert found == [Touch("removes", str(tmp_path / "there"))]


def test_reading_temporary_files_and_ignored_folders_do_not_count(touches: Touches, tmp_path: Path) -> None:
    ignored = tmp_path.parent / "ignored"
    ignored.mkdir(exist_ok=True)
    with touches.of_body() as found:
        Path(__file__).read_text()
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "x").write_text("x")
        (ignored / "x").write_text("x")
        with open(os.devnull, "w") as file:
            file.write("x")
        with touches.muted():
            (tmp_path / "muted").write_text("x")
    (tmp_path / "afterwards").write_text("x")
    assert found == []


def test_a_thread_of_the_only_running_body_counts_and_an_inner_body_has_its_own(
    touches: Touches, tmp_path: Path
) -> None:
    with touches.of_body() as outer:
        thread = threading.Thread(target=(tmp_path / "by-thread").write_text, args=("x",))
        thread.start()
        thread.join()
        with touches.of_body() as inner:
            (tmp_path / "inside").write_text("x")
    assert [touch.target for touch in outer] == [str(tmp_path / "by-thread")]
    assert [touch.target for touch in inner] == [str(tmp_path / "inside")]
