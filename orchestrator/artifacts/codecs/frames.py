"""``pandas``: data frames whose columns Arrow holds exactly, as Arrow IPC.

That is a default index, unique plain column names, and columns of numbers, booleans, times without a zone, and pandas'
own strings. Any other frame, and all series and indexes, are left to the pickle codec, which keeps everything.
"""

from __future__ import annotations

from typing import Any

from orchestrator.artifacts.codec import Codec, Decoding, Encoded, Encoding
from orchestrator.artifacts.describe import TIMES
from orchestrator.ports.values import Loaded

_KINDS = "biufmM"
_MARK = {b"stored_as": b"pandas.DataFrame"}
"""Makes the bytes of a frame differ from those of the table that Arrow makes of it."""


class FrameCodec(Codec):
    """``pd.DataFrame``."""

    name = "pandas"
    roots = ("pandas",)

    def encode(self, value: Any, encoding: Encoding) -> Encoded | None:
        """IPC bytes of a simple frame."""
        import pandas as pd
        import pyarrow as pa

        if type(value) is not pd.DataFrame or not _is_simple(value):
            return None
        table = pa.Table.from_pandas(value, preserve_index=None)
        table = table.replace_schema_metadata({**table.schema.metadata, **_MARK})
        if any(column.num_chunks > 1 for column in table.columns):
            table = table.combine_chunks()
        if not _same_shape(value, table.slice(0, 0).to_pandas()):
            return None
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        return Encoded((memoryview(sink.getvalue()),))

    def decode(self, data: memoryview, path: str, decoding: Decoding) -> Loaded:
        """A frame of its own, which may be changed."""
        import pyarrow as pa

        table = pa.ipc.open_file(pa.py_buffer(data)).read_all()
        return Loaded(table.to_pandas().copy(), False)

    def preview(self, value: Any) -> str:
        """Class, shape and column names."""
        rows, columns = value.shape
        return f"DataFrame {rows}{TIMES}{columns}: {', '.join(map(str, value.columns[:20]))}"


CODEC = FrameCodec()


def _is_simple(frame: Any) -> bool:
    import pandas as pd

    names = list(frame.columns)
    index = frame.index
    return (
        bool(names)
        and all(type(name) is str for name in names)
        and len(set(names)) == len(names)
        and frame.columns.name is None
        and type(index) is pd.RangeIndex
        and (index.start, index.step, index.name) == (0, 1, None)
        and not frame.attrs
        and frame.flags.allows_duplicate_labels
        and all(_is_exact(dtype) for dtype in frame.dtypes)
    )


def _is_exact(dtype: Any) -> bool:
    import numpy as np

    if isinstance(dtype, np.dtype):
        return dtype.kind in _KINDS and dtype.isnative and dtype.itemsize <= 8
    return str(dtype) == "str"


def _same_shape(frame: Any, back: Any) -> bool:
    """Whether Arrow leads back to the same dtypes and the same kind of column index."""
    return (
        list(back.dtypes) == list(frame.dtypes)
        and type(back.columns) is type(frame.columns)
        and back.columns.dtype == frame.columns.dtype
    )
