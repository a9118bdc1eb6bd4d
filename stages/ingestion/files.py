"""Tables from files: Parquet, CSV and Arrow, on any file system that fsspec knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import fsspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet

from orchestrator import File, Retry, stage
from orchestrator.errors import ConfigError, NotFound
from stages.columns import cast_columns, require_columns, suggestion
from stages.errors import DataRejected

Format = Literal["parquet", "csv", "arrow"]

_FORMAT_OF_SUFFIX: Mapping[str, Format] = {
    "parquet": "parquet",
    "pq": "parquet",
    "csv": "csv",
    "arrow": "arrow",
    "feather": "arrow",
    "ipc": "arrow",
}


@stage(cache="30d", retries=Retry(attempts=4, on=(OSError,)), timeout="10m")
def read(
    path: File,
    columns: Sequence[str] | None = None,
    types: Mapping[str, str] | None = None,
    format: Format | None = None,
) -> pa.Table:
    """Read one file into a table.

    Args:
        path: Path or fsspec URL (``s3://…``, ``gs://…``, ``https://…``).
        columns: Columns to read, in this order; all when not given.
        types: Arrow type names by column; what does not fit is an error.
        format: ``parquet``, ``csv`` or ``arrow``; by the ending of the path when not given.

    Raises:
        NotFound: no such file, or a column is missing from it.
        DataRejected: the file is not of its format, or a column does not have the wanted type.
        ConfigError: the format cannot be told, or a type name is not known.
    """
    kind = format or _format_of(str(path))
    filesystem, inner = fsspec.core.url_to_fs(str(path))
    try:
        with filesystem.open(inner, "rb") as source:
            table = _parse(pa.PythonFile(source, mode="r"), kind, columns, str(path))
    except FileNotFoundError:
        raise NotFound(f"There is no file {str(path)!r}.{_neighbour(filesystem, inner)}", path=str(path)) from None
    except IsADirectoryError:
        raise NotFound(f"{str(path)!r} is a directory; name one file in it.", path=str(path)) from None
    except pa.ArrowInvalid as error:
        raise DataRejected(f"{str(path)!r} cannot be read as {kind}: {error}", path=str(path)) from None
    return cast_columns(table, types, str(path)) if types else table


def _format_of(path: str) -> Format:
    suffix = path.rpartition(".")[2].lower()
    if suffix not in _FORMAT_OF_SUFFIX:
        raise ConfigError(
            f"The ending of {path!r} does not tell its format (known: {', '.join(_FORMAT_OF_SUFFIX)}); pass format=…"
        )
    return _FORMAT_OF_SUFFIX[suffix]


def _parse(source: pa.NativeFile, kind: Format, columns: Sequence[str] | None, path: str) -> pa.Table:
    if kind == "parquet":
        file = pyarrow.parquet.ParquetFile(source)
        if columns is not None:
            require_columns(file.schema_arrow.names, columns, path)
        table = file.read(columns=None if columns is None else list(columns))
    elif kind == "csv":
        table = pyarrow.csv.read_csv(source)
    else:
        table = pyarrow.ipc.open_file(source).read_all()
    if columns is None:
        return table
    require_columns(table.column_names, columns, path)
    return table.select(list(columns))


def _neighbour(filesystem: fsspec.AbstractFileSystem, inner: str) -> str:
    """A close match among the files beside a missing one; empty where the place cannot be listed."""
    folder, _, name = inner.rpartition("/")
    try:
        beside = [entry.rpartition("/")[2] for entry in filesystem.ls(folder or ".", detail=False)]
    except (OSError, NotImplementedError, ValueError):
        return ""
    return suggestion(name, beside)
