"""The engine's own files as an archive for nodes that have only Python and Ray.

The archive holds the package and, under ``libraries``, the small libraries that Ray does not bring along; a node's own
copies of those come first. Versions of Python are equal on both sides, so compiled ones fit.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import zipfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

LIBRARIES = ("msgspec", "blake3", "cloudpickle", "fsspec", "cronsim")
_SKIPPED = {"__pycache__", "tests"}


class EngineArchive:
    """What a remote worker needs to become one; read from disk when first asked for."""

    @property
    def root(self) -> str:
        """Directory that holds the package on this machine."""
        return str(_package("orchestrator").parent)

    @cached_property
    def data(self) -> bytes:
        """The archive; the same files give the same bytes."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, path in self._files():
                archive.writestr(zipfile.ZipInfo(name), path.read_bytes(), zipfile.ZIP_DEFLATED, 1)
        return packed.getvalue()

    @cached_property
    def digest(self) -> str:
        """Names the directory it is unpacked into."""
        return hashlib.blake2b(self.data, digest_size=16).hexdigest()

    def _files(self) -> Iterator[tuple[str, Path]]:
        yield from _tree(_package("orchestrator"), "")
        for library in LIBRARIES:
            yield from _tree(_package(library), "libraries/")


def _package(name: str) -> Path:
    if name == "orchestrator":
        return Path(__file__).parents[2]
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"the package {name!r} is not installed")
    return Path(next(iter(spec.submodule_search_locations)))


def _tree(package: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    for path in sorted(package.rglob("*")):
        inside = path.relative_to(package.parent)
        if path.is_file() and not _SKIPPED.intersection(inside.parts):
            yield f"{prefix}{inside.as_posix()}", path
