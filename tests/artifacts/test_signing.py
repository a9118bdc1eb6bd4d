"""The signing key: made once, private, taken from the environment if given there, and never guessed around."""

from __future__ import annotations

import multiprocessing
import stat
from pathlib import Path

import pytest

from orchestrator.artifacts import Signer
from orchestrator.artifacts.signing import KEY_FILE, KEY_VARIABLE, SIGNATURE_BYTES
from orchestrator.errors import ConfigError, SignatureInvalid, StoreUnavailable

SPAWN = multiprocessing.get_context("spawn")


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    key = Signer(tmp_path / "keys").key()
    path = tmp_path / "keys" / KEY_FILE
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Signer(tmp_path / "keys").key() == key
    assert [file.name for file in path.parent.iterdir()] == [KEY_FILE]


def test_no_key_is_made_before_it_is_needed(tmp_path: Path) -> None:
    Signer(tmp_path / "keys")
    assert not (tmp_path / "keys").exists()


def _sign(directory: Path) -> str:
    return Signer(directory).key().hex()


def test_processes_that_make_the_key_at_once_agree(tmp_path: Path) -> None:
    with SPAWN.Pool(2) as pool:
        assert len(set(pool.map(_sign, [tmp_path] * 4, chunksize=1))) == 1


def test_the_environment_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "ab" * 32)
    assert Signer(tmp_path).key() == b"\xab" * 32
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("text", "message"), [("xyz", "hexadecimal"), ("ab" * 31, "31 bytes")])
def test_a_bad_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str) -> None:
    monkeypatch.setenv(KEY_VARIABLE, text)
    with pytest.raises(ConfigError, match=f"{KEY_VARIABLE}.*{message}"):
        Signer(tmp_path).key()
    monkeypatch.delenv(KEY_VARIABLE)
    path = tmp_path / KEY_FILE
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=message):
        Signer(tmp_path).key()


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    Signer(tmp_path).key()
    (tmp_path / KEY_FILE).chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        Signer(tmp_path).key()


def test_a_place_that_cannot_hold_a_key_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match=KEY_FILE):
        Signer(tmp_path / "file").key()


def test_short_keys_and_two_sources_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="31 bytes"):
        Signer(key=bytes(31))
    with pytest.raises(ValueError, match="either"):
        Signer()
    with pytest.raises(ValueError, match="either"):
        Signer(tmp_path, bytes(32))


def test_only_what_was_signed_verifies() -> None:
    signer, other = Signer(key=bytes(32)), Signer(key=b"\1" * 32)
    signature = signer.sign([b"some ", b"bytes"])
    assert len(signature) == SIGNATURE_BYTES
    signer.verify(signature, b"some bytes")
    changed = signature[:-1] + bytes([signature[-1] ^ 1])
    for who, claimed, data in (
        (signer, signature, b"some byteS"),
        (signer, changed, b"some bytes"),
        (signer, b"", b"some bytes"),
        (other, signature, b"some bytes"),
    ):
        with pytest.raises(SignatureInvalid):
            who.verify(claimed, data)
