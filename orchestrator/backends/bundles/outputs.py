"""The outputs of other steps as a bundle sees them: from spans of chunks to single cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from orchestrator.errors import StepError
from orchestrator.ports.frames import Input
from orchestrator.ports.values import Cell, decode_cell
from orchestrator.types import Digest

Made = dict[tuple[str, int], bytes]
"""Cells that earlier steps of the same bundle made."""


class InputMissing(Exception):
    """A step cannot start: what it needs was to be made earlier in its bundle and was not."""


class Outputs:
    """Outputs of one node, as far as a segment needs them.

    Args:
        source: Where they are.
        cells_of: All cells of a chunk.
        made: What this bundle has made so far; looked at when an output is asked for.
    """

    def __init__(self, source: Input, cells_of: Callable[[Digest], list[Cell]], made: Made) -> None:
        self.node = source.node
        self.many = source.many
        self._spans = source.spans
        self._cells_of = cells_of
        self._made = made

    def at(self, index: int) -> Cell:
        """The output of one item; a negative index counts the outputs that exist from the end.

        Raises:
            InputMissing: it was to be made earlier in this bundle and was not.
            IndexError: there is no such item.
        """
        if index < 0:
            return self.all()[index]
        for span in self._spans:
            if span.start <= index < span.stop:
                return self._cells_of(span.chunk)[span.at + index - span.start] if span.chunk else self._here(index)
        raise IndexError(f"{self.node} has no output {index}; that item was dropped or never existed")

    def all(self) -> list[Cell]:
        """Every output in order; those of dropped items are left out."""
        found: list[Cell] = []
        for span in self._spans:
            if span.chunk:
                found += self._cells_of(span.chunk)[span.at : span.at + span.stop - span.start]
            else:
                found += [self._here(index) for index in range(span.start, span.stop)]
        return found

    def run(self, start: int, stop: int) -> list[Cell] | None:
        """Outputs of consecutive items if one span holds them all, else None."""
        for span in self._spans:
            if span.start <= start and stop <= span.stop and span.chunk:
                low = span.at + start - span.start
                return self._cells_of(span.chunk)[low : low + stop - start]
        return None

    def _here(self, index: int) -> Cell:
        cell = self._made.get((self.node, index))
        if cell is None:
            raise InputMissing(f"{self.node}[{index}]")
        return decode_cell(cell)


def output_of(outputs: Mapping[str, Outputs], node: str) -> Outputs:
    """Outputs of a node; raises StepError if the bundle came without them."""
    try:
        return outputs[node]
    except KeyError:
        raise StepError(f"the bundle came without the output of {node!r}; this is a fault of the engine") from None
