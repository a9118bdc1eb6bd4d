"""How many replicas a version has: a fixed number, or as many as Serve's autoscaler is told that its load is worth.

Serve pickles this module by value for its controller, which need not have the engine; so it imports nothing at the top
but the standard library.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.ports.serving import Load

LOOK_BACK_S = 10.0
"""How far back requests and latencies count."""

P95_MS = "p95_ms"
"""Name of the measurement that replicas hand to the autoscaler."""

_MOST_SAMPLES = 1_000


class LatencyWindow:
    """How long the answers of the last seconds took, of at most the last thousand."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._took: deque[tuple[float, float]] = deque(maxlen=_MOST_SAMPLES)

    def add(self, took_ms: float) -> None:
        """Remember one answer."""
        self._took.append((self._now(), took_ms))

    def p95_ms(self) -> float:
        """The 95th percentile, 0 if nothing was answered."""
        since = self._now() - LOOK_BACK_S
        recent = sorted(took_ms for at, took_ms in self._took.copy() if at >= since)
        return recent[math.ceil(0.95 * len(recent)) - 1] if recent else 0.0


class QueueAndLatency:
    """The number of replicas by requests at a time, or more if answers take too long; called by Serve's controller."""

    def __init__(self, target_ongoing_requests: float, target_latency_ms: float) -> None:
        self._target_ongoing_requests = target_ongoing_requests
        self._target_latency_ms = target_latency_ms

    def __call__(self, context: Any) -> tuple[float, dict[str, Any]]:
        """Replicas that are wanted, and nothing to remember; bounds and delays are Serve's own."""
        by_replica = (context.aggregated_metrics or {}).get(P95_MS, {})
        latencies = [float(value) for value in by_replica.values() if value]
        return wanted(
            context.current_num_replicas, context.total_num_requests, latencies, self._target_ongoing_requests,
            self._target_latency_ms,
        ), {}  # fmt: skip


def wanted(
    replicas: int, ongoing: float, latencies_ms: list[float], target_ongoing: float, target_latency_ms: float
) -> int:
    """Replicas that a load is worth.

    Args:
        replicas: How many there are.
        ongoing: Requests under way and waiting, at all of them.
        latencies_ms: 95th percentile of each replica that has answered lately.
    """
    by_queue = math.ceil(ongoing / target_ongoing)
    if not latencies_ms or not replicas:
        return by_queue
    worst = max(latencies_ms)
    if worst > target_latency_ms:  # at most twice as many at a time: what takes long on its own is not helped by more
        return max(by_queue, replicas + max(1, math.floor(replicas * min(1.0, worst / target_latency_ms - 1))))
    if worst > target_latency_ms / 2:  # with fewer, it would be over the target soon
        return max(by_queue, replicas)
    return by_queue


def scaled(replicas: int, load: Load) -> Mapping[str, Any]:
    """Options of a deployment for the number of its replicas."""
    wish = load.autoscaling
    if wish is None:
        return {"num_replicas": replicas}
    config: dict[str, Any] = {
        "min_replicas": wish.min_replicas,
        "max_replicas": wish.max_replicas,
        "target_ongoing_requests": wish.target_ongoing_requests,
        "upscale_delay_s": wish.upscale_delay_s,
        "downscale_delay_s": wish.downscale_delay_s,
        "look_back_period_s": LOOK_BACK_S,
    }
    if wish.target_latency_ms is not None:
        config["policy"] = {
            "policy_function": f"{__name__}:{QueueAndLatency.__name__}",
            "policy_kwargs": {
                "target_ongoing_requests": wish.target_ongoing_requests,
                "target_latency_ms": wish.target_latency_ms,
            },
        }
    return {"autoscaling_config": config}
