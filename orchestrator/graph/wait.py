"""Steps that wait for a person or a program without holding a worker."""

from __future__ import annotations

from typing import Any, Literal, cast

from orchestrator.errors import InvalidDuration, InvalidPipeline
from orchestrator.graph.context import current
from orchestrator.graph.local import LocalCaller
from orchestrator.graph.node import Node
from orchestrator.graph.options import check_name
from orchestrator.graph.source import refusal, user_source
from orchestrator.graph.trace import tracing
from orchestrator.types import Duration, seconds


def approve(text: str, timeout: Duration | None = None) -> bool:
    """Wait until somebody approves or refuses; the answer as a bool, for ``when`` or as an argument.

    Args:
        text: What is to be decided, for people.
        timeout: How long to wait; without an answer by then the step fails.
    """
    if not isinstance(text, str) or not text.strip():
        raise refusal(InvalidPipeline, "approve(…) needs a text that says what is to be decided")
    return cast(bool, _wait("approval", "approve", text, timeout, bool))


def signal(name: str, timeout: Duration | None = None) -> Any:
    """Wait until a program sends the signal ``name``; its payload.

    Args:
        timeout: How long to wait; without a signal by then the step fails.
    """
    return _wait("signal", check_name(name), name, timeout, Any)


def _wait(kind: Literal["approval", "signal"], name: str, prompt: str, timeout: Duration | None, output: Any) -> Any:
    try:
        timeout_s = None if timeout is None else seconds(timeout)
    except InvalidDuration as error:
        raise refusal(InvalidPipeline, f"{kind} {prompt!r}: {error.message}") from None
    trace = tracing()
    if trace is not None:
        return trace.placeholder(trace.add(name, kind, prompt=prompt, timeout_s=timeout_s), output)
    node = Node(name, kind, prompt=prompt, timeout_s=timeout_s, source=user_source())
    context = current()
    if context is None:
        return LocalCaller().wait(node)
    if context.caller is None:
        raise refusal(InvalidPipeline, f"{kind} {prompt!r}: a stage cannot wait; do it in the pipeline or @dynamic")
    return context.caller.wait(node)
