"""Facts about a step are the same whether they are read at once or as they come."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import Retry, pipeline, stage, step
from orchestrator.app.step_facts import StepFacts
from orchestrator.testing import InProcess


@stage(retries=Retry(attempts=2, backoff="1ms..2ms"))
def unsteady(x: int) -> int:
    if step().attempt == 1:
        raise OSError(f"{x} not yet")
    return x


@pipeline(name="told_twice")
def told_twice() -> list[int]:
    return unsteady.map(list(range(4)))


@pytest.mark.parametrize(("item", "retries"), [(None, 4), (2, 1)])
def test_read_at_once_or_as_they_come(tmp_path: Path, item: int | None, retries: int) -> None:
    here = InProcess(tmp_path / "home")
    facts = list(here.installation.journal.facts(here.run(told_twice).id))
    whole, parts = (StepFacts("unsteady", item, "") for _ in range(2))
    whole.read(facts)
    for recorded in facts:
        parts.read([recorded])
    assert len(whole.retries) == retries
    assert list(parts.reasons) == list(whole.reasons)
    assert [what for _, what, _ in whole.reasons].count("retry") == retries
    for name in ("seq", "missed", "completed", "started", "retries", "asked", "ended", "begun"):
        assert getattr(parts, name) == getattr(whole, name), name
