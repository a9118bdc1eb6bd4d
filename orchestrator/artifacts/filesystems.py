"""Objects on any fsspec file system: object stores without a client of their own here, servers of files, memory.

Object stores show an upload when it is finished. On servers of files an object is written beside its place and
renamed, so there too nothing half-written is seen.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import fsspec

from orchestrator.artifacts.objects import Data, Stored
from orchestrator.errors import ConfigError, StoreUnavailable

_READ_BYTES = 4 * 1024 * 1024
_UNFINISHED = "unfinished"
_TIMES = ("LastModified", "last_modified", "mtime", "modified", "updated", "created")


class FilesystemObjects:
    """``Objects`` under an fsspec URL.

    Args:
        url: Such as ``memory://artifacts`` or ``sftp://host/artifacts``.

    Raises:
        ConfigError: no fsspec file system handles the URL.
        StoreUnavailable: the file system does not answer.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            with self._asking("open", url):
                self._files, root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise ConfigError(f"artifacts cannot be kept at {url!r}: {error}") from error
        self._root = root.rstrip("/")

    def create(self, path: str, data: Data) -> bool:
        """See ``Objects.create``; where the file system cannot decide it, the last of several equal writers wins."""
        if self.find(path) is not None:
            return False
        with self._asking("write", path):
            if not self._files.async_impl:
                self._rename_into(path, data)
                return True
            try:
                self._files.pipe_file(self._at(path), bytes(data), mode="create")
            except FileExistsError:
                return False
        return True

    def replace(self, path: str, data: Data) -> None:
        """See ``Objects.replace``."""
        with self._asking("write", path):
            if self._files.async_impl:  # an object store
                self._files.pipe_file(self._at(path), bytes(data))
            else:
                self._rename_into(path, data)

    def read(self, path: str) -> Iterator[Data]:
        """See ``Objects.read``."""
        with self._asking("read", path), self._files.open(self._at(path), "rb") as file:
            while data := file.read(_READ_BYTES):
                yield data

    def head(self, path: str, count: int) -> bytes:
        """See ``Objects.head``."""
        with self._asking("read", path):
            data: bytes = self._files.cat_file(self._at(path), start=0, end=count)
            return data

    def find(self, path: str) -> Stored | None:
        """See ``Objects.find``."""
        at = self._at(path)
        try:
            with self._asking("look for", path):
                self._files.invalidate_cache(at.rpartition("/")[0])
                return self._stored(path, self._files.info(at))
        except FileNotFoundError:
            return None

    def list(self) -> Iterator[Stored]:
        """See ``Objects.list``."""
        found: dict[str, dict[str, Any]] = {}
        with self._asking("list", ""), contextlib.suppress(FileNotFoundError):
            self._files.invalidate_cache()
            found = self._files.find(self._root, detail=True)
        for at, detail in found.items():
            yield self._stored(at.removeprefix(self._root).lstrip("/"), detail)

    def remove(self, path: str) -> None:
        """See ``Objects.remove``."""
        with contextlib.suppress(FileNotFoundError), self._asking("remove", path):
            self._files.rm_file(self._at(path))

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _rename_into(self, path: str, data: Data) -> None:
        unfinished = self._at(f"{_UNFINISHED}/{secrets.token_hex(16)}")
        self._files.makedirs(unfinished.rpartition("/")[0], exist_ok=True)
        self._files.makedirs(self._at(path).rpartition("/")[0], exist_ok=True)
        try:
            self._files.pipe_file(unfinished, bytes(data))
            self._files.mv(unfinished, self._at(path))
        except BaseException:
            with contextlib.suppress(OSError):
                self._files.rm_file(unfinished)
            raise

    def _stored(self, path: str, detail: dict[str, Any]) -> Stored:
        for key in _TIMES:
            if (when := detail.get(key)) is not None:
                return Stored(path, int(detail["size"]), _timestamp(when))
        raise StoreUnavailable(f"{self.url} does not say when {path} was modified; it cannot hold artifacts")

    @contextlib.contextmanager
    def _asking(self, action: str, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StoreUnavailable(
                f"cannot {action} {path or 'the objects'} in {self.url}: {error}; check the store, then resume the run"
            ) from error


def _timestamp(when: Any) -> float:
    if isinstance(when, str):
        when = datetime.fromisoformat(when)
    if isinstance(when, datetime):
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    return float(when)
