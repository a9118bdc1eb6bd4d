"""An artifact store that is full or away for a while: steps are held back and sent again, and nothing fails."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from orchestrator.app.installation import Installation
from orchestrator.config.settings import Settings
from orchestrator.errors import StoreUnavailable
from orchestrator.ports.artifacts import ArtifactStore
from orchestrator.testing import InProcess, check_run, read_ledger
from tests.app import flows


class Full:
    """A store that has no room for its first large values."""

    def __init__(self, inner: ArtifactStore, refusals: int) -> None:
        self._inner = inner
        self.refusals = refusals

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def put(self, *parts: Any) -> str:
        """Store, or refuse."""
        if self.refusals and sum(len(part) for part in parts) > 100_000:
            self.refusals -= 1
            raise StoreUnavailable("no space left on device")
        return self._inner.put(*parts)


class FullInstallation(Installation):
    """An installation whose artifacts find no room at first."""

    @cached_property
    def artifacts(self) -> ArtifactStore:
        """The store."""
        full: Any = Full(super().artifacts, refusals=2)
        return full  # type: ignore[no-any-return]


def test_a_full_artifact_store_fails_no_step(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    here = FullInstallation(Settings.from_environment({"ORC_HOME": str(tmp_path / "home")}))
    ledger = tmp_path / "ledger"
    run = InProcess(installation=here).run(flows.everything, ledger=str(ledger))
    assert here.artifacts.refusals == 0  # type: ignore[attr-defined]
    assert run.state == "succeeded"
    assert run.result()["big"] == list(range(100_000))
    assert check_run(here.journal, run.id, read_ledger(ledger)) == []
    assert "holds steps back: no space left on device" in caplog.text
