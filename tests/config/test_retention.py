"""Which runs a policy keeps, and the file that policies are written in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.config.retention import FILE, Policy, Retention, decide, read_retention
from orchestrator.errors import ConfigError
from orchestrator.ports.journal import RunRow

DAY_S = 86_400.0
NOW = 1000 * DAY_S


def row(run: str, days_ago: float, state: Any = "succeeded", pipeline: str = "churn", **tags: str) -> RunRow:
    ended = None if state in ("queued", "running", "waiting") else NOW - days_ago * DAY_S
    return RunRow(run, pipeline, state, 9, 1, NOW - days_ago * DAY_S - 60, finished_at=ended, tags=tags)


def going(rows: list[RunRow], policy: Policy | None, *in_cache: str) -> list[str]:
    return [row.id for row in decide(rows, Retention(policy), in_cache, NOW).going]


def test_without_a_policy_everything_stays() -> None:
    decided = decide([row("a", 1), row("b", 900)], Retention(), (), NOW)
    assert (decided.going, decided.kept) == ([], {"no policy": 2})


def test_a_run_stays_if_any_rule_keeps_it() -> None:
    rows = [row("a", 1), row("b", 2), row("c", 20), row("d", 40), row("e", 50, release="1"), row("f", 60, release="2")]
    assert going(rows, Policy(keep_last=2)) == ["c", "d", "e", "f"]
    assert going(rows, Policy(keep_for_s=30 * DAY_S)) == ["d", "e", "f"]
    assert going(rows, Policy(1, 30 * DAY_S, {"release": None})) == ["d"]
    assert going(rows, Policy(1, 30 * DAY_S, {"release": "1"})) == ["d", "f"]


@pytest.mark.parametrize("state", ["queued", "running", "waiting"])
def test_what_has_not_ended_stays_and_does_not_count(state: str) -> None:
    rows = [row("now", 0, state), row("a", 1), row("b", 2), row("old", 900, state)]
    assert going(rows, Policy(keep_last=1)) == ["b"]


def test_the_newest_success_stays_behind_any_number_of_failures() -> None:
    rows = [row("a", 1, "failed"), row("b", 2, "cancelled"), row("c", 3), row("d", 4)]
    assert going(rows, Policy(keep_last=1)) == ["b", "d"]


def test_runs_whose_outputs_the_cache_hands_out_stay() -> None:
    rows = [row("a", 1), row("b", 2), row("c", 3)]
    assert going(rows, Policy(keep_last=1), "b") == ["c"]


def test_pipelines_are_counted_apart_and_may_have_their_own_policy() -> None:
    rows = [row(f"{name}{i}", i, pipeline=name) for i in range(3) for name in ("churn", "demand", "fraud")]
    retention = Retention(Policy(keep_last=1), {"demand": Policy(keep_last=2), "fraud": None})
    assert [run.id for run in decide(rows, retention, (), NOW).going] == ["churn1", "churn2", "demand2"]


def test_the_file(tmp_path: Path) -> None:
    assert read_retention(tmp_path) == Retention()
    (tmp_path / FILE).write_text(
        "default: {keep_last: 20, keep_for: 30d}\n"
        "pipelines:\n  churn: {keep_for: 3600, keep_tags: {release: ~, stage: prod}}\n  audit: ~\n"
    )
    assert read_retention(tmp_path) == Retention(
        Policy(20, 30 * DAY_S), {"churn": Policy(None, 3600.0, {"release": None, "stage": "prod"}), "audit": None}
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("default: {keep_lst: 3}", ":1.*keep_lst.*keep_last"),
        ("pipelines:\n  churn: {keep_for: soon}", ":2.*soon"),
        ("default: {keep_last: 0}", ":1.*less than 1"),
        ("default: {keep_tags: {release: ~}}", ":1.*neither how many"),
        ("default: [", "not YAML"),
        ("pipelines: 3", "pipelines"),
    ],
)
def test_a_broken_file_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ConfigError, match=f"(?s){FILE}.*{message}"):
        read_retention(tmp_path)
