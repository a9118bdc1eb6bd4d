"""Versions of the files that pipelines name: the ``Files`` port, for local paths and everything fsspec reaches.

A local file's version is the digest of its bytes, so copying or touching it changes nothing. An object's is
its etag, or whatever else its store says changes with the content.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from blake3 import blake3

from orchestrator.artifacts.store import BUCKETS
from orchestrator.errors import ConfigError, NotFound, StoreUnavailable
from orchestrator.types import Digest

_READ_BYTES = 4 * 1024 * 1024
_VERSION_KEYS = ("ETag", "etag", "md5Hash", "content_md5", "checksum", "VersionId", "generation")


class FileVersions:
    """Versions by path or URL. A local file is read again only when its inode, size or time has changed."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, int, int, int], Digest]] = {}

    def version(self, url: str) -> str:
        """What changes when the content does; see ``ports.files.Files``. A directory's covers all files below it.

        Raises:
            NotFound: there is no such file.
            ConfigError: no file system handles the URL.
            StoreUnavailable: the file is there but cannot be read.
        """
        scheme, separator, _ = url.partition("://")
        if not separator:
            path = Path(url).expanduser()
        elif scheme in ("file", "local"):
            path = Path(unquote(urlsplit(url).path))
        else:
            return _remote_version(url)
        try:
            return self._directory(path) if path.is_dir() else self._file(path)
        except FileNotFoundError:
            raise NotFound(f"there is no file {url!r} (looked for {path.absolute()})") from None
        except OSError as error:
            raise StoreUnavailable(f"cannot read {path.absolute()}: {error.strerror or error}") from error

    def _file(self, path: Path) -> Digest:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            stamp = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
            known = self._known.get(path)
            if known is not None and known[0] == stamp:
                return known[1]
            hasher = blake3()
            while block := file.read(_READ_BYTES):
                hasher.update(block)
        digest = hasher.hexdigest()
        self._known[path] = stamp, digest
        return digest

    def _directory(self, path: Path) -> Digest:
        hasher = blake3()
        for file in _files_below(path):
            name = file.relative_to(path).as_posix()
            hasher.update(f"{len(os.fsencode(name))} ".encode() + os.fsencode(name) + self._file(file).encode())
        return hasher.hexdigest()


def _files_below(path: Path) -> Iterator[Path]:
    for entry in sorted(path.iterdir()):
        if entry.is_dir():
            yield from _files_below(entry)
        elif entry.is_file():
            yield entry


def _remote_version(url: str) -> str:
    import fsspec  # takes longer to import than a local run to start

    folder, _, name = url.rpartition("/")
    try:
        if url.partition("://")[0] in BUCKETS and (version := _bucket_version(folder, name)) is not None:
            return f"etag:{version}"
        files, path = fsspec.core.url_to_fs(url)
        info = files.info(path)
        for key in _VERSION_KEYS:
            if info.get(key):
                return f"{key}:{info[key]}"
        return f"content:{blake3(files.cat_file(path)).hexdigest()}"
    except FileNotFoundError:
        raise NotFound(f"there is no file {url!r}") from None
    except (ValueError, ImportError) as error:
        raise ConfigError(f"{url!r} cannot be read: {error}") from error
    except OSError as error:
        raise StoreUnavailable(f"cannot look at {url!r}: {error}") from error


def _bucket_version(folder: str, name: str) -> str | None:
    try:
        from orchestrator.artifacts.buckets import BucketObjects  # so does the client of object stores
    except ImportError:
        return None  # fsspec may have another
    return BucketObjects(folder).version(name)
