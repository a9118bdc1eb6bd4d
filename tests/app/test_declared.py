"""What a project declares about running by itself: in code and in files, read again only when it has changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.app import declared as module
from orchestrator.app.declared import AGAIN_S, UNASKED, Declared, Triggered, content_of
from orchestrator.app.installation import Installation
from orchestrator.app.triggers import Triggers
from orchestrator.config.settings import Settings
from orchestrator.errors import ConfigError, NotFound
from orchestrator.testing.clock import FakeClock

FLOWS = """
import os, pathlib
with pathlib.Path("asked").open("a") as file:
    file.write(f"{os.getpid()}\\n")
from dataclasses import dataclass
from orchestrator import File, pipeline, stage
from orchestrator.triggers import artifact, cron, webhook

@dataclass
class Size:
    wide: int

@stage
def one(x: int = 1) -> int:
    return x

@pipeline(on=[cron("0 2 * * *", tz="Europe/Berlin"), webhook("go")], concurrency=2)
def flow(path: File, n: int, size: Size, rate: float = 0.5, names: list[str] = []) -> int:
    return one(n)

@pipeline
def plain() -> int:
    return one(1)
"""


@pytest.fixture
def here(tmp_path: Path) -> Installation:
    return Installation(Settings.from_environment({"ORC_HOME": str(tmp_path / "home")}))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "configs").mkdir(parents=True)
    (root / "flows.py").write_text(FLOWS)
    return root


def write(project: Path, **files: str) -> None:
    for name, text in files.items():
        (project / "configs" / f"{name}.yaml").write_text(text)


def read(declared: Declared) -> dict[str, Triggered]:
    return {one.name: one for one in declared.read()}


def told(found: Triggered) -> list[str]:
    return [one.trigger.text for one in found.triggers]


def test_code_and_files_say_what_fires_and_files_come_first(here: Installation, project: Path) -> None:
    write(
        project,
        coded="pipeline: flows:flow\nparams: {n: 3}\n",
        silent="extends: coded.yaml\non: []\n",
        other="extends: coded.yaml\non: [{artifact: daily, misfire: all}]\nconcurrency: 1\n",
        drawn="graph: {a: {uses: 'flows:one', with: {x: 2}}}\noutput: $a\non: [{webhook: go}]\n",
        plain="pipeline: flows:plain\n",
        misfiring="pipeline: flows:plain\non:\n  - cron: '0 2 * * *'\n    misfire: never\n",
        timeless="pipeline: flows:plain\non:\n  - cron: '0 25 * * *'\n",
        twice="pipeline: flows:plain\non: [{webhook: a}, {webhook: a}]\n",
        gone="pipeline: nowhere:flow\non: [{webhook: gone}]\n",
    )
    found = read(Declared(here, project))
    assert told(found["coded"]) == ["0 2 * * * (Europe/Berlin)", "events posted to go"]
    assert (found["coded"].concurrency, told(found["silent"]), found["silent"].concurrency) == (2, [], 2)
    assert (told(found["other"]), found["other"].concurrency) == (["new versions of data:daily"], 1)
    assert (told(found["drawn"]), told(found["plain"])) == (["events posted to go"], [])
    assert "misfiring.yaml:4" in found["misfiring"].problem
    assert "'never' is none of latest, all, skip" in found["misfiring"].problem
    assert "timeless.yaml:3: cron('0 25 * * *'): bad hour" in found["timeless"].problem
    assert "twice.yaml:2" in found["twice"].problem
    assert ("there is no module 'nowhere'" in found["gone"].problem, told(found["gone"])) == (
        True, ["events posted to gone"],
    )  # fmt: skip
    takes = {one.name: one for one in found["coded"].takes or ()}
    assert [name for name, one in takes.items() if one.needed] == ["path", "size"]  # n stands in the file
    assert (takes["path"].accepts["type"], takes["rate"].accepts["type"]) == ("string", "number")
    assert takes["names"].accepts["items"] == {"type": "string"}


def test_code_is_asked_by_another_process_and_only_if_something_has_changed(
    here: Installation, project: Path
) -> None:  # fmt: skip
    write(project, coded="pipeline: flows:flow\n")
    first = Declared(here, project)
    assert [one.problem for one in first.known()] == [UNASKED]  # to look runs no code
    assert not (project / "asked").exists()
    assert len(read(first)["coded"].triggers) == 2
    assert [len(one.triggers) for one in first.known()] == [2]
    read(first)
    assert len(read(Declared(here, project))["coded"].triggers) == 2  # also not after a restart
    asked = (project / "asked").read_text().split()
    assert (len(asked), int(asked[0]) != os.getpid()) == (1, True)
    (project / "flows.py").write_text(FLOWS.replace("0 2 * * *", "30 3 * * *"))
    assert told(read(first)["coded"])[0] == "30 3 * * * (Europe/Berlin)"
    assert len((project / "asked").read_text().split()) == 2


def test_broken_code_leaves_what_it_said_before(
    here: Installation, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project, coded="pipeline: flows:flow\n")
    declared = Declared(here, project)
    before = told(read(declared)["coded"])
    (project / "flows.py").write_text("import nothing_like_this\n" + FLOWS)
    broken = read(declared)["coded"]
    assert (told(broken), "nothing_like_this" in broken.problem) == (before, True)
    (project / "flows.py").write_text("import os\nos._exit(3)\n")
    assert (told(read(declared)["coded"]), "without an answer" in read(declared)["coded"].problem) == (before, True)
    (project / "flows.py").write_text(FLOWS)
    monkeypatch.setattr(module, "AGAIN_S", -1.0)
    assert read(declared)["coded"].problem == ""


def test_a_folder_of_pipelines_that_is_away_is_not_read_as_empty(here: Installation, project: Path) -> None:
    declared = Declared(here, project)
    folder, elsewhere = project / "configs", project / "elsewhere"
    folder.rename(elsewhere)
    assert read(declared) == {}  # it was never there: nothing is declared
    elsewhere.rename(folder)
    write(project, coded="pipeline: flows:flow\n")
    assert len(read(declared)) == 1
    folder.rename(elsewhere)
    for one in (declared, Declared(here, project)):
        with pytest.raises(ConfigError, match="configs any more"):
            one.read()
    elsewhere.rename(folder)
    assert len(read(declared)["coded"].triggers) == 2


def test_code_that_could_not_be_imported_once_is_asked_again(here: Installation, project: Path) -> None:
    clock = here.clock = FakeClock()  # type: ignore[assignment]
    package = project.parent / "package"
    (project / "flows.py").write_text(f"import pathlib\npathlib.Path({str(package)!r}).read_text()\n{FLOWS}")
    write(project, coded="pipeline: flows:flow\n")
    declared = Declared(here, project)
    assert "FileNotFoundError" in read(declared)["coded"].problem
    package.write_text("is there now")
    assert "FileNotFoundError" in read(declared)["coded"].problem  # it was asked a moment ago
    clock.advance(AGAIN_S + 1)  # type: ignore[attr-defined]
    assert (read(declared)["coded"].problem, len((project / "asked").read_text().split())) == ("", 1)
    clock.advance(AGAIN_S + 1)  # type: ignore[attr-defined]
    read(declared)
    assert len((project / "asked").read_text().split()) == 1  # what it said is good


def test_an_answer_that_was_a_problem_does_not_outlive_who_got_it(here: Installation, project: Path) -> None:
    package = project.parent / "package"
    (project / "flows.py").write_text(f"import pathlib\npathlib.Path({str(package)!r}).read_text()\n{FLOWS}")
    write(project, coded="pipeline: flows:flow\n")
    assert read(Declared(here, project))["coded"].problem
    package.write_text("is there now")
    assert read(Declared(here, project))["coded"].problem == ""


def test_what_is_no_code_of_the_project_changes_nothing(project: Path) -> None:
    content = content_of(project)
    for folder in (".git", "__pycache__", "env"):
        (project / folder).mkdir()
        (project / folder / "x.py").write_text("1")
        if folder == "env":
            (project / folder / "pyvenv.cfg").write_text("")
    (project / "data.csv").write_text("1")
    assert content_of(project) == content
    (project / "more.py").write_text("1")
    assert content_of(project) != content


def test_much_data_in_a_project_hides_no_change_of_code_beside_it(
    here: Installation, project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_MOST_FILES", 5)
    data, inner = project / "data", project / "src" / "data"
    for folder in (data, inner, project / "src" / "own"):
        folder.mkdir(parents=True)
    for number in range(6):
        (data / f"{number}.csv").write_text("")
        (inner / f"{number}.csv").write_text("")
    for code in (project / "configs" / "x.yaml", project / "src" / "m.py", project / "src" / "own" / "m.py"):
        before = content_of(project)
        code.write_text("x: 1")
        assert content_of(project) != before, code
    assert content_of(project).left_out == (data, inner)
    declared = Declared(here, project)
    for _ in range(2):
        declared.read()
    assert [one.getMessage().partition(" has too many files")[0] for one in caplog.records] == [str(data), str(inner)]


def test_an_event_reaches_every_pipeline_that_waits_for_it(here: Installation, project: Path) -> None:
    write(
        project, a="pipeline: flows:plain\non: [{webhook: both}]\n", b="pipeline: flows:plain\non: [{webhook: both}]\n"
    )
    triggers = Triggers(here, project, ask_code=True)
    firings = triggers.deliver("both", {}, "key", "an event")
    assert [one.pipeline for one in firings] == ["a", "b"]
    assert [one.key for one in triggers.deliver("both", {}, "key", "an event")] == [one.key for one in firings]
    find: Callable[[str], object] = triggers.find
    for name in ("both", "", "c"):  # two have it, or none
        with pytest.raises(NotFound):
            find(name)
    assert triggers.find("a.web").pipeline.name == "a"
