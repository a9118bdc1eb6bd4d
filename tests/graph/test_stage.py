from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from typing import Any

import cloudpickle
import pytest

from orchestrator import Retry, Secret, dynamic, pipeline, stage, step
from orchestrator.errors import ImpossibleResources, InvalidStage
from orchestrator.graph.options import MISSING
from orchestrator.graph.policy import Policy, RetryPolicy


@stage
def plain(a: int, b: int = 2) -> int:
    """Adds.

    More.
    """
    return a + b


@stage(retries=2, timeout="1m")
def other(a: int) -> int:
    return a


def undecorated(a: int) -> int:
    return a * 10


as_call = stage(undecorated, retries=1, name="tenfold")


def test_a_stage_outside_of_a_pipeline_is_its_function() -> None:
    assert plain(1) == 3
    assert plain(1, b=5) == 6
    assert as_call(2) == 20
    assert plain.__name__ == "plain"
    assert plain.__doc__ == plain.function.__doc__


def test_options_become_a_policy_in_seconds_and_bytes() -> None:
    @stage(
        cache="30d", retries=3, timeout="10m", num_cpus=2, num_gpus=0.25, memory="2GiB", resources={"tpu": 1},
        accelerator_type="A100", label_selector={"zone": "a"}, runtime_env={"pip": ["x"]}, isolated=True,
        uses=("serving", "data"),
    )  # fmt: skip
    def heavy(a: int) -> int:
        return a

    policy = heavy.policy
    assert policy.cache_s == 30 * 86400
    assert policy.retry == RetryPolicy(attempts=4, base_s=1.0, cap_s=60.0, on=("builtins:Exception",))
    assert policy.timeout_s == 600
    assert policy.resources.num_cpus == 2
    assert policy.resources.num_gpus == 0.25
    assert policy.resources.memory == 2 * 2**30
    assert policy.resources.resources == {"tpu": 1.0}
    assert policy.resources.label_selector == {"zone": "a"}
    assert policy.resources.runtime_env == {"pip": ["x"]}
    assert policy.resources.accelerator_type == "A100"
    assert policy.isolated
    assert policy.uses == ("data", "serving")
    assert not policy.light


def test_without_options_the_policy_is_the_default() -> None:
    assert plain.policy == Policy()
    assert plain.policy.light


@pytest.mark.parametrize(
    ("given", "seconds"), [(True, math.inf), (math.inf, math.inf), (None, None), (False, None), (60, 60.0)]
)
def test_cache_durations(given: Any, seconds: float | None) -> None:
    assert plain.options(cache=given).policy.cache_s == seconds


def test_retry_in_full() -> None:
    policy = plain.options(retries=Retry(attempts=5, backoff="10ms..2s", on=(OSError, KeyError))).policy.retry
    assert policy == RetryPolicy(5, 0.01, 2.0, ("builtins:OSError", "builtins:KeyError"))
    assert plain.options(retries=Retry(2, backoff="5s")).policy.retry.cap_s == 5.0
    assert plain.options(retries=Retry(2, backoff=3)).policy.retry.base_s == 3.0


def test_options_at_a_call_leave_the_rest_and_the_stage_alone() -> None:
    changed = other.options(num_gpus=0.5, name="big")
    assert (changed.name, changed.policy.resources.num_gpus) == ("big", 0.5)
    assert changed.policy.retry.attempts == 3
    assert (other.name, other.policy.resources.num_gpus) == ("other", 0.0)
    assert changed.options(timeout=None).policy.timeout_s is None
    assert changed.options(timeout=None).name == "big"


def test_a_fallback_of_none_is_a_fallback() -> None:
    degraded = plain.options(fallback=None)
    assert degraded.policy.has_fallback
    assert degraded.fallback is None
    assert plain.fallback is MISSING


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"num_gpus": 1.5}, ImpossibleResources),
        ({"num_gpus": -1}, ImpossibleResources),
        ({"num_cpus": math.inf}, ImpossibleResources),
        ({"num_cpus": math.nan}, ImpossibleResources),
        ({"memory": -5}, ImpossibleResources),
        ({"resources": {"tpu": -1}}, ImpossibleResources),
        ({"num_gpus": 0.00001}, ImpossibleResources),
        ({"resources": {"GPU": 1}}, InvalidStage),
        ({"num_cpus": "2"}, InvalidStage),
        ({"num_cpus": True}, InvalidStage),
        ({"memory": "lots"}, InvalidStage),
        ({"resources": 3}, InvalidStage),
        ({"timeout": "soon"}, InvalidStage),
        ({"timeout": 0}, InvalidStage),
        ({"timeout": [1]}, InvalidStage),
        ({"cache": "x"}, InvalidStage),
        ({"retries": -1}, InvalidStage),
        ({"retries": True}, InvalidStage),
        ({"retries": Retry(attempts=0)}, InvalidStage),
        ({"retries": Retry(backoff="9s..1s")}, InvalidStage),
        ({"retries": Retry(backoff="often")}, InvalidStage),
        ({"retries": Retry(on=("OSError",))}, InvalidStage),
        ({"effects": True, "cache": "1d"}, InvalidStage),
        ({"streaming": "yes"}, InvalidStage),
        ({"uses": "ray"}, InvalidStage),
        ({"on_item_error": "ignore"}, InvalidStage),
        ({"name": "a/b"}, InvalidStage),
        ({"name": "a#2"}, InvalidStage),
        ({"name": ""}, InvalidStage),
        ({"runtime_env": {"env_vars": {"A": Secret("env:A")}}}, InvalidStage),
        ({"retry": 3}, InvalidStage),
        ({"max_steps": 3}, InvalidStage),
        ({"breaker": None}, InvalidStage),
    ],
)
def test_bad_options_are_refused_with_the_users_line(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        plain.options(**options)
    assert caught.value.details["file"] == __file__
    assert "plain" in str(caught.value) or "name" in str(caught.value)


def test_an_unknown_option_gets_a_suggestion() -> None:
    with pytest.raises(InvalidStage, match=r"did you mean 'retries'\?"):
        stage(undecorated, retrys=3)  # type: ignore[call-overload]


def test_what_cannot_be_a_stage() -> None:
    async def waits() -> None: ...

    def yields() -> Iterator[int]:
        yield 1

    with pytest.raises(InvalidStage, match="async"):
        stage(waits)
    with pytest.raises(InvalidStage, match="streaming=True"):
        stage(yields)
    with pytest.raises(InvalidStage, match="yields"):
        dynamic(yields)
    with pytest.raises(InvalidStage, match="no function"):
        stage(3)  # type: ignore[call-overload]
    with pytest.raises(InvalidStage, match=r"plain\.options"):
        stage(plain)


def test_a_streaming_stage_is_annotated_with_an_iterator() -> None:
    @stage(streaming=True)
    def wrong() -> int:
        return 3

    @pipeline
    def p() -> int:
        return wrong()

    with pytest.raises(InvalidStage, match="Iterator"):
        p.graph()


def test_a_fallback_has_to_fit_what_the_stage_returns() -> None:
    @stage(fallback=None)
    def count() -> int:
        return 3

    @pipeline
    def p() -> int:
        return count()

    with pytest.raises(InvalidStage, match="fallback= does not fit"):
        p.graph()


def test_secrets_are_resolved_in_plain_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    @stage
    def connect(password: str, more: dict[str, list[str]], user: str = Secret("env:ORC_TEST_USER")) -> str:
        return f"{user}:{password}:{more['a'][0]}"

    monkeypatch.setenv("ORC_TEST_PASSWORD", "pw")
    monkeypatch.setenv("ORC_TEST_USER", "me")
    secret = Secret("env:ORC_TEST_PASSWORD")
    assert connect(secret, {"a": [secret]}) == "me:pw:pw"
    assert connect(secret, {"a": [secret]}, user="you") == "you:pw:pw"


def test_streams_have_a_step_context_while_they_run() -> None:
    closed = []

    @stage(streaming=True)
    def batches(count: int) -> Iterator[str]:
        try:
            for _ in range(count):
                yield step().node
        finally:
            closed.append(True)

    assert list(batches(2)) == ["batches", "batches"]
    stream = batches(5)
    assert next(stream) == "batches"
    stream.close()  # type: ignore[attr-defined]
    assert closed == [True, True]


def test_an_importable_stage_is_pickled_by_reference() -> None:
    assert plain.spec.ref == f"{__name__}:plain"
    assert pickle.loads(pickle.dumps(plain)) is plain
    changed = pickle.loads(pickle.dumps(plain.options(retries=7, name="x")))
    assert (changed.name, changed.policy.retry.attempts, changed.function) == ("x", 8, plain.function)


def test_a_local_stage_keeps_its_reference_when_pickled() -> None:
    def make(factor: int) -> Any:
        @stage(timeout="1s")
        def scale(x: int) -> int:
            return x * factor

        return scale

    twice, thrice = make(2), make(3)
    assert twice.spec.ref != thrice.spec.ref
    again = pickle.loads(cloudpickle.dumps(twice))
    assert again.spec == twice.spec
    assert again(4) == 8


def test_spec_describes_the_stage() -> None:
    spec = plain.spec
    assert spec.parameters == ("a", "b")
    assert spec.types == {"a": "int", "b": "int"}
    assert (spec.returns, spec.doc, spec.name) == ("int", "Adds.", "plain")


def test_callables_without_a_name_of_their_own() -> None:
    double = stage(lambda x: x * 2)
    assert double.name == "lambda"
    assert double(2) == 4


def test_a_changed_fallback_survives_pickling() -> None:
    first = pickle.loads(pickle.dumps(plain.options(fallback=1)))
    assert first.fallback == 1
    assert first.function is plain.function


def test_a_name_at_the_call_names_the_steps_and_not_the_stage() -> None:
    renamed = plain.options(name="big")
    assert (renamed.name, renamed.spec.name) == ("big", "plain")
