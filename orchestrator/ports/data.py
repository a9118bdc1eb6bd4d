"""Port of distributed tables, for stages declared with ``uses=("data",)``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pyarrow as pa


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
