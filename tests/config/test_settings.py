"""Settings from the environment."""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path

import pytest

from orchestrator.config.settings import Settings, misspelt_variables, without_password
from orchestrator.errors import ConfigError


def test_defaults_are_under_the_users_home() -> None:
    settings = Settings.from_environment({})
    home = Path.home() / ".orc"
    assert settings.home == home
    assert settings.journal_url == f"sqlite:///{home}/journal.db"
    assert settings.artifacts_url == f"file://{home}/artifacts"
    assert settings.ray_address is None
    assert settings.slots >= 1


def test_everything_moves_with_the_home(tmp_path: Path) -> None:
    settings = Settings.from_environment({"ORC_HOME": str(tmp_path / "a b")})
    assert settings.journal_url == f"sqlite:///{tmp_path}/a b/journal.db"
    assert settings.artifacts_url == f"file://{tmp_path}/a b/artifacts"
    for directory in (settings.logs_dir, settings.keys_dir, settings.capsules_dir, settings.locks_dir):
        assert directory.parent == tmp_path / "a b"


def test_relative_home_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings.from_environment({"ORC_HOME": "here"}).home == tmp_path / "here"


def test_reading_creates_nothing_and_create_home_is_private(tmp_path: Path) -> None:
    settings = Settings.from_environment({"ORC_HOME": str(tmp_path / "home")})
    assert not settings.home.exists()
    assert settings.create_home() is settings
    assert settings.create_home().keys_dir.is_dir()
    assert stat.S_IMODE(settings.home.stat().st_mode) == 0o700
    assert stat.S_IMODE(settings.keys_dir.stat().st_mode) == 0o700


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="ORC_HOME cannot be used"):
        Settings.from_environment({"ORC_HOME": str(tmp_path / "file")}).create_home()


def test_explicit_values_win() -> None:
    settings = Settings.from_environment(
        {
            "ORC_STORE": "postgresql+psycopg://me:pw@db/orc",
            "ORC_ARTIFACTS": "s3://bucket/prefix/",
            "ORC_RAY_ADDRESS": "ray://head:10001",
            "ORC_SLOTS": "3",
        }
    )
    assert settings.journal_url == "postgresql+psycopg://me:pw@db/orc"
    assert settings.artifacts_url == "s3://bucket/prefix"
    assert settings.ray_address == "ray://head:10001"
    assert settings.slots == 3


def test_empty_variables_are_as_good_as_none() -> None:
    empty = dict.fromkeys(("ORC_HOME", "ORC_STORE", "ORC_ARTIFACTS", "ORC_RAY_ADDRESS", "ORC_SLOTS"), " ")
    assert Settings.from_environment(empty) == Settings.from_environment({})


def test_artifacts_may_be_a_plain_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings.from_environment({"ORC_ARTIFACTS": "kept"}).artifacts_url == f"file://{tmp_path}/kept"


@pytest.mark.parametrize("slots", ["0", "-1", "two", "1.5", "²"])
def test_bad_slots_are_refused(slots: str) -> None:
    with pytest.raises(ConfigError, match="ORC_SLOTS"):
        Settings.from_environment({"ORC_SLOTS": slots})


@pytest.mark.parametrize(("lease", "lease_s"), [("2s", 2.0), ("1m", 60.0), ("", 10.0)])
def test_the_time_of_a_lease(lease: str, lease_s: float) -> None:
    assert Settings.from_environment({"ORC_LEASE": lease}).lease_s == lease_s


@pytest.mark.parametrize("lease", ["0s", "2h", "soon", "-1s"])
def test_a_bad_lease_is_refused(lease: str) -> None:
    with pytest.raises(ConfigError, match="ORC_LEASE"):
        Settings.from_environment({"ORC_LEASE": lease})


@pytest.mark.parametrize("store", ["journal.db", "mysql://db/orc", "http://[bad"])
def test_bad_store_is_refused(store: str) -> None:
    with pytest.raises(ConfigError, match="ORC_STORE"):
        Settings.from_environment({"ORC_STORE": store})


def test_passwords_are_shown_nowhere() -> None:
    settings = Settings.from_environment({"ORC_STORE": "postgresql://me:s3:cr@t@db/orc"})
    assert "cr@t" not in repr(settings)
    assert settings.journal_label == "postgresql://me:***@db/orc"
    with pytest.raises(ConfigError) as refused:
        Settings.from_environment({"ORC_STORE": "mysql://me:secret@db/orc"})
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["sqlite:////a/b.db", "s3://bucket/key", "postgresql://me@db:5432/orc", "plain"])
def test_urls_without_password_stay_as_they_are(url: str) -> None:
    assert without_password(url) == url


def test_slots_default_to_the_cpus_of_this_process() -> None:
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert Settings.from_environment({}).slots == available


def test_misspelt_variables_are_found() -> None:
    env = {"ORC_STROE": "x", "ORC_PARAM_LR": "1", "ORC_HOME": "/", "ORC_COMPLETELY_ELSE": "1", "PATH": ""}
    assert misspelt_variables(env) == {"ORC_STROE": "ORC_STORE"}


@pytest.mark.parametrize(("text", "size"), [("", 2.0**30), ("512MiB", 2.0**29), ("1000", 1000.0), ("off", math.inf)])
def test_how_large_a_large_table_is(text: str, size: float) -> None:
    assert Settings.from_environment({"ORC_LARGE_TABLE": text}).large_table_bytes == size


@pytest.mark.parametrize("text", ["much", "-1", "2 elephants"])
def test_a_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="ORC_LARGE_TABLE is"):
        Settings.from_environment({"ORC_LARGE_TABLE": text})
