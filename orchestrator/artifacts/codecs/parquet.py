"""``parquet``: a table that its author wants kept small, at the price of decoding it whenever it is read.

Return ``Parquet(table)`` from a stage instead of the table; consumers get a ``Parquet`` whose ``table`` is equal,
schema and metadata included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.artifacts.codec import Codec, Decoding, Encoded, Encoding
from orchestrator.artifacts.describe import TIMES
from orchestrator.ports.values import Loaded

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Parquet:
    """A table to be stored as Parquet with Zstandard, several times smaller than Arrow IPC."""

    table: pa.Table

    def __len__(self) -> int:
        return int(self.table.num_rows)


class ParquetCodec(Codec):
    """``Parquet``."""

    name = "parquet"
    roots = ("orchestrator",)
    order = 5

    def encode(self, value: Any, encoding: Encoding) -> Encoded | None:
        """Parquet bytes, unless the format would lose a part of the schema."""
        if type(value) is not Parquet:
            return None
        import pyarrow as pa
        from pyarrow import parquet

        sink = pa.BufferOutputStream()
        try:
            parquet.write_table(value.table, sink, compression="zstd", store_schema=True)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # a type that Parquet does not have
            return None
        written = sink.getvalue()
        if not parquet.read_schema(pa.BufferReader(written)).equals(value.table.schema, check_metadata=True):
            return None
        return Encoded((memoryview(written),))

    def decode(self, data: memoryview, path: str, decoding: Decoding) -> Loaded:
        """The table, decoded into memory."""
        import pyarrow as pa
        from pyarrow import parquet

        return Loaded(Parquet(parquet.read_table(pa.BufferReader(pa.py_buffer(data)))), True)

    def preview(self, value: Any) -> str:
        """Class, shape and column names."""
        table = value.table
        return f"Parquet {table.num_rows}{TIMES}{table.num_columns}: {', '.join(table.schema.names)}"


CODEC = ParquetCodec()
