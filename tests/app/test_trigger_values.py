"""Parameters of triggered runs: an event's arrive as they were sent, a person's are read as by ``orc run``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.app.installation import Installation
from orchestrator.app.reading import Keeper
from orchestrator.app.run import Run
from orchestrator.app.triggering import TriggersReader
from orchestrator.app.triggers import Triggers
from orchestrator.config.settings import Settings
from orchestrator.errors import ConfigError

FLOWS = """
from typing import Any
from orchestrator import pipeline, stage
from orchestrator.triggers import webhook

@stage
def told(bare, maybe: str | None, either: str | int, anything: Any, text: str, n: int) -> list[Any]:
    return [bare, maybe, either, anything, text, n]

@pipeline(on=[webhook("go")])
def flow(bare=0, maybe: str | None = "", either: str | int = 0, anything: Any = 0, text: str = "", n: int = 0) -> Any:
    return told(bare, maybe, either, anything, text, n)
"""


@pytest.fixture
def here(tmp_path: Path) -> Installation:
    return Installation(Settings.from_environment({"ORC_HOME": str(tmp_path / "home"), "ORC_SLOTS": "1"}))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "configs").mkdir(parents=True)
    (root / "flows.py").write_text(FLOWS)
    (root / "configs" / "flow.yaml").write_text("pipeline: flows:flow\nparams: {n: 7}\n")
    return root


def test_values_of_an_event_arrive_as_they_were_sent(here: Installation, project: Path) -> None:
    sent: dict[str, Any] = {"bare": "007", "maybe": "null", "either": "5", "anything": "[a", "text": '"12"'}
    triggers = Triggers(here, project, ask_code=True)
    (firing,) = triggers.deliver("go", sent, "key", "an event")
    assert firing.values == sent
    keeper = Keeper(here, TriggersReader(here, project, triggers.pipelines, beside=lambda work: work()))
    for _ in range(2):
        keeper.round()
    (row,) = here.journal.runs(limit=5)
    run = Run(here, row.id).wait("120s")
    assert (run.state, run.result()) == ("succeeded", ["007", "null", "5", "[a", '"12"', 7])


def test_what_a_person_writes_is_read_as_by_orc_run(here: Installation, project: Path) -> None:
    triggers = Triggers(here, project, ask_code=True)
    written = {"text": "12", "maybe": "12", "either": "12", "anything": "[1, 'a b']", "n": "3", "bare": "x: y"}
    read = triggers.values_of("flow.webhook", written)
    assert read == {"text": "12", "maybe": "12", "either": 12, "anything": [1, "a b"], "n": 3, "bare": "x: y"}
    assert triggers.fire("flow.webhook", read, "key").values == read
    assert triggers.values_of("flow.webhook", {"text": "null", "maybe": "null"}) == {"text": "null", "maybe": None}
    with pytest.raises(ConfigError, match=r"params\.anything: '\[1' is no value"):
        triggers.values_of("flow.webhook", {"anything": "[1"})
