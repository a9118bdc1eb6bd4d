"""From what a command line says to a pipeline that can be run."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.config.job import load_job
from orchestrator.config.locations import find_pipeline_file, import_named, shipped_configs
from orchestrator.errors import ConfigError, InvalidStage, NotFound, WrongType

SUMMED = "tests.config.flow_stages:summed"


def write(directory: Path, name: str, text: str) -> str:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_a_pipeline_by_its_module() -> None:
    job = load_job(SUMMED, ["n=4", "tag=7", "path=2013"], {})
    assert job.params == {"n": 4, "tag": "7", "path": "2013"}
    assert job.pipeline(**job.params) == 12
    assert job.pipeline.name == "summed"


def test_precedence_defaults_file_environment_command_line(tmp_path: Path) -> None:
    file = write(tmp_path, "p.yaml", f"pipeline: {SUMMED}\nparams: {{n: 5, path: file, tag: file}}\n")
    assert load_job(file, [], {}).params == {"n": 5, "path": "file", "tag": "file"}
    job = load_job(file, ["path=line"], {"ORC_PARAM_PATH": "env", "ORC_PARAM_TAG": "env"})
    assert job.params == {"n": 5, "path": "line", "tag": "env"}


def test_options_of_stages_from_file_and_command_line(tmp_path: Path) -> None:
    text = f"pipeline: {SUMMED}\nstages:\n  double: {{num_cpus: 0.5, retries: 2, timeout: 5m}}\n  load: {{cache: 1d}}\n"
    job = load_job(write(tmp_path, "p.yaml", text), ["stages.double.num_cpus=2", "stages.total.memory=1GiB"], {})
    nodes = {node.id: node for node in job.pipeline.graph().nodes}
    assert nodes["double"].policy.resources.num_cpus == 2
    assert nodes["double"].policy.retry.attempts == 3
    assert nodes["double"].policy.timeout_s == nodes["double"].timeout_s == 300
    assert nodes["load"].policy.cache_s == 86400
    assert nodes["total"].policy.resources.memory == 2**30
    assert job.pipeline.options(on="local").graph() == job.pipeline.graph()


def test_retries_with_exceptions_and_a_fallback(tmp_path: Path) -> None:
    retries = "{attempts: 4, backoff: 1s..8s, on: [OSError, 'orchestrator.errors:StepTimedOut']}"
    text = f"pipeline: {SUMMED}\nstages: {{load: {{retries: {retries}, fallback: [1]}}}}"
    node = load_job(write(tmp_path, "p.yaml", text)).pipeline.graph().node("load")
    assert node.policy.retry.attempts == 4
    assert (node.policy.retry.base_s, node.policy.retry.cap_s) == (1, 8)
    assert node.policy.retry.on == ("builtins:OSError", "orchestrator.errors:StepTimedOut")
    assert node.policy.has_fallback
    assert node.fallback is not None
    assert node.fallback.value == [1]


def test_a_dynamic_stage_takes_only_its_own_options(tmp_path: Path) -> None:
    graph = "graph: {best: {uses: 'tests.config.flow_stages:search', with: {xs: [1]}}}"
    file = write(tmp_path, "p.yaml", graph)
    assert load_job(file, ["stages.best.max_steps=9"]).pipeline.graph().node("best").policy.max_steps == 9
    with pytest.raises(ConfigError, match="has no option 'num_gpus'"):
        load_job(file, ["stages.search.num_gpus=1"]).pipeline.graph()


@pytest.mark.parametrize(
    ("stages", "line", "complaint"),
    [
        ("{traen: {retries: 1}}", 2, "no step is called 'traen'"),
        ("\n  doubel: {retries: 1}", 3, "did you mean 'double'"),
        ("\n  load:\n    timeout: soon", 4, "'soon' is not a duration"),
        ("{load: {max_steps: 3}}", 2, "has no option 'max_steps'"),
        ("{load: {retries: {on: [OSErrr]}}}", 2, "did you mean 'OSError'"),
        ("{load: {retries: {on: ['builtins:int']}}}", 2, "no exception class"),
        ("{load: {num_gpus: 1.5}}", 2, "whole number of GPUs"),
    ],
)
def test_wrong_options_are_refused_with_their_line(tmp_path: Path, stages: str, line: int, complaint: str) -> None:
    file = write(tmp_path, "p.yaml", f"pipeline: {SUMMED}\nstages: {stages}\n")
    with pytest.raises(ConfigError, match=complaint) as refused:
        load_job(file).pipeline.graph()
    assert refused.value.details["line"] == line
    with pytest.raises(ConfigError, match="command line"):
        load_job(SUMMED, ["stages.traen.retries=1"], {}).pipeline.graph()


def test_unknown_parameters_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path, "p.yaml", f"pipeline: {SUMMED}\nparams:\n  pth: x\n")
    with pytest.raises(ConfigError, match=r"p\.yaml:3: .*did you mean 'path'"):
        load_job(file, [], {})
    with pytest.raises(ConfigError, match="did you mean 'path'"):
        load_job(SUMMED, ["pth=1"], {})


def test_a_file_that_names_no_pipeline(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.yaml:1: .*is a Stage, not a pipeline"):
        load_job(write(tmp_path, "a.yaml", "pipeline: tests.config.flow_stages:load"))
    with pytest.raises(NotFound, match=r"b\.yaml:1: there is no module 'nowhere'"):
        load_job(write(tmp_path, "b.yaml", "pipeline: nowhere:load"))


def test_files_are_found_by_path_and_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "configs/mine.yaml", f"pipeline: {SUMMED}")
    write(tmp_path, "other.yml", f"pipeline: {SUMMED}")
    assert find_pipeline_file("mine") == tmp_path / "configs" / "mine.yaml"
    assert find_pipeline_file("other.yml") == tmp_path / "other.yml"
    assert find_pipeline_file("configs/mine.yaml", tmp_path) == tmp_path / "configs" / "mine.yaml"
    with pytest.raises(NotFound, match="did you mean 'mine'"):
        find_pipeline_file("mien")
    with pytest.raises(NotFound, match=r"did you mean 'other\.yml'"):
        find_pipeline_file("othr.yml")
    with pytest.raises(NotFound):
        find_pipeline_file("../../etc/passwd")


def test_shipped_files_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shipped_configs().is_dir()
    for path in shipped_configs().glob("*.yaml"):
        assert find_pipeline_file(path.stem) == path


@pytest.mark.parametrize("path", sorted(shipped_configs().glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_file_is_a_pipeline_that_can_be_traced(path: Path) -> None:
    job = load_job(str(path), [], {})
    assert job.pipeline.graph(**job.params).nodes


def test_code_that_fails_while_it_is_traced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    body = "from orchestrator import pipeline\n\n@pipeline\ndef p(n: int = 1) -> int:\n    return 1 // 0\n"
    write(tmp_path, "user_fails.py", body)
    with pytest.raises(ConfigError, match=r"user_fails\.py:5: .*ZeroDivisionError") as refused:
        load_job("user_fails:p").pipeline.graph()
    assert refused.value.details["line"] == 5
    with pytest.raises(WrongType, match=r"^command line: "):
        load_job("user_fails:p").pipeline.graph(n="many")
    file = write(tmp_path, "p.yaml", "pipeline: user_fails:p\nparams: {n: many}\n")
    with pytest.raises(WrongType, match="n is to be") as mistyped:
        load_job(file).pipeline.graph(**load_job(file).params)
    assert str(mistyped.value).startswith(f"{file}:2: ")


def test_importing_what_a_user_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path, "user_broken.py", "1 / 0")
    write(tmp_path, "user_syntax.py", "def (")
    write(tmp_path, "user_exits.py", "raise SystemExit(3)")
    write(tmp_path, "user_needs.py", "import not_installed_anywhere")
    write(tmp_path, "user_stage.py", "from orchestrator import stage\n\n@stage(retreis=2)\ndef f(): ...\n")
    for module, complaint in [
        ("user_broken", "ZeroDivisionError"),
        ("user_syntax", "SyntaxError"),
        ("user_exits", "SystemExit"),
        ("user_needs", "no module 'not_installed_anywhere'"),
    ]:
        with pytest.raises(ConfigError, match=complaint):
            import_named(f"{module}:x")
    with pytest.raises(InvalidStage, match="did you mean 'retries'") as refused:
        import_named("user_stage:f")
    assert refused.value.details["line"] == 3
    with pytest.raises(ConfigError, match="module:name"):
        import_named("user_stage")
