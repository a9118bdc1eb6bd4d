"""Ray Data inside a step: quiet, and without pools of workers that thrash on few CPUs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa


class RayData:
    """``ports.data.Data`` on the Ray that runs the step."""

    def __init__(self) -> None:
        self._configured = False

    def from_arrow(self, tables: pa.Table | Sequence[pa.Table]) -> Any:
        """See ``Data``."""
        return self._ray_data().from_arrow(tables if isinstance(tables, pa.Table) else list(tables))

    def read_parquet(self, paths: str | Sequence[str], columns: Sequence[str] | None = None) -> Any:
        """See ``Data``."""
        given = paths if isinstance(paths, str) else list(paths)
        return self._ray_data().read_parquet(given, columns=None if columns is None else list(columns))

    def to_arrow(self, dataset: Any) -> pa.Table:
        """See ``Data``."""
        import ray

        tables = [table for table in ray.get(dataset.to_arrow_refs()) if table.num_columns]
        return pa.concat_tables(tables) if tables else pa.table({})

    def _ray_data(self) -> Any:
        import ray.data

        if not self._configured:
            context = ray.data.DataContext.get_current()
            context.enable_progress_bars = False
            context.print_on_execution_start = False
            self._configured = True
        return ray.data
