"""Spans that stages open themselves become children of their attempt.

In a worker where OpenTelemetry's exporter is configured. Elsewhere there is no such object, and a step pays nothing.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextvars import Token
from typing import TYPE_CHECKING, Any

from orchestrator.graph import spans

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.id_generator import IdGenerator

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""Either of these switches traces on, here and where they are sent from facts."""

_FLUSH_MS = 500


def traces_wanted(env: Mapping[str, str] | None = None) -> bool:
    """Whether the environment says where traces go."""
    env = os.environ if env is None else env
    return any(env.get(name) for name in ENDPOINTS) and env.get("OTEL_SDK_DISABLED", "").lower() != "true"


class AttemptSpans:
    """Puts the context of an attempt around its body; made where ``traces_wanted``."""

    def __init__(self) -> None:
        from opentelemetry import context, trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self._context = context
        self._trace = trace
        self._provider = TracerProvider(id_generator=_ids())  # samples as the parent does
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=_FLUSH_MS))
        trace.set_tracer_provider(self._provider)

    def enter(self, run: str, node: str, index: int, attempt: int) -> Token[Any]:
        """The body of an attempt starts in this thread."""
        flags = self._trace.TraceFlags(int(index < spans.MOST_ITEMS))
        own = spans.attempt_span_id(run, node, index, attempt)
        parent = self._trace.SpanContext(spans.trace_id(run), own, is_remote=True, trace_flags=flags)
        above = self._trace.set_span_in_context(self._trace.NonRecordingSpan(parent), self._context.Context())
        return self._context.attach(above)

    def leave(self, token: Token[Any]) -> None:
        """The body has ended."""
        self._context.detach(token)

    def close(self) -> None:
        """Send what has not been sent."""
        self._provider.shutdown()


def _ids() -> IdGenerator:
    """Ids that do not come from the generator that is seeded anew for each attempt: they would be the same again."""
    from opentelemetry.sdk.trace.id_generator import IdGenerator

    class SystemIds(IdGenerator):
        """Ids from the system's randomness; a step's own draws stay what they are."""

        def generate_span_id(self) -> int:
            return secrets.randbits(64) or 1

        def generate_trace_id(self) -> int:
            return secrets.randbits(128) or 1

    return SystemIds()


def attempt_spans() -> AttemptSpans | None:
    """Spans of this worker; None where nobody wants them, or OpenTelemetry is not installed."""
    if not traces_wanted():
        return None
    try:
        return AttemptSpans()
    except ModuleNotFoundError:
        return None
