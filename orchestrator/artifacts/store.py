"""Opening the artifact store that a URL names."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from orchestrator.artifacts.local import LocalStore
from orchestrator.errors import ConfigError
from orchestrator.ports.artifacts import ArtifactStore


def open_store(url: str | os.PathLike[str], cache_dir: str | os.PathLike[str] | None = None) -> ArtifactStore:
    """Open an artifact store.

    Args:
        url: A directory (plain path or ``file://``), or any URL that fsspec handles.
        cache_dir: Where artifacts of a remote store are kept on this node; ``ORC_HOME`` or ``~/.orc``, then
            ``cache``, if not given. A local store needs none.

    Raises:
        ConfigError: the URL names no file system that fsspec knows, or another machine's files.
        StoreUnavailable: the store cannot be reached or made.
    """
    text = os.fspath(url)
    if not text.strip():
        raise ConfigError("the artifact store has no address; set ORC_ARTIFACTS to a directory or a URL")
    scheme, separator, rest = text.partition("://")
    if not separator:
        return LocalStore(Path(text).expanduser())
    if scheme in ("file", "local"):
        parts = urlsplit(text)
        if parts.netloc not in ("", "localhost"):
            raise ConfigError(f"{text!r} names files of another machine; write file:///path or a plain path")
        return LocalStore(Path(unquote(parts.path)))
    if not rest.strip("/"):
        raise ConfigError(f"{text!r} names no bucket or directory to keep artifacts in")
    from orchestrator.artifacts.remote import RemoteStore  # fsspec takes longer to import than a local run to start

    home = Path(os.environ.get("ORC_HOME") or Path.home() / ".orc")
    return RemoteStore(text, LocalStore(Path(cache_dir) if cache_dir else home / "cache", durable=False))
