"""Running ``orc`` in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests import forking

ROOT = Path(__file__).parents[2]
FLOW = "tests.cli.flow"


@dataclass(frozen=True)
class Done(forking.Done):
    """What a command left."""

    def document(self, schema: str) -> Any:
        """The JSON document on standard output, valid against its published schema."""
        document = json.loads(self.out)
        validate(document, schema)
        return document


def validate(document: Any, schema: str) -> None:
    """Check a document against a published schema."""
    published = json.loads((ROOT / "docs" / "schemas" / f"{schema}.schema.json").read_text())
    Draft202012Validator(published).validate(document)


class Orc:
    """The command with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ORC_")}
        self.env = {**kept, "ORC_HOME": str(home), "PYTHONPATH": str(ROOT), "ORC_SLOTS": "2"}

    def __call__(self, *arguments: str, cwd: Path = ROOT, **env: str) -> Done:
        """Run a command to its end."""
        done = forking.command(*arguments, cwd=cwd, env={**self.env, **env})
        return Done(done.code, done.out, done.err)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command in a session of its own."""
        return subprocess.Popen(
            self.command(*arguments), cwd=ROOT, env=self.env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def newest(self) -> str:
        """Id of the newest run."""
        run: str = self("ls", "--json").document("ls")[0]["id"]
        return run

    @staticmethod
    def command(*arguments: str) -> list[str]:
        """Command line of ``orc`` with arguments."""
        return [sys.executable, "-c", "from orchestrator.cli.main import main; main()", *arguments]


@pytest.fixture
def orc(tmp_path: Path) -> Orc:
    """``orc`` with an empty home."""
    return Orc(tmp_path / "home")


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> tuple[Orc, Done]:
    """``orc`` with a home that holds one finished run of ``numbers``, and what that command left."""
    folder = tmp_path_factory.mktemp("used")
    orc = Orc(folder / "home")
    return orc, orc("run", f"{FLOW}:numbers", "n=3", f"marker={folder / 'marker'}", "--tag", "team=a")
