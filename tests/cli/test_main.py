"""The entry point: help, dispatch, exit codes, and how errors are told."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator import errors
from orchestrator.cli.documents import DOCUMENTS, schema
from orchestrator.cli.exit_code import ExitCode, exit_code_of, tell
from orchestrator.cli.main import COMMANDS, help_text, main
from tests.cli.conftest import ROOT, Orc


def test_help_names_every_command() -> None:
    text = help_text()
    assert all(f"  {name} " in text for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    out = capsys.readouterr().out
    assert ended.value.code == 0
    assert f"Usage: orc {name}" in out
    assert "Show this message" in out


def test_help_loads_nothing_it_does_not_need() -> None:
    heavy = ["typer", "rich", "ray", "pyarrow", "numpy", "yaml", "msgspec", "sqlalchemy", "orchestrator.app"]
    code = (
        "import sys\nfrom orchestrator.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        f"sys.exit(len([name for name in {heavy!r} if name in sys.modules]))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=600).returncode == 0


def test_help_is_quick() -> None:
    def took() -> float:
        began = time.perf_counter()
        subprocess.run(Orc.command("--help"), cwd=ROOT, capture_output=True, timeout=600, check=True)
        return time.perf_counter() - began

    bare_began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], timeout=600, check=True)
    bare = time.perf_counter() - bare_began
    assert min(took() for _ in range(5)) < max(0.3, 10 * bare)  # a loaded machine slows the bare start as well


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 2, ""),
        (["--help"], 0, ""),
        (["--version"], 0, ""),
        (["rnu"], 2, "did you mean 'run'"),
        (["run"], 2, "PIPELINE"),
        (["run", "x", "--no-such-option"], 2, "no-such-option"),
        (["run", "nowhere"], 4, "ORC-150"),
        (["run", "nowhere.yaml"], 4, "there is no file"),
        (["run", "nowhere.module:x"], 4, "there is no module"),
        (["run", "tests.cli.flow:load"], 2, "is a Stage, not a pipeline"),
        (["run", "tests.cli.flow:numbres"], 2, "did you mean 'numbers'"),
        (["run", "tests.cli.flow:numbers", "m=3"], 2, "no parameter of this pipeline"),
        (["run", "tests.cli.flow:numbers", "n"], 2, "sets nothing"),
        (["run", "tests.cli.flow:numbers", "n=many"], 2, "command line: numbers: n is to be"),
        (["run", "tests.cli.flow:miswired"], 2, "flow.py:93: "),
        (["run", "tests.cli.flow:raising"], 2, "flow.py:98: "),
        (["run", "tests.cli.flow:numbers", "--on", "moon"], 2, "'local' or 'ray'"),
        (["run", "tests.cli.flow:numbers", "--timeout", "soon"], 2, "ORC-130"),
        (["show", "nothing"], 4, "ORC-150"),
        (["resume", "nothing"], 4, "ORC-150"),
        (["ls", "--state", "runing"], 2, "did you mean 'running'"),
    ],
)
def test_wrong_commands_end_in_one_line(
    arguments: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    assert ended.value.code == code, captured.err
    assert told in captured.err
    assert "Traceback" not in captured.err


def test_a_home_that_cannot_be_used(orc: Orc, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = orc("ls", ORC_HOME=str(tmp_path / "file"))
    assert (done.code, "ORC_HOME" in done.err, "Traceback" in done.err) == (2, True, False)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError(""), ExitCode.USAGE),
        (errors.WrongType(""), ExitCode.USAGE),
        (errors.NotFound(""), ExitCode.NOT_FOUND),
        (errors.ClusterUnreachable(""), ExitCode.UNREACHABLE),
        (errors.RunFailed(""), ExitCode.FAILED),
        (errors.RunOwned(""), ExitCode.FAILED),
        (errors.StepTimedOut(""), ExitCode.FAILED),
        (TimeoutError(), ExitCode.TIMED_OUT),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
        (ValueError(), ExitCode.FAILED),
    ],
)
def test_errors_have_codes(error: BaseException, code: ExitCode) -> None:
    assert exit_code_of(error) is code


def test_only_faults_of_ours_show_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    tell(errors.NotFound("there is no run 'x'"), "orc show")
    assert capsys.readouterr().err == "orc show: there is no run 'x' [ORC-150]\n"
    tell(ValueError("oops"), "orc show")
    told = capsys.readouterr().err
    assert "ValueError: oops" in told
    assert "fault of ours" in told


def test_a_reader_that_goes_away_is_no_error(used: tuple[Orc, object]) -> None:
    orc, _ = used
    command = f"{' '.join(map(repr, Orc.command('ls', '--json')))} | head -c 1"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, env=orc.env, capture_output=True, text=True, timeout=600)
    assert (done.stdout, done.stderr) == ("[", "")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_published_schemas_are_current(name: str) -> None:
    path = ROOT / "docs" / "schemas" / f"{name}.schema.json"
    assert path.read_text() == schema(name), "run: python -m orchestrator.cli.documents docs/schemas"
