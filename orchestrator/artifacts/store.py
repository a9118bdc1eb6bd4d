"""Opening the artifact store that a URL names: a directory, a bucket, or any other file system."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from orchestrator.artifacts.local import LocalStore
from orchestrator.artifacts.objects import Objects
from orchestrator.errors import ConfigError
from orchestrator.ports.artifacts import ArtifactStore

BUCKETS = frozenset({"s3", "s3a", "gs", "az"})
"""Schemes of URLs of buckets, which need the extra ``s3``."""


def open_store(url: str | os.PathLike[str], cache_dir: str | os.PathLike[str] | None = None) -> ArtifactStore:
    """Open an artifact store.

    Args:
        url: A directory (plain path or ``file://``), a bucket (``s3://``, ``gs://``, ``az://``), or any URL that
            fsspec handles.
        cache_dir: Where artifacts of a remote store are kept on this node; ``ORC_HOME`` or ``~/.orc``, then
            ``cache``, if not given. A local store needs none.

    Raises:
        ConfigError: the URL names no file system that fsspec knows, or another machine's files; or its client is not
            installed.
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
    from orchestrator.artifacts.remote import RemoteStore

    home = Path(os.environ.get("ORC_HOME") or Path.home() / ".orc")
    cache = Path(cache_dir) if cache_dir else home / "cache"
    return RemoteStore(open_objects(text), LocalStore(cache, durable=False))


def open_objects(url: str) -> Objects:
    """Named objects under a URL or in a directory; their clients take longer to import than a local run to start.

    Raises:
        ConfigError: nothing here reaches such a place; says what to install.
    """
    scheme = url.partition("://")[0]
    if scheme not in BUCKETS:
        from orchestrator.artifacts.filesystems import FilesystemObjects

        return FilesystemObjects(url)
    try:
        from orchestrator.artifacts.buckets import BucketObjects
    except ImportError as error:
        raise ConfigError(
            f"artifacts at {url!r} need a client that is not installed ({error}); "
            "install it with: pip install 'ray-orchestrator[s3]'"
        ) from error
    return BucketObjects(url)
