"""One stored value as its users see it: what it is, how it looks, and the value itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.artifacts.preview import preview
from orchestrator.errors import StoreError
from orchestrator.graph.display import Shown
from orchestrator.ports.values import Cell, Description, Entry, describe
from orchestrator.views.value import ValueView

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation

_PARTS = 40


class Artifact(Shown):
    """An output, or a published version, before it is loaded.

    Attributes:
        name: Where it comes from: the address of its step, or of the version.
        cell: The stored value.
    """

    def __init__(self, installation: Installation, cell: Cell, name: str) -> None:
        self.name = name
        self.cell = cell
        self._installation = installation

    def __repr__(self) -> str:
        seen = self.description
        return (
            f"Artifact({self.name!r}, {seen.type}, {seen.size} bytes{f', {self.digest[:12]}' if self.digest else ''})"
        )

    @property
    def description(self) -> Description:
        """Type, size, length and preview, without loading the value."""
        return describe(self.cell)

    @property
    def digest(self) -> str:
        """Digest of the stored bytes; empty for a scalar, which has none of its own."""
        return self.cell.digest if isinstance(self.cell, Entry) else ""

    def value(self) -> Any:
        """The value, loaded in this process.

        Raises:
            ArtifactMissing, ArtifactCorrupt, SignatureInvalid: the stored bytes are gone or not what was written.
        """
        return self._installation.values.load(self.cell).value

    def view(self) -> ValueView:
        """What it looks like, found without running code of its author: pickles are not opened."""
        seen = self.description
        try:
            found = preview(self._installation.artifacts, self.cell)
        except StoreError as error:
            return ValueView(seen.type, seen.size, self.digest, seen.preview, note=error.message)
        parts = [(name, (part := describe(cell)).type, part.preview) for name, cell in found.parts[:_PARTS]]
        return ValueView(seen.type, seen.size, self.digest, seen.preview, found, parts)
