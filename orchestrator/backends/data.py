"""Ray Data inside a step: quiet, in order, and without pools of workers that thrash on few CPUs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import pyarrow as pa

from orchestrator.backends.division import outcome_of
from orchestrator.graph.context import StepContext, active, current
from orchestrator.ports.data import PartCall

OUTCOME, ERROR = "outcome", "error"
"""Columns of what comes back from a part: one row, one of the two filled."""


class Source(Hashable, Protocol):
    """Code of the run, for tasks of Ray; sent to them."""

    def function(self, reference: str) -> Callable[..., Any]:
        """The function of a stage of the run."""
        ...


class RayData:
    """``ports.data.Data`` on the Ray that runs the step."""

    def __init__(self, source: Source | None = None) -> None:
        self._source = source
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

    def map_parts(self, parts: Sequence[pa.Table], call: PartCall) -> Iterator[Any]:
        """See ``Data``."""
        import cloudpickle
        import ray
        import ray.data

        if self._source is None:
            raise ValueError("this Ray Data was made without the code of a run")
        self._ray_data()
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        # Bytes, so that Ray does not look inside before the run's code is importable in the task.
        shared = [ray.put(cloudpickle.dumps((call.rest, dict(call.named))))]
        work = PartWork(self._source, replace(call, rest=(), named={}), shared, _Place.of(current()))
        outcomes: Any = ray.data.from_arrow(list(parts)).map_batches(
            work, batch_size=None, batch_format="pyarrow", zero_copy_batch=True, num_cpus=call.num_cpus
        )
        for batch in outcomes.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for outcome, error in zip(batch.column(OUTCOME), batch.column(ERROR), strict=True):
                if error.is_valid:
                    raise cloudpickle.loads(error.as_py())
                yield _decoded(outcome)

    def _ray_data(self) -> Any:
        import ray.data

        if not self._configured:
            context = ray.data.DataContext.get_current()
            context.enable_progress_bars = False
            context.print_on_execution_start = False
            self._configured = True
        return ray.data


@dataclass(frozen=True, slots=True)
class _Place:
    """What a call on a part can know of its step."""

    run: str
    node: str
    index: int
    attempt: int
    seed: int

    @classmethod
    def of(cls, context: StepContext | None) -> _Place:
        if context is None:
            return cls("local", "step", 0, 1, 0)
        return cls(context.run_id, context.node, context.index, context.attempt, context.seed)


@dataclass(frozen=True)
class PartWork:
    """The call, in a task of Ray Data. A part that fails is no failure of the task: Ray would repeat it.

    Attributes:
        shared: Reference to the pickled arguments that all parts share.
    """

    source: Source
    call: PartCall
    shared: list[Any]
    place: _Place

    def __call__(self, part: pa.Table) -> pa.Table:
        """One row: what the call came to."""
        import cloudpickle
        import ray

        try:
            function = _function(self.source, self.call.stage)
            rest, named = cloudpickle.loads(ray.get(self.shared[0]))
            where = self.place
            context = StepContext(where.run, where.node, where.index, attempt=where.attempt, seed=where.seed)
            with active(context):
                outcome = outcome_of(function, part, replace(self.call, rest=rest, named=named))
            row = {OUTCOME: _encoded(outcome), ERROR: None}
        except Exception as error:
            row = {OUTCOME: None, ERROR: cloudpickle.dumps(error.with_traceback(None))}
        return pa.table({name: pa.array([row[name]], pa.large_binary()) for name in (OUTCOME, ERROR)})


@functools.lru_cache(maxsize=64)
def _function(source: Source, reference: str) -> Callable[..., Any]:
    """A function of a run, unpacked once in a process."""
    return source.function(reference)


def _encoded(outcome: Any) -> bytes:
    """A table as an IPC stream, so that nothing of its schema is lost on the way; anything else pickled."""
    if not isinstance(outcome, pa.Table):
        import cloudpickle

        return b"P" + bytes(cloudpickle.dumps(outcome))
    sink = pa.BufferOutputStream()
    sink.write(b"T" + bytes(7))  # what follows stays aligned
    with pa.ipc.new_stream(sink, outcome.schema) as writer:
        writer.write_table(outcome)
    return memoryview(sink.getvalue())  # type: ignore[return-value]


def _decoded(outcome: Any) -> Any:
    data = outcome.as_buffer()
    if data[:1].to_pybytes() == b"T":
        return pa.ipc.open_stream(data.slice(8)).read_all()
    import cloudpickle

    return cloudpickle.loads(data.slice(1))
