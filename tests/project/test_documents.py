"""What the documents say is so: links lead somewhere, commands are those that CI runs, code is Python."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from orchestrator.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", target) and not target.startswith("#"):
            assert (path.parent / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_code_is_python(path: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", path.read_text(), flags=re.DOTALL):
        ast.parse(block)


def test_the_commands_that_ci_runs_are_in_the_readme() -> None:
    wanted = re.findall(r"^run_readme_command (\w+)$", (ROOT / ".ci" / "run").read_text(), flags=re.MULTILINE)
    assert "test" in wanted
    readme = (ROOT / "README.md").read_text()
    offered = re.findall(r"^<!-- command: (\w+) -->\n```bash\n.+?\n```$", readme, flags=re.MULTILINE | re.DOTALL)
    assert sorted(wanted) == sorted(offered)


def test_every_command_is_in_the_reference() -> None:
    text = (ROOT / "docs" / "reference" / "command-line.md").read_text()
    assert [name for name in COMMANDS if f"`orc {name}" not in text] == []


def test_the_ci_script_is_bash() -> None:
    assert subprocess.run(["bash", "-n", str(ROOT / ".ci" / "run")], timeout=10).returncode == 0


def test_decisions_are_numbered_and_whole() -> None:
    paths = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert [int(path.name[:4]) for path in paths] == list(range(len(paths)))
    for path in paths:
        headings = re.findall(r"^## (.+)$", path.read_text(), flags=re.MULTILINE)
        assert headings == ["Context", "Decision", "Consequences"], path.name
