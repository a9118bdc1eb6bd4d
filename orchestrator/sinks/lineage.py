"""Lineage in OpenLineage's words: START, and COMPLETE, FAIL or ABORT, of each run and of each of its nodes.

A node's event has the run as its parent. Ids are UUIDs that follow from run and node, times those of the facts, so
what is sent twice is the same twice. Where it goes is OpenLineage's own configuration (``OPENLINEAGE_URL`` and the
like); ``ORC_OPENLINEAGE_FILE`` is a file that gets one event a line.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from typing import TYPE_CHECKING, Any

from orchestrator.errors import ConfigError, SinkUnavailable
from orchestrator.graph import fact as f
from orchestrator.ports.sinks import DataSet, News, NodeEnded, NodeStarted, RunView

if TYPE_CHECKING:
    from openlineage.client import OpenLineageClient
    from openlineage.client.event_v2 import InputDataset, OutputDataset, RunEvent

NAME = "lineage"
PRODUCER = "https://pypi.org/project/ray-orchestrator"
_IDS = uuid.UUID("6f9d3c1e-7f0b-5c55-9a53-0d1cf0b1a7f2")
_ENDS = {
    "succeeded": "COMPLETE", "cached": "COMPLETE", "degraded": "COMPLETE", "dropped": "ABORT", "skipped": "ABORT",
    "cancelled": "ABORT", "failed": "FAIL",
}  # fmt: skip


def run_uuid(run: str, node: str = "") -> str:
    """Id of a run, or of a node in it."""
    return str(uuid.uuid5(_IDS, f"{run}\n{node}"))


class LineageSink:
    """Sends events through OpenLineage's client.

    Args:
        namespace: Of jobs, and of data sets that are no files.
        file: One event a line is added to it, instead of what the client's configuration says.
    """

    name = NAME

    def __init__(self, namespace: str, file: str = "") -> None:
        self._namespace = namespace
        self._file = file

    def send(self, news: News) -> None:
        """See ``Sink``."""
        for event in self._events(news):
            try:
                self._client.emit(event)
            except Exception as error:
                raise SinkUnavailable(f"OpenLineage events cannot be delivered: {error}") from error

    @cached_property
    def _client(self) -> OpenLineageClient:
        try:
            from openlineage.client import OpenLineageClient
            from openlineage.client.event_v2 import set_producer
            from openlineage.client.transport.file import FileConfig, FileTransport
        except ModuleNotFoundError:
            raise ConfigError("OpenLineage events need its client: pip install 'ray-orchestrator[lineage]'") from None
        set_producer(PRODUCER)
        transport = FileTransport(FileConfig(self._file, append=True)) if self._file else None
        client = OpenLineageClient(transport=transport)
        client.config.facets.source_code_location.disabled = True  # it would be that of this process, not of the run
        return client

    # ---- events

    def _events(self, news: News) -> list[RunEvent]:
        run, found = news.run, []
        order: list[tuple[float, int, Any]] = []
        for recorded in news.facts:
            if isinstance(recorded.fact, f.DriverStarted) and recorded.at == run.started_at:
                order.append((recorded.at, 0, recorded.fact))
            elif isinstance(recorded.fact, f.RunFinished):
                order.append((recorded.at, 2, recorded.fact))
        order += [(change.at, 1, change) for change in news.changes]
        for at, _, what in sorted(order, key=lambda one: one[:2]):
            if isinstance(what, f.DriverStarted):
                found.append(self._of_run(run, "START", at))
            elif isinstance(what, f.RunFinished):
                kind = {"failed": "FAIL", "cancelled": "ABORT"}.get(what.state, "COMPLETE")
                found.append(self._of_run(run, kind, at, what.reason if kind == "FAIL" else ""))
            else:
                found.append(self._of_node(run, what))
        return found

    def _of_run(self, run: RunView, kind: str, at: float, problem: str = "") -> RunEvent:
        from openlineage.client.facet_v2 import job_type_job, tags_run

        facets: dict[str, Any] = {"processing_engine": self._engine(), **self._failed(problem)}
        tags = [*run.row.tags.items(), ("orc_run", run.row.id)]
        facets["tags"] = tags_run.TagsRunFacet(
            tags=[tags_run.TagsRunFacetFields(key=key, value=value, source="ORC") for key, value in tags]
        )
        job = {"jobType": job_type_job.JobTypeJobFacet("BATCH", "RAY_ORCHESTRATOR", "PIPELINE")}
        return self._event(kind, at, run_uuid(run.row.id), facets, run.row.pipeline, job)

    def _of_node(self, run: RunView, change: NodeStarted | NodeEnded) -> RunEvent:
        from openlineage.client.facet_v2 import job_type_job, parent_run

        node, ended = change.node, isinstance(change, NodeEnded)
        parent = parent_run.ParentRunFacet(
            run=parent_run.Run(runId=run_uuid(run.row.id)),
            job=parent_run.Job(namespace=self._namespace, name=run.row.pipeline),
        )
        facets: dict[str, Any] = {"parent": parent, "processing_engine": self._engine()}
        kind = "START"
        if isinstance(change, NodeEnded):
            kind = _ENDS[change.state]
            if change.failure is not None and kind == "FAIL":
                failure = change.failure
                facets |= self._failed(f"{failure.name}: {failure.message}", "\n".join(failure.frames))
        name = f"{run.row.pipeline}.{node.id}"
        job = {"jobType": job_type_job.JobTypeJobFacet("BATCH", "RAY_ORCHESTRATOR", "STEP")}
        outputs = run.makes(node) if ended and kind == "COMPLETE" else ()
        return self._event(
            kind, change.at, run_uuid(run.row.id, node.id), facets, name, job,
            [self._input(one) for one in run.reads(node)], [self._output(one) for one in outputs],
        )  # fmt: skip

    def _event(
        self,
        kind: str,
        at: float,
        run: str,
        facets: Mapping[str, Any],
        name: str,
        job: Mapping[str, Any],
        inputs: Sequence[InputDataset] = (),
        outputs: Sequence[OutputDataset] = (),
    ) -> RunEvent:
        from openlineage.client.event_v2 import Job, Run, RunEvent, RunState

        return RunEvent(
            eventType=RunState[kind], eventTime=datetime.fromtimestamp(at, UTC).isoformat(),
            run=Run(run, dict(facets)), job=Job(self._namespace, name, dict(job)),
            inputs=list(inputs), outputs=list(outputs),
        )  # fmt: skip

    def _engine(self) -> Any:
        from openlineage.client.facet_v2 import processing_engine_run

        version = metadata.version("ray-orchestrator")
        return processing_engine_run.ProcessingEngineRunFacet(version, "ray-orchestrator", version)

    @staticmethod
    def _failed(message: str, frames: str = "") -> dict[str, Any]:
        from openlineage.client.facet_v2 import error_message_run

        if not message:
            return {}
        return {"errorMessage": error_message_run.ErrorMessageRunFacet(message, "python", frames or None)}

    # ---- data sets

    def _input(self, data: DataSet) -> InputDataset:
        from openlineage.client.event_v2 import InputDataset

        namespace, name = dataset_name(data.name, self._namespace)
        return InputDataset(namespace, name, facets=self._facets(data))

    def _output(self, data: DataSet) -> OutputDataset:
        from openlineage.client.event_v2 import OutputDataset
        from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics

        namespace, name = dataset_name(data.name, self._namespace)
        found: dict[str, Any] = {}
        if data.rows is not None:
            found["outputStatistics"] = statistics.OutputStatisticsOutputDatasetFacet(rowCount=data.rows)
        return OutputDataset(namespace, name, facets=self._facets(data), outputFacets=found)

    @staticmethod
    def _facets(data: DataSet) -> dict[str, Any]:
        from openlineage.client.facet_v2 import dataset_version_dataset, schema_dataset

        found: dict[str, Any] = {}
        if data.version:
            found["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(data.version)
        if data.columns:
            fields = [schema_dataset.SchemaDatasetFacetFields(one.name, one.type) for one in data.columns]
            found["schema"] = schema_dataset.SchemaDatasetFacet(fields)
        return found


def dataset_name(name: str, namespace: str) -> tuple[str, str]:
    """Namespace and name by OpenLineage's conventions: a file's are its scheme with its authority, and its path."""
    scheme, mark, rest = name.partition("://")
    if not mark:
        return namespace, name
    if scheme == "file":
        return "file", os.path.abspath(rest)
    authority, _, path = rest.partition("/")
    return f"{scheme}://{authority}", path
