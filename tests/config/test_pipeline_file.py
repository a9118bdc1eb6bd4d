"""Pipeline files, what they extend, and their schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from orchestrator.config.pipeline_file import parse_pipeline_file, read_pipeline_file
from orchestrator.config.schema import OVERRIDABLE, pipeline_schema, published
from orchestrator.errors import ConfigError, NotFound
from orchestrator.graph.context import PORTS
from orchestrator.graph.options import DYNAMIC_OPTIONS, STAGE_OPTIONS

ROOT = Path(__file__).parents[2]


def test_the_published_schema_is_current() -> None:
    path = ROOT / "docs" / "schemas" / "pipeline.schema.json"
    assert path.read_text() == published(), (
        "run: python -m orchestrator.config.schema > docs/schemas/pipeline.schema.json"
    )


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(pipeline_schema())
    json.dumps(pipeline_schema())


def test_every_option_of_a_stage_can_be_set_but_those_of_its_code() -> None:
    of_the_code = {"name", "streaming", "effects", "uses", "publish", "scope", "by", "merge"}
    assert of_the_code == (STAGE_OPTIONS | DYNAMIC_OPTIONS) - OVERRIDABLE
    assert OVERRIDABLE <= STAGE_OPTIONS | DYNAMIC_OPTIONS


@pytest.mark.parametrize("port", PORTS)
def test_a_call_may_use_each_part_of_the_engine(port: str) -> None:
    graph = f"graph: {{fit: {{uses: 'a.b:c', options: {{uses: [{port}]}}}}}}"
    assert parse_pipeline_file(graph, "fitting").graph["fit"]["options"] == {"uses": [port]}


def test_a_file_that_names_a_pipeline() -> None:
    file = parse_pipeline_file("pipeline: a.b:c\nparams: {x: 1}\nstages: {train: {num_gpus: 0.5}}", "churn")
    assert (file.name, file.target, file.params) == ("churn", "a.b:c", {"x": 1})
    assert file.stages == {"train": {"num_gpus": 0.5}}
    assert file.graph == {}


def test_empty_sections_are_as_good_as_none() -> None:
    with pytest.raises(ConfigError, match="params: null is not a mapping"):
        parse_pipeline_file("pipeline: a:b\nparams:")
    file = parse_pipeline_file("pipeline: a:b")
    assert (file.params, file.stages, file.graph) == ({}, {}, {})


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        ("pipelin: a:b", 1, "unknown key 'pipelin'; did you mean 'pipeline'"),
        ("\npipeline: abc", 2, "not of the form module:name"),
        ("pipeline: a:b\nparams:\n  1x: 3", 3, "'1x' cannot be a name"),
        ("pipeline: a:b\nstages:\n  train:\n    num_gpu: 1", 4, "unknown key 'num_gpu'; did you mean 'num_gpus'"),
        ("pipeline: a:b\nstages:\n  train:\n    num_gpus: x", 4, '"x" is not a number'),
        ("pipeline: a:b\nstages: {t: {num_gpus: -1}}", 2, "-1 is less than 0"),
        ("pipeline: a:b\nstages: {t: {retries: {attempt: 3}}}", 2, "did you mean 'attempts'"),
        ("pipeline: a:b\nstages: {t: {retries: many}}", 2, "is not a whole number or a mapping"),
        ("pipeline: a:b\nstages: {t: {on_item_error: ignore}}", 2, "'ignore' is none of fail, drop, keep"),
        ("pipeline: a:b\nstages: {t: {name: x}}", 2, "unknown key 'name'"),
        ("graph:\n  a: {with: {x: 1}}", 2, "the key 'uses' is missing"),
        ("graph:\n  a: {uses: 'a:b', else: 3}", 2, "'else' needs 'if' beside it"),
        ("graph:\n  a: {uses: 'a:b', map: x}", 2, "'map' needs 'with' beside it"),
        ("graph:\n  params: {uses: 'a:b'}", 2, "'params' cannot be a name here"),
        ("graph:\n  a b: {uses: 'a:b'}", 2, "'a b' cannot be a name here"),
        ("graph: {}", 1, "graph"),
        ("graph: 3", 1, "3 is not a mapping"),
        ("params: {x: 1}", 1, "names no pipeline"),
        ("pipeline: a:b\ngraph: {a: {uses: 'a:b'}}", 2, "not both"),
        ("pipeline: a:b\noutput: $a", 2, "belongs to a 'graph:'"),
        ("pipeline: a:b\nextends: other.yaml", 2, "only a file can extend"),
    ],
)
def test_wrong_files_are_refused_with_line_and_suggestion(text: str, line: int, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as refused:
        parse_pipeline_file(text)
    assert refused.value.details["line"] == line
    assert str(refused.value).startswith(f"pipeline.yaml:{line}: ")


def test_of_several_mistakes_the_first_is_told() -> None:
    with pytest.raises(ConfigError, match="unknown key 'x'"):
        parse_pipeline_file("x: 1\npipeline: 3\ny: 2")


def test_extending_merges_key_by_key(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        "pipeline: a:b\nparams: {x: 1, days: [1, 2]}\nstages: {train: {num_gpus: 1, retries: 2}}\n"
    )
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "small.yaml").write_text(
        "extends: ../base.yaml\nparams: {days: [3]}\nstages: {train: {num_gpus: 0}}\n"
    )
    file = read_pipeline_file(tmp_path / "sub" / "small.yaml")
    assert file.name == "small"
    assert file.params == {"x": 1, "days": [3]}
    assert file.stages == {"train": {"num_gpus": 0, "retries": 2}}
    assert file.document.place(("stages", "train", "retries")).file.endswith("base.yaml")


def test_a_mistake_in_the_base_names_the_base(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("pipeline: a:b\nparms: {}\n")
    (tmp_path / "top.yaml").write_text("extends: base.yaml\n")
    with pytest.raises(ConfigError, match=r"base\.yaml:2: .*did you mean 'params'"):
        read_pipeline_file(tmp_path / "top.yaml")


def test_extending_in_a_circle_or_from_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("\nextends: a.yaml\n")
    with pytest.raises(ConfigError, match=r"b\.yaml:2: .*leads back"):
        read_pipeline_file(tmp_path / "a.yaml")
    (tmp_path / "c.yaml").write_text("extends: none.yaml\n")
    with pytest.raises(NotFound, match=r"c\.yaml:1: .*none\.yaml"):
        read_pipeline_file(tmp_path / "c.yaml")


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_file_is_valid(path: Path) -> None:
    read_pipeline_file(path)
