"""The index of runs: by a beginning of the id, and in pages."""

from __future__ import annotations

import pytest

from orchestrator.errors import NotFound
from orchestrator.store import SqlJournal
from tests.store.backend import append, facts, row


@pytest.fixture
def filled(journal: SqlJournal) -> SqlJournal:
    for number, run in enumerate(["abc1", "abc12", "abd", "ABX", "a%", "x_y"]):
        pipeline = "churn" if number % 2 else "flights"
        journal.create(row(run, pipeline=pipeline, created_at=float(number), tags={"n": str(number)}), [], {})
    return journal


@pytest.mark.parametrize(
    ("beginning", "found"),
    [("abc1", "abc1"), ("abc12", "abc12"), ("abd", "abd"), ("A", "ABX"), ("a%", "a%"), ("x", "x_y"), ("ab1", "")],
)
def test_one_run_by_a_unique_beginning(filled: SqlJournal, beginning: str, found: str) -> None:
    if found:
        assert filled.run(beginning).id == found
    else:
        with pytest.raises(NotFound):
            filled.run(beginning)


def test_an_ambiguous_beginning_lists_what_it_could_be(filled: SqlJournal) -> None:
    with pytest.raises(NotFound, match="more than one run begins with 'ab': abc1, abc12, abd;"):
        filled.run("ab")
    for number in range(10):
        filled.create(row(f"abz{number}"), [], {})
    with pytest.raises(NotFound, match="abz1, …"):
        filled.run("ab")


@pytest.mark.parametrize(
    "beginning", ["", "zz", "x%", "%", "_", "a'; DROP TABLE run; --", "\0", "\udc80", "\U0010ffff"]
)
def test_what_is_no_run_is_not_found(filled: SqlJournal, beginning: str) -> None:
    with pytest.raises(NotFound):
        filled.run(beginning)


def test_runs_come_newest_first_in_pages(filled: SqlJournal) -> None:
    assert [found.id for found in filled.runs()] == ["x_y", "a%", "ABX", "abd", "abc12", "abc1"]
    first = filled.runs(limit=4)
    second = filled.runs(limit=4, before=first[-1].created_at)
    assert [found.id for found in first + second] == ["x_y", "a%", "ABX", "abd", "abc12", "abc1"]
    assert filled.runs(limit=0) == []
    assert filled.runs(limit=-1) == []
    assert [found.tags for found in first] == [{"n": "5"}, {"n": "4"}, {"n": "3"}, {"n": "2"}]


def test_runs_of_a_pipeline_and_in_a_state(filled: SqlJournal) -> None:
    filled.append(append(0, 0, facts(1), run="abd", state="failed"))
    assert [found.id for found in filled.runs(pipeline="flights")] == ["a%", "abd", "abc1"]
    assert [found.id for found in filled.runs(state="failed")] == ["abd"]
    assert filled.runs(pipeline="churn", state="failed") == []


def test_pages_of_runs_made_at_the_same_time(journal: SqlJournal) -> None:
    for run in "abcde":
        journal.create(row(run, created_at=1.0), [], {})
    first = journal.runs(limit=2)
    second = journal.runs(before=first[-1].created_at, before_id=first[-1].id)
    assert [found.id for found in first + second] == ["e", "d", "c", "b", "a"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ABC", ["abc12", "abc1"]),
        ("LIGHT", ["a%", "abd", "abc1"]),
        ("%", ["a%"]),
        ("4", ["a%"]),
        ("\0", []),
        ("_", ["x_y"]),
    ],
)
def test_runs_with_a_text_in_id_pipeline_or_tag(filled: SqlJournal, text: str, found: list[str]) -> None:
    assert [one.id for one in filled.runs(search=text)] == found


def test_tags_of_many_runs(journal: SqlJournal) -> None:
    for number in range(600):
        journal.create(row(f"r{number}", tags={"n": str(number)}), [], {})
    assert {found.id: found.tags["n"] for found in journal.runs(limit=1000)} == {f"r{n}": str(n) for n in range(600)}
