"""Port of distributed tables, for stages with ``uses=("data",)`` and for large tables of stages with ``scope=``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.graph.policy import Scope

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class PartCall:
    """What is called on each part of a table.

    Attributes:
        stage: Reference of a function of the run's code, whose first parameter is the table.
        rest, named: Its other arguments, the same for every part.
        scope, by: What one call has to see; see ``Policy``.
        step: Address of the step, for messages.
        num_cpus: Of one call.
    """

    stage: str
    rest: tuple[Any, ...]
    named: Mapping[str, Any]
    scope: Scope
    by: tuple[str, ...]
    step: str
    num_cpus: float = 1.0


class Data(Protocol):
    """Tables too large for one process; what comes back is a Ray Data ``Dataset``."""

    def from_arrow(self, tables: pa.Table | Sequence[pa.Table]) -> Any:
        """A data set of the rows of some tables, one block each."""
        ...

    def read_parquet(self, paths: str | Sequence[str], columns: Sequence[str] | None = None) -> Any:
        """A data set of the rows of Parquet files or folders, read when it is used."""
        ...

    def to_arrow(self, dataset: Any) -> pa.Table:
        """All rows of a data set in this process; they must fit."""
        ...

    def map_parts(self, parts: Sequence[pa.Table], call: PartCall) -> Iterator[Any]:
        """What the call comes to on each part, in order, as they come.

        Raises:
            Exception: what the call raised on the first part that failed.
        """
        ...
