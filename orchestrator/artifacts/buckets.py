"""Objects in a bucket through obstore: S3 and whatever speaks its protocol, Google Cloud Storage, Azure.

Objects are put with ``If-None-Match: *``, so of several writers the store lets one through. What is too large for one
request goes in parts, which become an object with the last request. Endpoint and credentials come from the
environment: ``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID`` and their kin, as every S3 client reads them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import obstore
from obstore import exceptions
from obstore.store import from_url

from orchestrator.artifacts.objects import Data, Stored
from orchestrator.errors import ConfigError, StoreUnavailable

ONE_REQUEST_BYTES = 64 * 1024 * 1024
RETRY_S = 30.0
"""How long a request is repeated that was not answered, or with a server's error."""
_MOST_RETRIES = 50
_REQUEST_S = 120.0
"""How long one request may take; nothing over ``ONE_REQUEST_BYTES`` goes into one."""
_PART_BYTES = 16 * 1024 * 1024
_PARTS_AT_ONCE = 4


class BucketObjects:
    """``Objects`` under a URL such as ``s3://bucket/artifacts``.

    Args:
        url: Bucket and prefix.
        retry_s: How long a request is repeated that was not answered, or with a server's error.

    Raises:
        ConfigError: the URL or the environment is no configuration of such a store.
    """

    def __init__(self, url: str, retry_s: float = RETRY_S) -> None:
        self.url = url
        backoff = {"init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=3)}
        retry: Any = {"max_retries": _MOST_RETRIES, "retry_timeout": timedelta(seconds=retry_s), "backoff": backoff}
        client: Any = {"timeout": timedelta(seconds=_REQUEST_S), "allow_http": True}  # whoever writes http:// means it
        try:
            self._store: Any = from_url(url, retry_config=retry, client_options=client)
        except (exceptions.BaseError, ValueError) as error:
            raise ConfigError(f"artifacts cannot be kept at {url!r}: {_first_line(error)}") from error

    def create(self, path: str, data: Data) -> bool:
        """See ``Objects.create``."""
        if len(data) > ONE_REQUEST_BYTES:  # a multipart upload takes no condition on every store
            if self.find(path) is not None:
                return False
            self.replace(path, data)
            return True
        try:
            with self._writing(path):
                obstore.put(self._store, path, data, mode="create")
        except exceptions.AlreadyExistsError:
            return False
        return True

    def replace(self, path: str, data: Data) -> None:
        """See ``Objects.replace``."""
        with self._writing(path):
            obstore.put(
                self._store, path, data, use_multipart=len(data) > ONE_REQUEST_BYTES,
                chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE,
            )  # fmt: skip

    def read(self, path: str) -> Iterator[Data]:
        """See ``Objects.read``."""
        with self._asking("read", path):
            found = obstore.get(self._store, path)
            size = found.meta["size"]
            if size <= ONE_REQUEST_BYTES:
                yield memoryview(found.bytes())
                return
            del found
            for first in range(0, size, _PARTS_AT_ONCE * _PART_BYTES):
                starts = range(first, min(first + _PARTS_AT_ONCE * _PART_BYTES, size), _PART_BYTES)
                ends = [min(start + _PART_BYTES, size) for start in starts]
                for data in obstore.get_ranges(self._store, path, starts=list(starts), ends=ends):
                    yield memoryview(data)

    def head(self, path: str, count: int) -> bytes:
        """See ``Objects.head``."""
        try:
            with self._asking("read", path):
                return bytes(obstore.get_range(self._store, path, start=0, end=count))
        except StoreUnavailable:
            if (found := self.find(path)) is not None and found.size == 0:
                return b""  # S3 finds no range satisfiable there
            raise

    def find(self, path: str) -> Stored | None:
        """See ``Objects.find``."""
        try:
            with self._asking("look for", path):
                return _stored(obstore.head(self._store, path))
        except FileNotFoundError:
            return None

    def version(self, path: str) -> str | None:
        """What changes when the object does: its etag; None where the store gives none.

        Raises:
            FileNotFoundError: there is no such object.
        """
        with self._asking("look for", path):
            return obstore.head(self._store, path)["e_tag"]

    def list(self) -> Iterator[Stored]:
        """See ``Objects.list``."""
        with self._asking("list", ""):
            for some in obstore.list(self._store):
                for item in some:
                    yield _stored(item)

    def remove(self, path: str) -> None:
        """See ``Objects.remove``."""
        with contextlib.suppress(FileNotFoundError), self._asking("remove", path):
            obstore.delete(self._store, path)

    @contextlib.contextmanager
    def _writing(self, path: str) -> Iterator[None]:
        try:
            with self._asking("write", path):
                yield
        except FileNotFoundError:
            raise ConfigError(f"there is no bucket for {self.url}; make it, or correct ORC_ARTIFACTS") from None

    @contextlib.contextmanager
    def _asking(self, action: str, path: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, exceptions.AlreadyExistsError):
            raise
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            raise StoreUnavailable(
                f"{self.url} does not let this process {action} {path or 'its objects'}: {_first_line(error)}; "
                "check the credentials in the environment (AWS_ACCESS_KEY_ID, …) and what they may do"
            ) from error
        except (exceptions.BaseError, OSError) as error:
            raise StoreUnavailable(
                f"cannot {action} {path or 'the objects'} in {self.url}: {_first_line(error)}; "
                "check that the store is up and reachable (AWS_ENDPOINT_URL), then resume the run"
            ) from error


def _stored(item: Any) -> Stored:
    return Stored(item["path"], item["size"], item["last_modified"].timestamp())


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].strip()
