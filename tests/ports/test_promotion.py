"""Promotion decided purely: whatever is asked in whatever order, nobody is served what nobody checked."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import PromotionRefused
from orchestrator.ports.promotion import (
    PREVIOUS,
    GateCheck,
    Promotion,
    Standing,
    Wanted,
    check_release,
    needs_checks,
    promote,
    stage_for_release,
)

GOOD = (GateCheck("gate", True),)
BAD = (GateCheck("gate", True), GateCheck("latency of one row", False, "p99 12 ms is above 5"))


def wanted(number: int, to: str, checks: tuple[GateCheck, ...] = GOOD, **others: object) -> Wanted:
    return Wanted("model:m", number, to, "ann", 1.0, checks=checks, **others)  # type: ignore[arg-type]


def after(*steps: Wanted) -> Standing:
    standing = Standing({"keep": 9})
    for step in steps:
        _, standing = promote(standing, step)
    return standing


ASKED = st.builds(
    wanted,
    st.integers(1, 4),
    st.sampled_from(["dev", "staging", "production"]),
    st.sampled_from([GOOD, BAD, ()]),
    why=st.sampled_from(["", "the old one is on fire"]),
    force=st.booleans(),
    alias=st.sampled_from(["", "champion"]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(ASKED, max_size=14))
def test_whatever_is_asked_nobody_is_served_what_nobody_checked(asked: list[Wanted]) -> None:
    standing, history = Standing({"keep": 9}), list[Promotion]()
    for one in asked:
        try:
            record, then = promote(standing, one)
        except PromotionRefused:
            continue
        up = needs_checks(standing, one.number, one.to)
        assert record.before == standing.stage(one.number)
        assert then.stage(one.number) == record.to == one.to
        assert not up or record.forced or (one.checks and all(check.passed for check in one.checks))
        assert not record.forced or one.why
        if one.to == "production":
            been = {entry.number for entry in history if entry.to in ("staging", "production")}
            assert one.number in been
        standing = then
        history.append(record)
    tags = dict(standing.tags)
    assert tags.pop("keep") == 9
    assert tags.pop("champion", 1) in (1, 2, 3, 4)
    assert set(tags) <= {"staging", "production", PREVIOUS}
    assert len({tags.get("staging", -1), tags.get("production", -2)}) == 2
    assert tags.get(PREVIOUS) is None or tags[PREVIOUS] != tags.get("production")
    assert standing.served == {entry.number for entry in history if entry.to == "production"}
    for number in standing.served - {tags.get("production")}:
        back, again = promote(standing, wanted(number, "production", ()))
        assert not back.forced
        assert again.stage(number) == "production"


def test_up_one_stage_at_a_time_and_the_one_before_is_remembered() -> None:
    with pytest.raises(PromotionRefused, match="goes one stage at a time"):
        after(wanted(1, "production"))
    first = after(wanted(1, "staging"), wanted(1, "production"), wanted(2, "staging"))
    assert first.tags == {"keep": 9, "production": 1, "staging": 2}
    record, second = promote(first, wanted(2, "production", alias="champion"))
    assert record.replaced == 1
    assert second.tags == {"keep": 9, "production": 2, PREVIOUS: 1, "champion": 2}
    _, back = promote(second, wanted(1, "production", ()))
    assert back.tags == {"keep": 9, "production": 1, PREVIOUS: 2, "champion": 2}
    _, out = promote(back, wanted(1, "dev", ()))
    assert out.tags == {"keep": 9, PREVIOUS: 1, "champion": 2}


def test_what_did_not_pass_stays_and_says_why() -> None:
    with pytest.raises(PromotionRefused, match="stays in dev: latency of one row: p99 12 ms is above 5"):
        after(wanted(1, "staging", BAD))
    with pytest.raises(PromotionRefused, match="nothing was checked"):
        after(wanted(1, "staging", ()))
    with pytest.raises(PromotionRefused, match="takes a reason"):
        after(wanted(1, "staging", BAD, force=True))
    with pytest.raises(PromotionRefused, match="is in dev already"):
        after(wanted(1, "dev"))
    record, _ = promote(Standing(), wanted(1, "staging", BAD, force=True, why="a fire"))
    assert (record.forced, record.why) == (True, "a fire")
    record, _ = promote(Standing(), wanted(1, "staging", GOOD, force=True, why="to be sure"))
    assert not record.forced


def test_a_release_takes_what_stands_high_enough() -> None:
    unused, used = Standing({"champion": 1}), after(wanted(1, "staging"), wanted(1, "production"), wanted(2, "staging"))
    assert (stage_for_release(unused), stage_for_release(used)) == ("dev", "production")
    check_release(unused, "model:m@v1", 1, "dev")
    check_release(used, "model:m@v1", 1, "production")
    check_release(used, "model:m@v2", 2, "staging")
    with pytest.raises(PromotionRefused, match=r"v2 is in staging.*orc promote m@v2 --to production"):
        check_release(used, "model:m@v2", 2, "production")
    with pytest.raises(PromotionRefused, match=r"v3 is in dev.*orc promote m@v3 --to staging"):
        check_release(used, "model:m@v3", 3, "production")
