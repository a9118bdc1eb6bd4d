"""Tables from Delta Lake, at any version. Needs the extra ``delta``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from orchestrator import Retry, stage
from orchestrator.errors import ConfigError, NotFound
from stages.columns import require_columns
from stages.errors import DataRejected, SourceUnavailable


@stage(retries=Retry(attempts=4, on=(SourceUnavailable,)), timeout="1h")
def read_delta(
    path: str,
    version: int | None = None,
    columns: Sequence[str] | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> pa.Table:
    """A Delta table.

    Args:
        path: Folder or URL of the table.
        version: Which version; the newest when not given. Pin it, and the step can be cached and repeated.
        storage_options: For object stores; give keys as a ``Secret``.

    Raises:
        NotFound: there is no Delta table, or no such version or column.
        ConfigError: the package ``deltalake`` is not installed.
        DataRejected: the table's log or files are damaged.
        SourceUnavailable: the store cannot be reached; retried.
    """
    try:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError
    except ImportError:
        raise ConfigError("Delta tables need the package deltalake: pip install 'ray-orchestrator[delta]'") from None
    try:
        table = DeltaTable(path, version=version, storage_options=dict(storage_options or {}))
    except TableNotFoundError:
        raise NotFound(f"There is no Delta table at {path!r}.", path=path) from None
    except DeltaError as error:
        wanted = "" if version is None else f", version {version}"
        raise NotFound(f"The Delta table at {path!r}{wanted} cannot be opened: {error}", path=path) from None
    except OSError as error:
        raise SourceUnavailable(f"{path} cannot be reached: {error}", path=path) from None
    names = [field.name for field in table.schema().fields]
    if columns is not None:
        require_columns(names, columns, path)
    try:
        return table.to_pyarrow_table(columns=None if columns is None else list(columns))
    except (DeltaError, FileNotFoundError, pa.ArrowInvalid) as error:
        raise DataRejected(f"The Delta table at {path!r} is damaged: {error}", path=path) from None
    except OSError as error:
        raise SourceUnavailable(f"{path} cannot be reached: {error}", path=path) from None
