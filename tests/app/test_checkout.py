"""The commit that a run's record names, against git's own answer."""

from __future__ import annotations

import subprocess
from pathlib import Path

from orchestrator.app.checkout import git_branch, git_commit


def git(folder: Path, *words: str) -> str:
    settings = ["-c", "user.name=Someone", "-c", "user.email=someone@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", "-C", str(folder), *settings, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def repository(folder: Path) -> Path:
    folder.mkdir()
    git(folder, "init", "-q")
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    return folder


def test_the_commit_is_that_of_git_on_a_branch_detached_packed_and_in_a_worktree(tmp_path: Path) -> None:
    here = repository(tmp_path / "project")
    (here / "deep" / "er").mkdir(parents=True)
    first = git(here, "rev-parse", "HEAD")
    assert git_commit(here) == git_commit(here / "deep" / "er") == first
    git(here, "pack-refs", "--all")
    assert git_commit(here) == first
    git(here, "commit", "-q", "--allow-empty", "-m", "second")
    assert git_commit(here) == git(here, "rev-parse", "HEAD") != first
    assert git_branch(here / "deep") == git(here, "rev-parse", "--abbrev-ref", "HEAD")
    git(here, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"), first)
    assert git_commit(tmp_path / "side") == first
    assert git_branch(tmp_path / "side") == "side"
    git(here, "checkout", "-q", "-b", "feature/deep")
    assert git_branch(here) == "feature/deep"
    git(here, "checkout", "-q", "--detach", first)
    assert git_commit(here) == first
    assert git_branch(here) == ""


def test_outside_of_git_and_before_a_first_commit_there_is_none(tmp_path: Path) -> None:
    assert git_commit(tmp_path) == git_branch(tmp_path) == ""
    git(tmp_path, "init", "-q")
    assert git_commit(tmp_path) == ""
    (tmp_path / ".git" / "HEAD").write_bytes(b"\xff\xfe")
    assert git_commit(tmp_path) == ""
