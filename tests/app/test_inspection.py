"""What a node is asked before a run goes to its cluster, asked of this machine, and what follows from the answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.app.inspection import Question, Report, examine, has_password, objection, versions
from orchestrator.app.installation import Installation
from orchestrator.app.submit import node_environment, questioning
from orchestrator.config.settings import Settings
from orchestrator.errors import ConfigError, VersionSkew


def test_a_node_that_sees_what_the_client_sees_has_nothing_against_it_and_nothing_stays_behind() -> None:
    here = Installation()
    with questioning(here) as question:
        again = Question.from_json(question.to_json())
        assert again == question
        assert examine(again) == Report(versions())
        assert objection(question, {"n": examine(question)}) is None
    assert not list(here.settings.home.glob("*seen*"))
    assert list(here.artifacts.list()) == []


def test_another_file_at_the_same_place_is_not_the_same_journal(tmp_path: Path) -> None:
    with questioning(Installation()) as question:
        Path(question.token_file).write_text("of another machine")
        (fault,) = examine(question).faults
        assert "does not see the journal" in fault
        assert "postgresql://" in fault
        Path(question.token_file).unlink()
        assert examine(question).faults == (fault,)


def test_a_file_seen_over_a_network_is_no_journal() -> None:
    with questioning(Installation()) as question:
        (fault,) = examine(replace(question, machine="another")).faults
    assert "over a network" in fault


def test_artifacts_that_are_not_there_are_named() -> None:
    with questioning(Installation()) as question:
        (fault,) = examine(replace(question, artifact="0" * 64)).faults
    assert "does not see the artifacts" in fault
    assert "s3://" in fault


@pytest.mark.parametrize(("there", "said"), [(True, "another key"), (False, "no key")])
def test_a_node_needs_the_key_that_pickles_are_signed_with(there: bool, said: str) -> None:
    here = Installation()
    with questioning(here) as question:
        if not there:
            (here.settings.keys_dir / "signing.key").unlink()
        (fault,) = examine(replace(question, signature="00")).faults
    assert said in fault
    assert "ORC_SIGNING_KEY" in fault
    assert (here.settings.keys_dir / "signing.key").exists() is there


def test_a_url_with_a_password_is_not_sent_and_the_node_must_have_it_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "postgresql://orc:geheim@db/orc"
    settings = Settings.from_environment({"ORC_STORE": secret, "ORC_ARTIFACTS": "s3://b/p", "ORC_HOME": "/h"})
    assert node_environment(settings) == {"ORC_HOME": "/h", "ORC_ARTIFACTS": "s3://b/p"}
    with questioning(Installation()) as question:
        faults = examine(replace(question, store=settings.journal_label)).faults
    assert "geheim" not in repr(faults)
    assert "PGPASSWORD" in faults[0]


def test_a_journal_with_a_relative_name_is_sent_with_an_absolute_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_environment({"ORC_STORE": "sqlite:///here.db"})
    assert node_environment(settings)["ORC_STORE"] == f"sqlite:///{tmp_path}/here.db"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://orc@db/orc", False),
        ("postgresql://orc:pw@db/orc", True),
        ("postgresql://db/orc?user=me&password=pw", True),
        ("s3://bucket/prefix", False),
        ("sqlite:////a/journal.db", False),
    ],
)
def test_passwords_are_found_in_urls(url: str, expected: bool) -> None:
    assert has_password(url) is expected


@pytest.fixture
def question() -> Question:
    return Question("postgresql://db/o", "s3://b", "", "", "", "", "", "", {"python": "3.12.1", "engine": "0.1.0"})


def test_a_skew_is_refused_with_both_sides(question: Question) -> None:
    error = objection(question, {"far (10.0.0.7)": Report({"python": "3.12.1", "engine": "0.2.0"})})
    assert isinstance(error, VersionSkew)
    assert "far (10.0.0.7)" in error.message
    assert "engine 0.1.0 here and 0.2.0 there" in error.message


def test_an_engine_that_is_not_installed_is_brought_along(question: Question) -> None:
    assert objection(question, {"n": Report({"python": "3.12.1"})}) is None


def test_what_is_missing_is_listed_with_the_command_that_installs_it(question: Question) -> None:
    error = objection(question, {"n": Report({"python": "3.12.1"}, ("sqlalchemy", "psycopg"))})
    assert isinstance(error, ConfigError)
    assert "lacks sqlalchemy, psycopg" in error.message
    assert "pip install 'ray-orchestrator[postgres]==0.1.0'" in error.message


def test_the_node_that_cannot_is_named_among_those_that_can(question: Question) -> None:
    reports: dict[str, Report | str] = {"a": Report({}), "b": Report({}, (), ("it does not see the journal",))}
    assert "node b " in str(objection(question, reports))
    assert "could not be looked at: late" in str(objection(question, {"a": Report({}), "c": "late"}))
    assert "no living node" in str(objection(question, {}))
