"""One key, one action: the answer to an unsafe request is kept under its ``Idempotency-Key`` for a day.

A repetition gets that answer and does nothing; the same key with another request is refused. Answers are files in
``ORC_HOME``, so that they outlive the server. What fails is not kept: it may be tried again with the same key.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path

from blake3 import blake3

from orchestrator.api.schemas import Accepted
from orchestrator.errors import ConfigError, RunError

KEPT_S = 24 * 3600.0
_MOST_CHARS = 200
_LOCKS = 16


def check_key(key: str | None) -> str:
    """The key; raises ConfigError if there is none, or it cannot be one."""
    if not key or len(key) > _MOST_CHARS or not key.isprintable():
        raise ConfigError("requests that change something need a header Idempotency-Key, such as a random UUID")
    return key


class Answers:
    """Answers by key. Thread-safe.

    Args:
        folder: Where they are kept; made on first use.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks = [threading.Lock() for _ in range(_LOCKS)]
        self._pruned_at = 0.0

    def once(self, key: str | None, request: str, act: Callable[[], Accepted]) -> Accepted:
        """What ``act`` answers, or answered the first time.

        Args:
            key: Chosen by the client, at random.
            request: All that makes up the request.

        Raises:
            ConfigError: there is no key, or it cannot be one.
            RunError: the key came with another request before.
        """
        key = check_key(key)
        asked = blake3(request.encode()).hexdigest()
        file = self._folder / f"{blake3(key.encode()).hexdigest()}.json"
        with self._locks[int(file.stem[:8], 16) % _LOCKS]:
            self._prune()
            if file.exists():
                kept = json.loads(file.read_text())
                if kept["request"] != asked:
                    raise RunError("this Idempotency-Key came with another request before; choose a new one")
                return Accepted.model_validate(kept["answer"])
            answer = act()
            self._keep(file, {"request": asked, "answer": answer.model_dump()})
            return answer

    def _keep(self, file: Path, content: object) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        draft = file.with_suffix(f".{secrets.token_hex(4)}")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as written:
            json.dump(content, written)
            written.flush()
            os.fsync(written.fileno())
        draft.replace(file)

    def _prune(self) -> None:
        now = time.time()
        if now - self._pruned_at < KEPT_S / 24 or not self._folder.exists():
            return
        self._pruned_at = now
        for file in self._folder.iterdir():
            if now - file.stat().st_mtime > KEPT_S:
                file.unlink(missing_ok=True)
