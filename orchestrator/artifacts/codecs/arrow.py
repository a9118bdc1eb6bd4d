"""``arrow``: Arrow tables and record batches as uncompressed IPC, which is also their form in memory.

Reading maps the artifact and copies nothing; Arrow data cannot be changed, so it is shared. A dictionary column whose
chunks have different dictionaries comes back with one that holds them all; the values are the same. Tables are IPC
files and batches are IPC streams, so equal content of the two classes has different digests.
"""

from __future__ import annotations

from typing import Any

from orchestrator.artifacts.codec import Codec, Decoding, Encoded, Encoding
from orchestrator.artifacts.describe import TIMES
from orchestrator.ports.values import Loaded

_MOST_COMBINED_BYTES = 1024**3
"""Up to here the chunks of a column are joined, so that equal tables cut differently have equal digests."""


class ArrowCodec(Codec):
    """``pa.Table`` and ``pa.RecordBatch``."""

    name = "arrow"
    roots = ("pyarrow",)

    def encode(self, value: Any, encoding: Encoding) -> Encoded | None:
        """IPC bytes, unless the format would lose a part of the schema."""
        import pyarrow as pa

        if type(value) is pa.Table:
            opened, written = pa.ipc.open_file, _table_bytes(value)
        elif type(value) is pa.RecordBatch:
            opened, written = pa.ipc.open_stream, _batch_bytes(value)
        else:
            return None
        if written is None or not opened(written).schema.equals(value.schema, check_metadata=True):
            return None
        return Encoded((memoryview(written),))

    def decode(self, data: memoryview, path: str, decoding: Decoding) -> Loaded:
        """The table or batch, on the stored bytes."""
        import pyarrow as pa

        source = pa.py_buffer(data)
        if path.endswith(":RecordBatch"):
            return Loaded(pa.ipc.open_stream(source).read_next_batch(), True)
        return Loaded(pa.ipc.open_file(source).read_all(), True)

    def preview(self, value: Any) -> str:
        """Class, shape and column names."""
        return f"{type(value).__name__} {value.num_rows}{TIMES}{value.num_columns}: {', '.join(value.schema.names)}"


CODEC = ArrowCodec()


def _table_bytes(table: Any) -> Any:
    import pyarrow as pa

    try:
        table = table.unify_dictionaries()
        if table.nbytes <= _MOST_COMBINED_BYTES and any(column.num_chunks > 1 for column in table.columns):
            table = table.combine_chunks()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    except pa.ArrowInvalid:  # differing dictionaries inside structs of chunks too large to join
        return None
    return sink.getvalue()


def _batch_bytes(batch: Any) -> Any:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()
