"""Files as they are, for rows that name one: images and documents beside a table."""

from __future__ import annotations

from stages.ingestion.places import place_of


def content_of(path: str) -> bytes:
    """All bytes of a file.

    Args:
        path: Path or fsspec URL.

    Raises:
        OSError: it cannot be read.
        ConfigError: no file system is known for the URL.
    """
    filesystem, inner = place_of(path)
    return bytes(filesystem.cat_file(inner))
