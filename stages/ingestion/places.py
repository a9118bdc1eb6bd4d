"""File systems by URL: what fsspec has a client for here, and object stores through obstore where it has none."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import fsspec

from orchestrator.errors import ConfigError

BUCKETS = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"})
"""Schemes of object stores that obstore reaches."""

RETRY_S = 60
"""How long a request is repeated that was not answered, or with a server's error."""

OBSTORE_OPTIONS: Mapping[str, Any] = {
    "client_options": {"allow_http": True},  # whoever writes http:// means it
    "retry_config": {
        "max_retries": 50,
        "retry_timeout": timedelta(seconds=RETRY_S),
        "backoff": {"init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=3)},
    },
}


def place_of(url: str) -> tuple[Any, str]:
    """The file system of a path or URL, and the path in it.

    Endpoint and credentials of object stores come from the environment (``AWS_ENDPOINT_URL`` and its kin).

    Raises:
        ConfigError: nothing here reaches such a place; says what to install.
    """
    scheme = url.partition("://")[0]
    through_obstore = scheme in BUCKETS and _through_obstore(scheme)
    try:
        filesystem, path = fsspec.core.url_to_fs(url, **(OBSTORE_OPTIONS if through_obstore else {}))
    except (ImportError, ValueError) as error:
        raise ConfigError(f"{url!r} cannot be reached: {error}") from None
    return filesystem, path


def _through_obstore(scheme: str) -> bool:
    """Whether obstore is the client of fsspec for a scheme, which it becomes where there is no other."""
    try:
        found = fsspec.get_filesystem_class(scheme)
    except (ImportError, ValueError):  # it is not installed, or fsspec has never heard of it
        try:
            importlib.import_module("obstore.fsspec").register(scheme)
        except ImportError:
            raise ConfigError(
                f"{scheme}:// needs a client that is not installed; pip install 'ray-orchestrator[s3]'"
            ) from None
        return True
    return any(base.__module__ == "obstore.fsspec" for base in found.__mro__)
