"""What a stored value looks like, for pages and programs that must not run code of its author.

Only formats that cannot execute anything are opened: plain data, Arrow, Parquet, npy and manifests of containers. For
everything else, pickles first of all, there is the description that the worker sent along.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from orchestrator.errors import ArtifactUnreadable
from orchestrator.ports.artifacts import ArtifactStore
from orchestrator.ports.values import CONTAINERS, Cell, Entry, decode_manifest, describe

ROWS, COLUMNS = 50, 40
"""How much of a table is shown."""

_PLAIN_BYTES = 4 * 1024 * 1024
_CELL_CHARS = 120
_COLUMN_BYTES = 4 * 1024 * 1024
_ARRAY_BYTES = 64 * 1024 * 1024
_ITEMS, _DEPTH, _TEXT = 200, 6, 20_000
_IMAGE_SIDE, _LEAST_SIDE = 512, 8
_MAGIC: Mapping[bytes, str] = {
    b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Image:
    """A picture as a browser shows it."""

    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class TableHead:
    """The first rows of a table, as text; ``rows_total`` and ``columns_total`` say how much there is."""

    columns: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[str]]
    rows_total: int
    columns_total: int


@dataclass(frozen=True, slots=True)
class Preview:
    """A value, as far as it can be shown.

    Attributes:
        value: Plain data that JSON can hold, if ``kind`` is ``data``; long lists and texts are cut.
        parts: Names and cells of the children, if ``kind`` is ``parts``.
        note: Why there is no more to see.
    """

    kind: str
    value: Any = None
    table: TableHead | None = None
    image: Image | None = None
    parts: Sequence[tuple[str, Cell]] = ()
    note: str = ""


def preview(store: ArtifactStore, cell: Cell) -> Preview:
    """Look at a value without running code.

    Raises:
        ArtifactMissing, ArtifactCorrupt: its bytes are gone, or not what was written.
        ArtifactUnreadable: they are not what their format says.
    """
    if not isinstance(cell, Entry):
        return Preview("data", _plain(cell, _DEPTH))
    look = _LOOKS.get(cell.codec)
    if cell.codec in CONTAINERS:
        look = _parts
    if look is None:
        how = "a pickle, which could run code" if cell.codec == "pickle" else f"{cell.codec}"
        return Preview("described", note=f"stored as {how}; it is not opened here")
    data = cell.data if cell.data is not None else store.get(cell.digest)
    try:
        return look(memoryview(data), cell)
    except (ValueError, TypeError, KeyError, EOFError, OSError, msgspec.DecodeError) as error:
        raise ArtifactUnreadable(f"the {cell.codec} content {cell.digest} cannot be shown: {error}") from error


def part(store: ArtifactStore, cell: Cell, path: Sequence[str]) -> Cell | None:
    """Cell of a part of containers in containers, by the names that ``preview`` gives them; None if there is none."""
    for name in path:
        if not isinstance(cell, Entry) or cell.codec not in CONTAINERS:
            return None
        children = dict(_children(memoryview(cell.data if cell.data is not None else store.get(cell.digest))))
        if name not in children:
            return None
        cell = children[name]
    return cell


def columns(store: ArtifactStore, cell: Cell) -> list[tuple[str, str]]:
    """Names and types of the columns of a stored table, without its rows; none if it is no table.

    Raises:
        ArtifactMissing, ArtifactCorrupt, ArtifactUnreadable: as ``preview``.
    """
    schema = _SCHEMAS.get(cell.codec) if isinstance(cell, Entry) else None
    if schema is None or not isinstance(cell, Entry):
        return []
    data = cell.data if cell.data is not None else store.get(cell.digest)
    try:
        return [(field.name, str(field.type)) for field in schema(memoryview(data), cell)]
    except (ValueError, TypeError, KeyError, EOFError, OSError) as error:
        raise ArtifactUnreadable(f"the {cell.codec} content {cell.digest} cannot be read: {error}") from error


# ---- containers and plain data


def _children(data: memoryview) -> list[tuple[str, Cell]]:
    manifest = decode_manifest(data)
    keys = range(len(manifest.cells)) if manifest.keys is None else manifest.keys
    return [(str(key), child) for key, child in zip(keys, manifest.cells, strict=True)]


def _parts(data: memoryview, entry: Entry) -> Preview:
    children = _children(data)
    note = f"the first {_ITEMS} of {len(children):,}" if len(children) > _ITEMS else ""
    return Preview("parts", parts=children[:_ITEMS], note=note)


def _msgpack(data: memoryview, entry: Entry) -> Preview:
    if entry.type == "builtins:bytes":
        content = bytes(msgspec.msgpack.decode(data, type=bytes))
        media_type = next((kind for magic, kind in _MAGIC.items() if content.startswith(magic)), None)
        if media_type is not None:
            return Preview("image", image=Image(media_type, content))
    if len(data) > _PLAIN_BYTES:
        return Preview("described", note=f"{len(data):,} bytes of plain data; too much to show")
    return Preview("data", _plain(msgspec.msgpack.decode(data), _DEPTH))


def _plain(value: Any, depth: int) -> Any:
    """Plain data that JSON can hold: cut where it is long or deep."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": repr(value)}
    if isinstance(value, bytes):
        return {"$bytes": len(value)}
    if isinstance(value, str):
        return value if len(value) <= _TEXT else f"{value[:_TEXT]}… ({len(value):,} characters)"
    if isinstance(value, list | dict) and not depth:
        return {"$more": len(value)}
    if isinstance(value, list):
        shown = [_plain(item, depth - 1) for item in value[:_ITEMS]]
        return shown if len(value) <= _ITEMS else [*shown, {"$more": len(value) - _ITEMS}]
    if isinstance(value, dict):
        return {str(key): _plain(value[key], depth - 1) for key in list(value)[:_ITEMS]}
    return value


# ---- tables


def _arrow(data: memoryview, entry: Entry) -> Preview:
    import pyarrow as pa

    source = pa.py_buffer(data)
    if entry.type.endswith(":RecordBatch"):
        batch = pa.ipc.open_stream(source).read_next_batch()
        return _table(pa.Table.from_batches([batch.slice(0, ROWS)]), batch.num_rows)
    with pa.ipc.open_file(source) as file:
        head: list[Any] = []
        for number in range(file.num_record_batches):
            head.append(file.get_batch(number))
            if sum(batch.num_rows for batch in head) >= ROWS:
                break
        table = pa.Table.from_batches(head, schema=file.schema)
        total = entry.length if entry.length is not None else table.num_rows
        return _table(table.slice(0, ROWS), total)


def _parquet(data: memoryview, entry: Entry) -> Preview:
    import pyarrow as pa
    from pyarrow import parquet

    with parquet.ParquetFile(pa.BufferReader(pa.py_buffer(data))) as file:
        first = next(file.iter_batches(batch_size=ROWS), None)
        table = file.schema_arrow.empty_table() if first is None else pa.Table.from_batches([first])
        return _table(table, file.metadata.num_rows)


def _arrow_schema(data: memoryview, entry: Entry) -> Any:
    import pyarrow as pa

    opened = pa.ipc.open_stream if entry.type.endswith(":RecordBatch") else pa.ipc.open_file
    with opened(pa.py_buffer(data)) as file:
        return file.schema


def _parquet_schema(data: memoryview, entry: Entry) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    with parquet.ParquetFile(pa.BufferReader(pa.py_buffer(data))) as file:
        return file.schema_arrow


def _table(table: Any, total: int) -> Preview:
    shown = [(field.name, str(field.type)) for field in list(table.schema)[:COLUMNS]]
    columns = [_texts(table.column(number)) for number in range(len(shown))]
    rows = [[column[row] for column in columns] for row in range(table.num_rows)]
    return Preview("table", table=TableHead(shown, rows, total, table.num_columns))


def _texts(column: Any) -> list[str]:
    if column.nbytes > _COLUMN_BYTES:
        return ["(large)"] * len(column)
    return [_shown(value) for value in column.to_pylist()]


def _shown(value: object) -> str:
    text = "" if value is None else value if isinstance(value, str) else f"{value:.6g}" if isinstance(
        value, float) else str(value)  # fmt: skip
    return text if len(text) <= _CELL_CHARS else text[: _CELL_CHARS - 1] + "…"


# ---- arrays


def _npy(data: memoryview, entry: Entry) -> Preview:
    import numpy as np

    if len(data) > _ARRAY_BYTES:
        return Preview("described", note=f"an array of {len(data):,} bytes; too much to show")
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if _is_image(array):
        side = max(1, math.ceil(max(array.shape[:2]) / _IMAGE_SIDE))
        return Preview("image", image=Image("image/png", png(array[::side, ::side])))
    if array.ndim not in (1, 2) or not array.size:
        return Preview("described", note=f"an array of shape {array.shape}")
    grid = array.reshape(-1, 1) if array.ndim == 1 else array
    names = [(str(number), str(array.dtype)) for number in range(min(grid.shape[1], COLUMNS))]
    rows = [[_shown(value.item()) for value in row[:COLUMNS]] for row in grid[:ROWS]]
    return Preview("table", table=TableHead(names, rows, grid.shape[0], grid.shape[1]))


def _is_image(array: Any) -> bool:
    flat = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    return bool(flat and str(array.dtype) in ("uint8", "bool") and min(array.shape[:2]) >= _LEAST_SIDE)


def png(array: Any) -> bytes:
    """An array of bytes as a PNG file: grey (height, width), RGB or RGBA (height, width, 3 or 4)."""
    import numpy as np

    pixels = np.ascontiguousarray(array.astype(np.uint8) * (255 if array.dtype == bool else 1))
    height, width = pixels.shape[:2]
    colour = {2: 0, 3: {3: 2, 4: 6}.get(pixels.shape[-1], 0)}[pixels.ndim]
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    head = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines.tobytes(), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


_LOOKS: Mapping[str, Callable[[memoryview, Entry], Preview]] = {
    "msgpack": _msgpack, "arrow": _arrow, "pandas": _arrow, "parquet": _parquet, "npy": _npy,
}  # fmt: skip

_SCHEMAS: Mapping[str, Callable[[memoryview, Entry], Any]] = {
    "arrow": _arrow_schema, "pandas": _arrow_schema, "parquet": _parquet_schema,
}  # fmt: skip


def described(cell: Cell) -> str:
    """Type and a few characters of a value, from its description alone."""
    seen = describe(cell)
    return seen.preview or seen.type
