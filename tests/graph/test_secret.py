from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

from orchestrator import Secret
from orchestrator.errors import ConfigError, NotFound
from orchestrator.graph.secret import contains_secret, resolve_reference, resolve_secrets


def test_a_secret_is_text_that_never_shows_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORC_TEST_SECRET", "hunter2")
    secret = Secret("env:ORC_TEST_SECRET")
    assert isinstance(secret, str)
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", f"{secret}", repr([secret])):
        assert "hunter2" not in shown
        assert "ORC_TEST_SECRET" in shown
    assert secret.resolve() == "hunter2"


@pytest.mark.parametrize("text", ["hunter2", "env:", "vault:x", ""])
def test_what_is_no_reference_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Secret(text)
    assert text == "" or text not in str(caught.value).replace("env:NAME", "")


def test_copies_and_pickles_stay_secrets() -> None:
    secret = Secret("env:X")
    for other in (copy.deepcopy(secret), pickle.loads(pickle.dumps(secret))):
        assert type(other) is Secret
        assert other == secret


def test_files_lose_their_last_line_break(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("a\nb\n")
    assert resolve_reference(f"file:{file}") == "a\nb"


def test_what_is_missing_is_named_by_reference(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="ORC_TEST_NOT_SET"):
        resolve_reference("env:ORC_TEST_NOT_SET")
    with pytest.raises(NotFound, match="nowhere"):
        resolve_reference(f"file:{tmp_path}/nowhere")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(NotFound, match="UTF-8"):
        resolve_reference(f"file:{tmp_path}/binary")


def test_secrets_in_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A", "1")
    secret = Secret("env:A")
    assert contains_secret({"x": [1, (secret,)]})
    assert not contains_secret({"x": [1, ("env:A",)]})
    assert resolve_secrets({"x": [0, (secret,)]}) == {"x": [0, ("1",)]}
