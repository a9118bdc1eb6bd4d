"""``orc fork`` and ``orc diff`` of runs: what is said before and after, as text and as data."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Orc, validate

FLOWS = "tests.app.fork_flows"


def test_a_fork_says_what_is_history_what_runs_and_how_both_runs_compare(orc: Orc, tmp_path: Path) -> None:
    ledger = f"ledger={tmp_path / 'ledger'}"
    assert orc("run", f"{FLOWS}:job", ledger).code == 0
    run = orc.newest()

    planned = orc("fork", run, "--from", "train", "lr=5", "--code", f"{FLOWS}:job", "--dry-run", "--json")
    document = planned.document("fork")
    nodes = {item["node"]: (item["action"], item["finished"], item["part"]) for item in document["nodes"]}
    assert nodes["shift"] == ("keep", 4, "")
    assert nodes["train"] == ("drop", 1, "parameters")
    assert (document["step"], document["acting"]) == ("train", ["publish"])
    assert orc.newest() == run, "a dry run makes nothing"

    refused = orc("fork", run, "--from", "train")
    assert refused.code == 1
    assert "--repeat 'publish'" in refused.err
    earlier = orc("fork", run, "--from", "train", "n=3", "--code", f"{FLOWS}:job")
    assert (earlier.code, "[ORC-207]" in earlier.err, "--from 'load'" in earlier.err) == (1, True, True)
    assert orc("fork", run, "--from", "trian").code == 4

    forked = orc("fork", run, "--from", "train", "lr=5", "--code", f"{FLOWS}:job", "--repeat", "publish", "--json")
    assert forked.code == 0, forked.err
    *facts, compared = map(json.loads, forked.out.splitlines())
    for fact in facts:
        validate(fact, "event")
    validate(compared, "diff-of-runs")
    assert facts[-1]["result"] == ["published 320", 4]
    assert (compared["before"], compared["forked_from"], compared["first"]) == (run, "train", "train")
    assert compared["params"] == [{"name": "lr", "before": "2", "after": "5"}]
    steps = {step["address"]: step for step in compared["steps"]}
    assert (steps["shift"]["reused_from_history"], steps["shift"]["busy_s_after"]) == (4, None)
    assert (steps["train"]["differing"], steps["train"]["before"] != steps["train"]["after"]) == (1, True)
    assert steps["train"]["cpu_s_after"] > 0
    metrics = {row["name"]: (row["before"], row["after"]) for row in compared["metrics"]}
    assert metrics == {"train loss": ("0.333333", "0.166667")}

    fork = orc.newest()
    told = orc("diff", run, fork)
    assert told.code == 0
    assert told.out.startswith(f"{fork}, a fork of it from train, differs from {run} in 1 parameter")
    assert "it began at train: lr is 5 instead of 2" in told.out
    assert orc("diff", run, fork, "--json").document("diff-of-runs") == compared
    assert orc("diff", run, "nothing-like-it").code == 4
    assert orc("diff", run, run).code == 2
    text = orc("fork", fork, "--from", "beside")
    assert "fork of" in text.err
    assert "all that differs: orc diff" in text.err


def test_other_parameters_alone_take_the_pipeline_from_where_the_run_had_it(orc: Orc, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    text = """
from orchestrator import pipeline, stage

@stage
def a(n: int) -> int:
    return n

@stage
def b(x: int, k: int) -> int:
    return x * k

@pipeline
def p(n: int = 2, k: int = 3) -> int:
    return b(a(n), k)
"""
    (project / "flow.py").write_text(text)
    assert orc("run", "flow:p", cwd=project).out == "6\n"
    run = orc.newest()
    forked = orc("fork", run, "--from", "b", "k=10", cwd=project)
    assert forked.out == "20\n"
    assert "with flow:p as it is now" in forked.err
    assert "k is 10 instead of 3" in forked.err
    elsewhere = orc("fork", run, "--from", "b", "k=10", cwd=tmp_path)
    assert elsewhere.out == "20\n", "project/flow.py is importable from above, too"
    (project / "flow.py").write_text(text.replace("def p(", "def q("))
    gone = orc("fork", run, "--from", "b", "k=11", cwd=project)
    assert gone.code == 2
    assert "no such pipeline any more; name the pipeline 'p': --code module:pipeline" in gone.err
    assert orc("fork", run, "--from", "b", cwd=project).out == "6\n", "the code on record is in its capsule"
