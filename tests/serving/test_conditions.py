"""The language of ``rollback_if``: what it says, and what it refuses and why."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import ConfigError
from orchestrator.serving.conditions import KNOWN, Condition, parse, text_of


def test_alternatives_and_conditions_joined() -> None:
    errors, slow = Condition("error_rate", ">", 0.01), Condition("p95_ms", ">", 80.0)
    assert parse("error_rate > 0.01 or p95_ms > 80") == ((errors,), (slow,))
    assert parse("error_rate > 0.01 and 80 < p95_ms") == ((errors, slow),)
    assert parse("(error_rate > 1e-2 or p95_ms >= 80) and revenue < -2") == (
        (errors, Condition("revenue", "<", -2.0)),
        (slow, Condition("revenue", "<", -2.0)),
    )
    assert parse("  ") == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("eror_rate > 0.01", "did you mean 'error_rate'?"),
        ("p95 > 80", "did you mean 'p95_ms'?"),
        ("p90_ms > 80", "did you mean 'p50_ms'?|did you mean 'p95_ms'?|did you mean 'p99_ms'?"),
        ("timeout_rate > 0.1", "the router counts error_rate"),
        ("error_rate > 1", "between 0 and 1"),
        ("error_rate > 0", "between 0 and 1"),
        ("error_rate < 0.01", "for being good; write '>'"),
        ("p95_ms > 0", "more than 0"),
        ("error_rate", "no comparison of a name with a number"),
        ("error_rate > slow_rate", "one name with one number"),
        ("error_rate == 0.1", "compare with > or <"),
        ("0.1 < error_rate < 0.2", "compare with > or <"),
        ("not error_rate > 0.1", "no comparison"),
        ("error_rate > 0.01 or", "no expression"),
        ("error_rate > 0.01 || p95_ms > 80", "no expression"),
        ("__import__('os') > 1", "one name with one number"),
        ("error_rate > True", "one name with one number"),
        ("revenue > 1e999", "one name with one number"),
        (" and ".join(f"(a > {n} or b > {n})" for n in range(5)), "32 alternatives"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert any(part in str(caught.value) for part in said.split("|")), caught.value


CONDITIONS = st.builds(
    Condition,
    st.sampled_from(["revenue", "conversion", "clicks"]),
    st.sampled_from([">", "<"]),
    st.integers(-99, 99).map(float),
)


@given(
    st.lists(st.lists(CONDITIONS, min_size=1, max_size=3, unique=True).map(tuple), min_size=1, max_size=4, unique=True)
)
def test_the_text_says_the_same(alternatives: list[tuple[Condition, ...]]) -> None:
    assert parse(text_of(alternatives)) == tuple(alternatives)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="abrp95_ms><=.01 ()orand-", max_size=30))
def test_any_text_is_understood_or_refused(text: str) -> None:
    try:
        found = parse(text)
    except ConfigError:
        return
    assert all(condition.business == (condition.name not in KNOWN) for conditions in found for condition in conditions)
