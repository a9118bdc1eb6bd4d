"""Checks and other options that pipeline files and command lines set, and parts of graphs written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.config.graph_file import graph_pipeline
from orchestrator.config.job import load_job
from orchestrator.config.pipeline_file import parse_pipeline_file
from orchestrator.errors import ChecksFailed, ConfigError, RunFailed
from orchestrator.testing import InProcess

STAGES = "tests.config.loose_stages"
CHECKED = f"""
graph:
  made: {{uses: "{STAGES}:items", with: {{n: $params.n}}}}
  count:
    uses: {STAGES}:several
    with: {{xs: [1, 2, 3], last: $made}}
    options: {{checks: [{{uses: "{STAGES}:at_most", with: {{limits: [5, 3]}}, severity: warn}}], publish: "data:count"}}
params: {{n: 3}}
output: $count
"""


def write(directory: Path, text: str, name: str = "flow.yaml") -> str:
    path = directory / name
    path.write_text(text)
    return str(path)


def names(file: str, *arguments: str, node: str = "count", env: dict[str, str] | None = None) -> tuple[str, ...]:
    stage = load_job(file, arguments, env or {}).pipeline.graph().node(node).stage
    assert stage is not None
    return stage.checks


def test_checks_come_from_code_file_extending_file_and_command_line_the_last_one_counting(tmp_path: Path) -> None:
    bare = CHECKED.replace("    options:", "    # options:")
    assert names(write(tmp_path, bare, "bare.yaml")) == ("at most 9",)
    base = write(tmp_path, CHECKED, "base.yaml")
    assert names(base) == ("at most 3 (warns)",)
    over = write(
        tmp_path,
        f"extends: base.yaml\nstages: {{several: {{checks: [{{uses: '{STAGES}:AtMost', with: {{limit: 2}}}}]}}}}",
        "over.yaml",
    )
    assert names(over) == ("at most 2",)
    assert names(over, f"stages.count.checks=[{{uses: '{STAGES}:AtMost', with: {{limit: 1}}}}]") == ("at most 1",)
    assert names(over, "stages.count.checks=[]") == ()


def test_checks_of_a_file_count_in_the_fingerprint_like_those_of_the_code(tmp_path: Path) -> None:
    file = write(tmp_path, CHECKED)
    same = f"stages.several.checks=[{{uses: '{STAGES}:AtMost', with: {{limit: 9}}}}]"
    other = same.replace("limit: 9", "limit: 8")
    bare = write(tmp_path, CHECKED.replace("    options:", "    # options:"), "bare.yaml")
    prints = [
        load_job(*what).pipeline.graph().node("count").stage for what in ((bare,), (bare, [same]), (file, [same]))
    ]
    assert len({spec.fingerprint for spec in prints if spec}) == 1
    changed = load_job(file, [other]).pipeline.graph().node("count").stage
    assert changed is not None
    assert prints[0] is not None
    assert changed.fingerprint != prints[0].fingerprint


def test_checks_of_a_file_run_where_the_stage_runs(tmp_path: Path) -> None:
    here = InProcess(tmp_path / "home")
    file = write(tmp_path, CHECKED)
    run = here.run(load_job(file).pipeline)
    (report,) = run["count"].checks
    found = report.outcome
    assert (run.state, run.result(), found.name, found.state) == ("succeeded", 3, "at most 3", "passed")
    strict = load_job(file, [f"stages.count.checks=[{{uses: '{STAGES}:AtMost', with: {{limit: 2}}}}]",
                             "stages.count.retries=0", "stages.count.timeout=1m"])  # fmt: skip
    degraded = here.run(strict.pipeline)
    assert degraded.state == "degraded", "the stage has a fallback"
    made = load_job(file, [f"stages.made.checks=[{{uses: '{STAGES}:AtMost', with: {{limit: 2}}}}]"])
    with pytest.raises(RunFailed) as failed:
        here.run(made.pipeline)
    assert "'<=' not supported" in str(failed.value) or ChecksFailed.__name__ in str(failed.value)


@pytest.mark.parametrize(
    ("checks", "complaint"),
    [
        (f"[{{uses: '{STAGES}:at_mots'}}]", "has no 'at_mots'; did you mean 'at_most'"),
        (f"[{{uses: '{STAGES}:AtMost', wiht: {{}}}}]", "unknown key 'wiht'; did you mean 'with'"),
        (f"[{{uses: '{STAGES}:AtMost', with: {{limt: 3}}}}]", "unexpected keyword argument 'limt'"),
        (f"[{{uses: '{STAGES}:AtMost', with: {{limit: 3}}, severity: warning}}]", "'warning' is none of block, warn"),
        (f"[{{uses: '{STAGES}:at_most', with: {{limits: 3}}}}]", "limits is a list, not 3"),
        (f"[{{uses: '{STAGES}:one', with: {{x: 3}}}}]", "which is no check"),
        (f"[{{uses: '{STAGES}:AtMost', with: {{limit: $made}}}}]", "nothing can be referred to here"),
        (f"[{{uses: '{STAGES}:__name__'}}]", "is a str, which makes no check"),
        ("[{with: {}}]", "the key 'uses' is missing"),
        ("3", "3 is not a list"),
    ],
)
def test_wrong_checks_are_refused_with_their_line(checks: str, complaint: str, tmp_path: Path) -> None:
    file = write(tmp_path, f"extends: base.yaml\nstages:\n  count:\n    checks: {checks}\n", "over.yaml")
    write(tmp_path, CHECKED, "base.yaml")
    with pytest.raises(ConfigError, match=complaint) as refused:
        load_job(file, [], {}).pipeline.graph()
    assert "over.yaml:4: " in str(refused.value)
    inside = CHECKED.replace("limits: [5, 3]", "limts: [5]")
    with pytest.raises(ConfigError, match=r"flow\.yaml:7: .*unexpected keyword argument 'limts'"):
        load_job(write(tmp_path, inside), [], {}).pipeline.graph()


def test_the_environment_sets_parameters_between_the_file_and_the_command_line(tmp_path: Path) -> None:
    write(tmp_path, CHECKED, "base.yaml")
    file = write(tmp_path, "extends: base.yaml\nparams: {n: 4}", "over.yaml")

    def n(arguments: list[str], env: dict[str, str]) -> Any:
        job = load_job(file, arguments, env)
        return job.pipeline.graph(**job.params).node("made").args["n"]

    assert [n(*what).value for what in (([], {}), ([], {"ORC_PARAM_N": "5"}), (["n=6"], {"ORC_PARAM_N": "5"}))] == [
        4,
        5,
        6,
    ]


def flow(text: str) -> Any:
    return graph_pipeline(parse_pipeline_file(text, "flow"))


def test_branches_and_inner_graphs_have_scopes_and_hand_out_their_output() -> None:
    made = flow(
        f"""
params: {{n: 2}}
graph:
  load:
    graph:
      rows: {{uses: "{STAGES}:items", with: {{n: $params.n}}}}
      first: {{uses: "{STAGES}:one", with: {{x: "$rows[0]"}}}}
    output: {{rows: $rows, first: $first}}
  choice:
    if: $load.first
    then: {{uses: "{STAGES}:one", name: picked, with: {{x: $load.rows}}}}
    else:
      graph:
        count: {{uses: "{STAGES}:several", with: {{xs: [$load.first, 1]}}}}
        twice: {{uses: "{STAGES}:one", with: {{x: $count}}}}
      output: [$twice, {{$tuple: [$count]}}]
output: $choice
"""
    )
    assert made() == [2, (2,)]
    ids = [node.id for node in made.graph().nodes]
    assert ids == [
        "load/rows", "load/first", "when/branch", "when/then/picked", "when/otherwise/count", "when/otherwise/twice",
        "when/otherwise/pack", "when/choice",
    ]  # fmt: skip


def test_nodes_keep_the_order_of_the_file_as_far_as_they_can() -> None:
    call = f'{{uses: "{STAGES}:one"'
    graph = flow(
        f"graph:\n  c: {call}, with: {{x: $a}}}}\n  b: {call}}}\n  a: {call}}}\n  d: {call}, name: b}}"
    ).graph()
    assert [node.id for node in graph.nodes] == ["b", "a", "c", "b#2"]


@pytest.mark.parametrize(
    ("node", "complaint"),
    [
        ("{name: x}", "the key 'uses' is missing"),
        ("{uses: 'S:one', graph: {}}", "either 'uses' or 'graph'"),
        ("{uses: 'S:one', then: 3, if: true}", "either 'uses' or 'then'"),
        ("{then: 3}", "'then' needs 'if'"),
        ("{if: true, graph: {}}", "stands under 'then'"),
        ("{if: true, then: 3, name: x}", "a choice has no name of its own"),
        ("{uses: 'S:one', optons: {}}", "did you mean 'options'"),
        ("{uses: 'S:one', options: {retrys: 3}}", "did you mean 'retries'"),
        ("{uses: 'S:one', options: {name: x}}", "unknown key 'name'"),
        ("{uses: 'orchestrator:approve', name: x, with: {text: a}}", "only stages are given names"),
        ("{graph: {a: {uses: 'S:one'}}}", "there is another node 'a' around"),
        ("{graph: {b: {uses: 'S:one', with: {x: $c}}}}", "there is no node 'c'"),
        ("{if: true, then: {uses: 'S:one', if: true}}", "unknown key 'if'"),
        ("{if: true, then: {graph: {b: {usse: 'S:one'}}}}", "did you mean 'uses'"),
        ("{uses: 'S:one', with: {x: {$tupel: [1]}}}", r"did you mean '\$tuple'"),
        ("{uses: 'S:one', with: {x: {$tuple: 1}}}", "takes a list"),
        ("{uses: 'S:one', with: {x: {$new: 'S:at_most'}}}", "is no dataclass"),
        ("{uses: 'S:one', with: {x: {$new: 'S:Settings'}}}", "missing 1 required positional argument: 'name'"),
        ("{uses: 'S:one', with: {x: {$tuple: [], y: 1}}}", r"beside \$tuple there cannot be 'y'"),
        ("{uses: 'S:one', with: {x: {$secret: hunter2}}}", "a Secret says where its value is found"),
        ("{uses: 'S:one', with: {x: {$version: flights}}}", "names no version"),
        ("{uses: 'S:several', with: {xs: $other}}", r"\*xs is a list of arguments"),
    ],
)
def test_wrong_nodes_are_refused_with_their_line(node: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as refused:
        flow(f"graph:\n  other: {{uses: '{STAGES}:items'}}\n  a: {node.replace('S:', STAGES + ':')}").graph()
    assert "flow.yaml:3: " in str(refused.value)
