"""Runs as runs of MLflow tracking: parameters, metrics with their curves, tags, and the models they published.

An MLflow run is found again by its tag ``orc.run``, and carries the number of the last fact that was sent (``orc.seq``)
in the same request as what follows from it; so a resumed run goes on in the same place, and nothing is there twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from orchestrator.errors import ConfigError, SinkUnavailable
from orchestrator.graph import fact as f
from orchestrator.ports.sinks import News, RunView

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.entities import Run as TrackedRun
    from mlflow.tracking import MlflowClient

NAME = "mlflow"
RUN_TAG, SEQ_TAG = "orc.run", "orc.seq"
_MOST_METRICS = 900
_MOST_PARAMS = 100
_VALUE_CHARS = 5000
_STEP_KEYS = ("iteration", "epoch", "step")
_STATES = {"succeeded": "FINISHED", "degraded": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}


class MlflowSink:
    """Sends to one tracking server or store.

    Args:
        uri: Of the tracking server, or of a store such as ``sqlite:////path/mlflow.db``.
    """

    name = NAME

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._experiments: dict[str, str] = {}

    def send(self, news: News) -> None:
        """See ``Sink``."""
        try:
            self._send(news)
        except (SinkUnavailable, ConfigError):
            raise
        except Exception as error:
            raise SinkUnavailable(f"MLflow at {self._uri} cannot be told: {error}") from error

    @cached_property
    def _client(self) -> MlflowClient:
        try:
            from mlflow.tracking import MlflowClient
        except ModuleNotFoundError:
            raise ConfigError("MLflow needs its client: pip install 'ray-orchestrator[mlflow]'") from None
        return MlflowClient(tracking_uri=self._uri)

    def _send(self, news: News) -> None:
        if not any(isinstance(one.fact, f.RunCreated | f.MetricsReported | f.RunFinished) for one in news.facts):
            return  # nothing that MLflow has a word for
        run, tracked = news.run, self._tracked(news.run)
        sent = int(tracked.data.tags.get(SEQ_TAG, "0"))
        if not sent and run.created is not None and run.created.params:
            self._log_params(tracked, run.created.params)
        counted: dict[str, int] = {}
        gathered: list[Metric] = []
        last = sent
        for recorded in run.reports:
            metrics = self._metrics(recorded, counted)
            if recorded.seq <= sent or recorded.seq > news.facts[-1].seq:
                continue
            gathered, last = gathered + metrics, recorded.seq
            if len(gathered) >= _MOST_METRICS:
                self._note(tracked, last, gathered)
                gathered = []
        if gathered:
            self._note(tracked, last, gathered)
        finished = next((one for one in news.facts if isinstance(one.fact, f.RunFinished)), None)
        if finished is not None and finished.seq > sent:
            self._finish(tracked, run, finished)

    def _tracked(self, run: RunView) -> TrackedRun:
        """The MLflow run of a run; made if there is none."""
        experiment = self._experiment(run.row.pipeline)
        found = self._client.search_runs([experiment], f"tags.`{RUN_TAG}` = '{run.row.id}'", max_results=1)
        if found:
            return found[0]
        created = run.created
        tags = {RUN_TAG: run.row.id, SEQ_TAG: "0", "mlflow.runName": run.row.id, "orc.pipeline": run.row.pipeline}
        tags |= dict(run.row.tags)
        if created is not None and created.git_commit:
            tags["mlflow.source.git.commit"] = created.git_commit
        return self._client.create_run(experiment, int(run.row.created_at * 1000), tags, run.row.id)

    def _log_params(self, tracked: TrackedRun, params: Any) -> None:
        from mlflow.entities import Param

        listed = [Param(name, str(value)[:_VALUE_CHARS]) for name, value in params.items()]
        for start in range(0, len(listed), _MOST_PARAMS):
            self._client.log_batch(tracked.info.run_id, params=listed[start : start + _MOST_PARAMS])

    def _experiment(self, pipeline: str) -> str:
        known = self._experiments.get(pipeline)
        if known is None:
            found = self._client.get_experiment_by_name(pipeline)
            known = found.experiment_id if found else self._client.create_experiment(pipeline)
            self._experiments[pipeline] = known
        return known

    # ---- metrics

    def _metrics(self, recorded: f.Recorded, counted: dict[str, int]) -> list[Metric]:
        """What a step reported, as ``step.metric``; ``counted`` are the points of each curve so far."""
        from mlflow.entities import Metric

        fact, found = recorded.fact, []
        assert isinstance(fact, f.MetricsReported)
        place = fact.node if fact.index == 0 else f"{fact.node}/{fact.index}"
        point = next((int(fact.metrics[key]) for key in _STEP_KEYS if key in fact.metrics), None)
        for name, value in fact.metrics.items():
            if name in _STEP_KEYS or not math.isfinite(value):
                continue
            key = f"{place}.{name}".replace("#", "_")
            counted[key] = counted.get(key, -1) + 1
            found.append(Metric(key, value, int(recorded.at * 1000), counted[key] if point is None else point))
        return found

    def _note(self, tracked: TrackedRun, seq: int, metrics: Sequence[Metric]) -> None:
        from mlflow.entities import RunTag

        self._client.log_batch(tracked.info.run_id, metrics=metrics, tags=[RunTag(SEQ_TAG, str(seq))])

    # ---- the end

    def _finish(self, tracked: TrackedRun, run: RunView, finished: f.Recorded) -> None:
        from mlflow.entities import RunTag

        assert isinstance(finished.fact, f.RunFinished)
        tags = {"orc.state": finished.fact.state, SEQ_TAG: str(finished.seq)}
        if finished.fact.reason:
            tags["orc.reason"] = finished.fact.reason[:_VALUE_CHARS]
        for name, digest in run.published().items():
            kind = "model" if name.startswith("model:") else "data"
            tags[f"orc.{kind}.{name.partition(':')[2].partition('@')[0]}"] = f"{name} {digest}"
        self._client.set_terminated(tracked.info.run_id, _STATES[finished.fact.state], int(finished.at * 1000))
        self._client.log_batch(tracked.info.run_id, tags=[RunTag(name, value) for name, value in tags.items()])
