"""Serving in files: what is deployed outlives the object, and the same version again changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import ConfigError
from orchestrator.testing import FileServing, outside


def test_versions_outlive_the_process_that_deployed_them(tmp_path: Path) -> None:
    endpoint = FileServing(tmp_path).deploy("shop", "v/1", "m:P", b"model")
    FileServing(tmp_path).deploy("shop", "v/1", "m:P", b"model")
    FileServing(tmp_path).deploy("other", "v2", "m:P", "0" * 64)
    serving = FileServing(tmp_path)
    assert [served.endpoint for served in serving.status("shop")] == [endpoint]
    assert len(serving.status()) == 2
    assert [call["version"] for call in serving.calls()] == ["v/1", "v/1", "v2"]
    serving.undeploy("shop", "no such version")
    serving.undeploy("other")
    assert [served.endpoint.app for served in serving.status()] == ["shop"]


def test_outside_of_a_sweep_there_is_no_outside() -> None:
    with pytest.raises(ConfigError, match="only known in a crash sweep"):
        outside()
