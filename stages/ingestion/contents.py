"""Files as they are, for rows that name one: images and documents beside a table."""

from __future__ import annotations

import fsspec

from orchestrator.errors import ConfigError


def content_of(path: str) -> bytes:
    """All bytes of a file.

    Args:
        path: Path or fsspec URL.

    Raises:
        OSError: it cannot be read.
        ConfigError: no file system is known for the URL.
    """
    try:
        filesystem, inner = fsspec.core.url_to_fs(path)
    except (ValueError, ImportError) as error:
        raise ConfigError(f"{path!r} cannot be read: {error}") from None
    return bytes(filesystem.cat_file(inner))
