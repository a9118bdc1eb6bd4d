"""Traces over OTLP/HTTP: a span for the run, for each step and for each attempt, made from facts.

Nothing is measured for them, so they cost a run nothing, and can be sent for runs that ended long ago. Spans that a
stage opens itself are children of its attempt: the worker knows the ids, because they follow from run, step and
attempt (``graph.spans``). Where it goes is OpenTelemetry's own configuration (``OTEL_EXPORTER_OTLP_ENDPOINT`` and the
like).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib import metadata
from itertools import groupby
from typing import TYPE_CHECKING, Any

from orchestrator.errors import ConfigError, SinkUnavailable
from orchestrator.graph import fact as f
from orchestrator.graph import spans
from orchestrator.ports.sinks import AttemptSpan, News, NodeEnded, RunView

if TYPE_CHECKING:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext

NAME = "traces"
MISSING = "traces need OpenTelemetry: pip install 'ray-orchestrator[traces]'"
_PER_REQUEST = 500


class TracesSink:
    """Sends spans of what has ended."""

    name = NAME

    def send(self, news: News) -> None:
        """See ``Sink``."""
        found = [span for change in news.changes if isinstance(change, NodeEnded) for span in self._node(news, change)]
        if any(isinstance(recorded.fact, f.RunFinished) for recorded in news.facts):
            found.append(self._run(news.run))
        for start in range(0, len(found), _PER_REQUEST):
            self._export(found[start : start + _PER_REQUEST])

    def _export(self, found: Sequence[ReadableSpan]) -> None:
        from opentelemetry.sdk.trace.export import SpanExportResult

        try:
            result = self._exporter.export(found)
        except Exception as error:
            raise SinkUnavailable(f"traces cannot be delivered: {error}") from error
        if result is not SpanExportResult.SUCCESS:
            raise SinkUnavailable("traces cannot be delivered: the OTLP endpoint does not answer or refused them")

    @cached_property
    def _exporter(self) -> OTLPSpanExporter:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        except ModuleNotFoundError:
            raise ConfigError(MISSING) from None
        return OTLPSpanExporter()

    @cached_property
    def _resource(self) -> Resource:
        from opentelemetry.sdk.resources import Resource

        return Resource.create({
            "service.name": "ray-orchestrator", "service.version": metadata.version("ray-orchestrator")
        })  # fmt: skip

    # ---- spans

    def _run(self, run: RunView) -> ReadableSpan:
        finished, row = run.finished, run.row
        state = finished.state if finished else row.state
        problem = finished.reason if finished and state in ("failed", "cancelled") else None
        attributes: dict[str, Any] = {"orc.run": row.id, "orc.pipeline": row.pipeline, "orc.state": state}
        attributes |= {f"orc.tag.{name}": value for name, value in row.tags.items()}
        if run.created is not None and run.created.git_commit:
            attributes["vcs.ref.head.revision"] = run.created.git_commit
        return self._span(
            f"run {row.pipeline}", row.id, spans.run_span_id(row.id), None, row.created_at,
            run.finished_at or row.created_at, attributes, problem if state == "failed" else None,
        )  # fmt: skip

    def _node(self, news: News, ended: NodeEnded) -> Iterator[ReadableSpan]:
        """Spans of a node: of a map one over all items; of each step (among the first items) and its attempts."""
        run, node = news.run.row.id, ended.node
        attempts = news.run.attempts(node.id, spans.MOST_ITEMS)
        steps = {index: list(group) for index, group in groupby(attempts, key=lambda one: one.item)}
        above = self._above(news.run, node.id)
        common = {"orc.run": run, "orc.step": node.id, "orc.stage": node.stage.ref if node.stage else ""}
        if node.is_map and attempts:
            begun, until = min(one.started_at for one in attempts), max(one.ended_at for one in attempts)
            attributes = {**common, "orc.state": ended.state, "orc.items": ended.steps}
            above_items = spans.node_span_id(run, node.id)
            yield self._span(f"map {node.id}", run, above_items, above, begun, max(until, ended.at), attributes)
            above = above_items
        for index, tried in steps.items():
            yield from self._step(run, f"{node.id}[{index}]" if node.is_map else node.id, above, tried, common)

    def _above(self, run: RunView, node: str) -> int:
        """The span that the spans of a node are in: the run, or the step whose body called it."""
        parent = run.parent(node)
        return spans.run_span_id(run.row.id) if parent is None else spans.step_span_id(run.row.id, *parent)

    def _step(
        self, run: str, address: str, above: int, tried: Sequence[AttemptSpan], common: Mapping[str, Any]
    ) -> Iterator[ReadableSpan]:
        first, last = tried[0], tried[-1]
        own = spans.step_span_id(run, first.node, first.item)
        attributes = {**common, "orc.index": first.item, "orc.attempts": len(tried)}
        yield self._span(
            f"step {address}", run, own, above, first.started_at, last.ended_at, attributes, _problem(last.failure)
        )
        for one in tried:
            number = spans.attempt_span_id(run, one.node, one.item, one.number)
            attributes = {**common, "orc.index": one.item, "orc.attempt": one.number, "orc.worker": one.worker}
            if one.elapsed_s is not None:
                attributes["orc.body_s"] = one.elapsed_s
            if one.failure is not None:
                attributes |= {"exception.type": one.failure.name, "exception.message": one.failure.message}
                attributes["exception.stacktrace"] = "\n".join(one.failure.frames)
            yield self._span(
                f"attempt {address} {one.number}", run, number, own, one.started_at, one.ended_at, attributes,
                _problem(one.failure),
            )  # fmt: skip

    def _span(
        self,
        name: str,
        run: str,
        own: int,
        above: int | None,
        begun: float,
        ended: float,
        attributes: Mapping[str, Any],
        problem: str | None = None,
    ) -> ReadableSpan:
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace import Status, StatusCode

        return ReadableSpan(
            name, context=_context(run, own), parent=None if above is None else _context(run, above),
            resource=self._resource, attributes=dict(attributes), start_time=int(begun * 1e9),
            end_time=int(max(ended, begun) * 1e9), instrumentation_scope=InstrumentationScope("ray-orchestrator"),
            status=Status(StatusCode.OK) if problem is None else Status(StatusCode.ERROR, problem),
        )  # fmt: skip


def _problem(failure: f.Failure | None) -> str | None:
    return None if failure is None else f"{failure.name}: {failure.message}"


def _context(run: str, span: int) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(spans.trace_id(run), span, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
