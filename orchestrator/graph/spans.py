"""Ids of traces and spans: they follow from run, step and attempt, so that driver, workers and readers agree on them.

Nobody has to hand a context along, and what is sent twice is the same span.
"""

from __future__ import annotations

from hashlib import blake2b

MOST_ITEMS = 200
"""Items of a map that have spans of their own, and those that failed; of others only the map is told."""


def trace_id(run: str) -> int:
    """Of a run; never 0."""
    return int.from_bytes(blake2b(f"orc trace\n{run}".encode(), digest_size=16).digest(), "big") or 1


def run_span_id(run: str) -> int:
    """Of the run itself."""
    return _span_id("run", run)


def node_span_id(run: str, node: str) -> int:
    """Of a map, over its items."""
    return _span_id("node", run, node)


def step_span_id(run: str, node: str, index: int) -> int:
    """Of a step."""
    return _span_id("step", run, node, str(index))


def attempt_span_id(run: str, node: str, index: int, attempt: int) -> int:
    """Of an attempt, which is what a body runs in."""
    return _span_id("attempt", run, node, str(index), str(attempt))


def traceparent(run: str, node: str, index: int, attempt: int) -> str:
    """W3C trace context of an attempt, for the header ``traceparent``; not sampled beyond ``MOST_ITEMS``."""
    sampled = index < MOST_ITEMS
    return f"00-{trace_id(run):032x}-{attempt_span_id(run, node, index, attempt):016x}-{int(sampled):02x}"


def _span_id(*parts: str) -> int:
    return int.from_bytes(blake2b("\n".join(parts).encode(), digest_size=8).digest(), "big") or 1
