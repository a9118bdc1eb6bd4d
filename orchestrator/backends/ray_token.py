"""Ray's shared token: made before Ray makes it world-readable, and used when a cluster may ask for it.

A new local Ray turns token authentication on and writes ``~/.ray/auth_token`` readable by everybody; a client
that names an address uses its token only if ``RAY_AUTH_MODE=token`` is set. Both are put right here, without
importing ray.
"""

from __future__ import annotations

import os
import secrets
import stat
import sys
from pathlib import Path

from orchestrator.backends.ray_private import reread_config


def token_path() -> Path:
    """Where the token is or would be written."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")


def token_source() -> str | None:
    """Which setting provides a token on this machine (for messages, never the token itself); None if there is none."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "RAY_AUTH_TOKEN"
    path = token_path()
    return str(path) if path.is_file() else None


def prepare_local_token() -> None:
    """See to it that the token a local Ray will use is readable by its owner only.

    Where the home directory cannot be written, a token for this process and its children takes the file's place.
    """
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token" or os.environ.get("RAY_AUTH_TOKEN"):
        return
    path = token_path()
    try:
        if not path.is_file():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _create(path)
        restrict_token_file()
    except OSError:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _create(path: Path) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return  # another process made it at the same moment: it is as good as ours
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_hex(32))


def restrict_token_file() -> None:
    """Take the token file's rights from everybody but its owner; a file of another user is left alone."""
    path = token_path()
    try:
        status = path.stat()
    except FileNotFoundError:
        return
    if status.st_uid == os.getuid() and stat.S_IMODE(status.st_mode) & 0o077:
        path.chmod(0o600)


def set_auth_mode(mode: str | None) -> None:
    """Make this process ask for and send tokens (``token``), or not (``disabled``); None is Ray's own choice.

    Both sides must agree: a driver with tokens on a cluster without can start tasks, but its actors end at once.
    """
    if mode is None:
        os.environ.pop("RAY_AUTH_MODE", None)
    else:
        os.environ["RAY_AUTH_MODE"] = mode
    if "ray" in sys.modules:
        reread_config()
