"""What a replica takes on: batches that answer as single requests do, and how many replicas a load is worth."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.backends.serve_answer import predict, predict_all
from orchestrator.backends.serve_scaling import LatencyWindow, QueueAndLatency, scaled, wanted
from orchestrator.errors import ConfigError, UserError
from orchestrator.ports.capture import Capture
from orchestrator.ports.serving import Autoscaling, Load, check_deployment


class Halving:
    """Answers x / 2; ``bad`` rows are refused, ``nan`` ones are answered with none, ``few`` with nothing at all."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """One number a row."""
        self.calls.append(len(rows))
        for position, row in enumerate(rows):
            if "bad" in row:
                raise UserError(f"row {position} is bad", row=position, input="bad")
        answers = [float("nan") if "nan" in row else row["x"] / 2 for row in rows]
        return answers[1:] if any("few" in row for row in rows) else answers


def body(*rows: Any) -> bytes:
    return json.dumps({"rows": rows}).encode()


GOOD = [body({"x": 1}), body({"x": 2}, {"x": 3}), body(), body({"x": 4})]


def test_a_batch_is_one_call_and_is_answered_row_by_row() -> None:
    predictor = Halving()
    assert predict_all(predictor, GOOD) == [predict(Halving(), one) for one in GOOD]
    assert predictor.calls == [4]


@pytest.mark.parametrize(
    "wrong",
    [
        body({"x": 9}, {"bad": 1}), body({"x": 1, "nan": 1}), body({"x": 1, "few": 1}), body({"y": 1}), b"no JSON",
        b'{"rows": "ab"}', b"[1]", body("text"),
    ],
)  # fmt: skip
def test_one_bad_request_of_a_batch_is_nobody_elses(wrong: bytes) -> None:
    bodies = [GOOD[0], wrong, GOOD[1]]
    answers = predict_all(Halving(), bodies)
    assert answers == [predict(Halving(), one) for one in bodies]
    assert [answer.status == 200 for answer in answers] == [True, False, True]


def test_replicas_follow_the_queue_and_answers_that_take_too_long() -> None:
    assert wanted(2, 10, [], 2.0, 100) == 5
    assert wanted(2, 0, [40], 2.0, 100) == 0  # Serve keeps the least there may be
    assert wanted(2, 1, [90, 60], 2.0, 100) == 2  # with fewer it would be too slow soon
    assert wanted(2, 1, [110], 2.0, 100) == 3
    assert wanted(4, 1, [150, 90], 2.0, 100) == 6
    assert wanted(4, 1, [5_000], 2.0, 100) == 8  # never more than twice as many at once
    assert wanted(4, 40, [5_000], 2.0, 100) == 20


def test_serve_hands_the_policy_what_replicas_measured() -> None:
    seen = SimpleNamespace(
        current_num_replicas=2, total_num_requests=1, aggregated_metrics={"p95_ms": {"a": 300.0, "b": 0.0}}
    )
    assert QueueAndLatency(2.0, 100.0)(seen) == (4, {})
    seen.aggregated_metrics = None
    assert QueueAndLatency(2.0, 100.0)(seen) == (1, {})


def test_latencies_are_those_of_the_last_seconds() -> None:
    now = [0.0]
    window = LatencyWindow(lambda: now[0])
    assert window.p95_ms() == 0
    for took_ms in range(1, 101):
        window.add(took_ms)
    assert window.p95_ms() == 95
    now[0] = 11.0
    window.add(7)
    assert window.p95_ms() == 7


def test_options_go_to_serve_under_its_own_names() -> None:
    assert scaled(3, Load()) == {"num_replicas": 3}
    config = scaled(1, Load(autoscaling=Autoscaling(4, target_latency_ms=50)))["autoscaling_config"]
    assert (config["min_replicas"], config["max_replicas"], config["target_ongoing_requests"]) == (1, 4, 2.0)
    assert config["policy"]["policy_kwargs"] == {"target_ongoing_requests": 2.0, "target_latency_ms": 50}
    assert "policy" not in scaled(1, Load(autoscaling=Autoscaling(4)))["autoscaling_config"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Autoscaling(0), "max_replicas=0"),
        (lambda: Autoscaling(2, min_replicas=0), "min_replicas=0"),
        (lambda: Autoscaling(2, target_latency_ms=0), "have to be positive"),
        (lambda: Autoscaling(2, upscale_delay_s=-1), "cannot be negative"),
        (lambda: Load(max_queued_requests=0), "max_queued_requests=0 has to be 1 or more"),
        (lambda: Load(max_ongoing_requests=4, max_batch_size=8), "is never reached"),
        (lambda: Load(batch_wait_timeout_s=-1), "from 0 to 60 seconds"),
        (lambda: check_deployment(0, 0, 0, None, None), "replicas=0"),
        (lambda: check_deployment(2, 0, 0, Load(autoscaling=Autoscaling(4)), None), "give min_replicas"),
        (lambda: check_deployment(1, 0, 1.5, None, None), "num_gpus=1.5: a fraction is of one"),
        (lambda: check_deployment(1, -1, 0, None, None), "num_cpus=-1"),
        (lambda: check_deployment(1, 0, float("nan"), None, None), "num_gpus=nan"),
        (lambda: check_deployment(1, 0, 0, None, Capture("/tmp/c")), "say which inputs"),
    ],
)
def test_options_that_no_server_could_do_are_refused(make: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()
