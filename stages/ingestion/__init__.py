"""Getting data in: files on any file system, databases, HTTP, Delta, and real data sets from installed packages.

Each name is imported when it is first asked for: a worker that reads files has no use for a database library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stages.ingestion.broken_rows import Salvaged, salvage
    from stages.ingestion.datasets import dataset
    from stages.ingestion.delta import read_delta
    from stages.ingestion.files import read, read_many
    from stages.ingestion.http import read_http
    from stages.ingestion.incremental import read_new_files, read_new_http, read_new_rows
    from stages.ingestion.part_files import (
        DataSet,
        PartFile,
        find_data_set,
        read_batches,
        read_parts,
        remove_unlisted,
        write_parquet,
    )
    from stages.ingestion.sorted_stream import whole_groups
    from stages.ingestion.sql import read_sql, read_sql_table

__all__ = [
    "DataSet",
    "PartFile",
    "Salvaged",
    "dataset",
    "find_data_set",
    "read",
    "read_batches",
    "read_delta",
    "read_http",
    "read_many",
    "read_new_files",
    "read_new_http",
    "read_new_rows",
    "read_parts",
    "read_sql",
    "read_sql_table",
    "remove_unlisted",
    "salvage",
    "whole_groups",
    "write_parquet",
]

_MODULES = {
    "dataset": "datasets", "read": "files", "read_many": "files", "read_delta": "delta", "read_http": "http",
    "read_new_files": "incremental", "read_new_http": "incremental", "read_new_rows": "incremental",
    "read_sql": "sql", "read_sql_table": "sql",
    "DataSet": "part_files", "PartFile": "part_files", "find_data_set": "part_files", "read_batches": "part_files",
    "read_parts": "part_files", "remove_unlisted": "part_files", "write_parquet": "part_files",
    "Salvaged": "broken_rows", "salvage": "broken_rows", "whole_groups": "sorted_stream",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
