"""What steps are run with: the stores behind their inputs and outputs, as a worker has opened them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.backends.bundles.arguments import Reader
from orchestrator.backends.bundles.chunks import DecodedChunks
from orchestrator.backends.bundles.leave import Leave
from orchestrator.backends.bundles.logs import Log
from orchestrator.backends.bundles.outbox import Outbox
from orchestrator.backends.bundles.outputs import Made, Outputs
from orchestrator.backends.bundles.spans import AttemptSpans
from orchestrator.backends.bundles.surroundings import Surroundings
from orchestrator.ports.frames import Input, Span
from orchestrator.ports.values import Cell, Entry, Values, decode_manifest
from orchestrator.types import Digest

MANIFESTS = 8
"""Large lists whose cells a worker keeps at hand, so that a map over one does not decode it for every bundle."""


@dataclass(slots=True)
class Services:
    """What steps are run with.

    Attributes:
        read: Bytes of an artifact.
        secret: Value of a secret by its reference.
        surroundings: Put back between steps.
        ports: What ``step().data`` and its like hand out.
        shares_process: Steps run in the user's own process, so that Ctrl-C is meant for it.
        leave: The driver's, to start steps.
        spans: Puts the trace context of an attempt around its body; None where nobody wants traces.
    """

    values: Values
    read: Callable[[Digest], bytes | memoryview]
    secret: Callable[[str], str]
    outbox: Outbox
    log: Log
    surroundings: Surroundings | None = None
    ports: Mapping[str, Any] = field(default_factory=dict)
    shares_process: bool = False
    leave: Leave = field(default_factory=Leave)
    spans: AttemptSpans | None = None
    _manifests: OrderedDict[Digest, list[Cell]] = field(default_factory=OrderedDict)
    _plain: tuple[Digest, Any] | None = None
    _chunks: DecodedChunks = field(init=False)

    def __post_init__(self) -> None:
        self._chunks = DecodedChunks(self.read)

    def children(self, entry: Entry) -> list[Cell]:
        """Cells of a container."""
        if entry.data is not None:
            return decode_manifest(entry.data).cells
        cells = self._manifests.get(entry.digest)
        if cells is None:
            cells = self._manifests[entry.digest] = decode_manifest(self.read(entry.digest)).cells
            while len(self._manifests) > MANIFESTS:
                self._manifests.popitem(last=False)
        return cells

    def whole(self, cell: Cell) -> Any:
        """A value of which steps get copies of elements. The last large plain list is kept, for the next bundles of a
        map over it: to decode a million numbers takes as long as a bundle."""
        if not isinstance(cell, Entry) or cell.codec != "msgpack" or cell.data is not None:
            return self.values.load(cell).value
        kept = self._plain
        if kept is None or kept[0] != cell.digest:
            kept = self._plain = (cell.digest, self.values.load(cell).value)
        return kept[1]

    def outputs_of(self, source: Input, inline: Mapping[Digest, bytes], made: Made | None = None) -> Outputs:
        """Outputs of one node, of which some may be made in the same bundle."""
        return Outputs(
            source, lambda digest: self._chunks.cells(digest, inline.get(digest)), {} if made is None else made
        )

    def cell(self, span: Span, inline: bytes | None) -> Cell:
        """The first cell of a span."""
        return self._chunks.cells(span.chunk, inline)[span.at]

    def reader(self, outputs: Mapping[str, Outputs], start: int, stop: int) -> Reader:
        """Reader of expressions over these outputs, for items ``start..stop``."""
        return Reader(self.values, outputs, self.children, self.whole, self._revealed, (start, stop))

    def _revealed(self, reference: str) -> str:
        value = self.secret(reference)
        self.log.hide(value)
        return value
