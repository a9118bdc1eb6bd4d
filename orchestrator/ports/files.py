"""Port for looking at files that pipelines name, without reading them into the run."""

from __future__ import annotations

from typing import Protocol


class Files(Protocol):
    """Versions of files and objects by URL."""

    def version(self, url: str) -> str:
        """What changes when the content does: a digest of the bytes, or the object store's etag.

        Raises:
            NotFound: there is no such file; names it.
        """
        ...
