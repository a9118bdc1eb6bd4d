"""The key that workers sign pickles with, and its check before anything is unpickled.

Whoever can write to the store but does not hold the key cannot make a worker run code. The signature is an
HMAC-SHA256 over the BLAKE3 digest of the bytes, so that a large model is read once and at the speed of memory.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from blake3 import blake3

from orchestrator.errors import ConfigError, SignatureInvalid, StoreUnavailable

KEY_VARIABLE = "ORC_SIGNING_KEY"
KEY_FILE = "signing.key"
SIGNATURE_BYTES = 32
_KEY_BYTES = 32
_PURPOSE = b"orchestrator pickle 1\0"


class Signer:
    """Signs and checks bytes. The key is read, or made, when it is first needed.

    Args:
        directory: Where the key file is; it must be readable by its owner only.
        key: The key itself, instead; at least 32 bytes.
    """

    def __init__(self, directory: str | os.PathLike[str] | None = None, key: bytes | None = None) -> None:
        if (directory is None) == (key is None):
            raise ValueError("a Signer needs either the directory of its key file or the key")
        if key is not None and len(key) < _KEY_BYTES:
            raise ConfigError(f"the signing key has {len(key)} bytes; it needs {_KEY_BYTES} or more")
        self._directory = Path(directory) if directory is not None else None
        self._key = key

    def sign(self, parts: Iterable[bytes | bytearray | memoryview]) -> bytes:
        """Signature of some bytes (the parts one after the other)."""
        hasher = blake3()
        for part in parts:
            hasher.update(part)
        return hmac.new(self.key(), _PURPOSE + hasher.digest(), hashlib.sha256).digest()

    def verify(self, signature: bytes | memoryview, data: bytes | memoryview) -> None:
        """Check a signature.

        Raises:
            SignatureInvalid: the bytes were not signed with this key.
        """
        if not hmac.compare_digest(self.sign((data,)), bytes(signature)):
            raise SignatureInvalid(
                "the signature of a pickled value does not match, so it is not loaded: it was changed, or written with "
                f"another key; use the {KEY_FILE} (or {KEY_VARIABLE}) of the store that holds it"
            )

    def key(self) -> bytes:
        """The key: given, from the environment, or from its file.

        Raises:
            ConfigError: the environment's key is not hexadecimal or too short, or others can read the file.
            StoreUnavailable: the file cannot be read or made.
        """
        if self._key is None:
            text = os.environ.get(KEY_VARIABLE)
            self._key = _decode(text, KEY_VARIABLE) if text else self._key_of_file()
        return self._key

    def _key_of_file(self) -> bytes:
        assert self._directory is not None
        path = self._directory / KEY_FILE
        try:
            if not path.exists():
                _create(path)
            if path.stat().st_mode & 0o077:
                raise ConfigError(f"others can read the signing key {path}; make it private: chmod 600 {path}")
            return _decode(path.read_text("ascii"), str(path))
        except OSError as error:
            raise StoreUnavailable(f"cannot read or make the signing key {path}: {error.strerror}") from error


def _decode(text: str, where: str) -> bytes:
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        raise ConfigError(f"the signing key in {where} is not hexadecimal") from None
    if len(key) < _KEY_BYTES:
        raise ConfigError(f"the signing key in {where} has {len(key)} bytes; it needs {_KEY_BYTES} or more")
    return key


def _create(path: Path) -> None:
    """Write a new key; of several processes that do so at once, one wins and all use its key."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink(missing_ok=True)
