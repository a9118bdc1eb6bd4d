"""Guards one by one, claims over several of them, and a guard that is dropped in as one file."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import ConfigError
from orchestrator.ports.serving import Endpoint, Served, ServedState
from orchestrator.ports.traffic import OutcomeTally, Tally
from orchestrator.serving import Canary, Strategy
from orchestrator.serving.claims import Claim, claims_of
from orchestrator.serving.clusters import Design
from orchestrator.serving.guard import Evidence, Guard, guards_of
from orchestrator.serving.window import Window, difference, slower

NONE = Tally()


def health(state: ServedState) -> Served:
    return Served(Endpoint("app", "v2", "http://x"), state, "ImportError: no")


def window(candidate: Tally = NONE, stable: Tally = NONE, **more: Any) -> Window:
    return Window(candidate, stable, **{"share": 0.2, "elapsed_s": 1.0, "health": health("healthy"), **more})


def guard(key: str, strategy: Strategy | None = None) -> Guard:
    return guards_of(strategy or Canary())[key]


def watched(guard: Guard, *windows: Window) -> Evidence:
    """What it says after all windows; its state goes through JSON in between."""
    state: Any = {}
    for one in windows:
        state, evidence = guard.look(json.loads(json.dumps(state, allow_nan=False)), one)
    return evidence


def test_a_rate_over_its_limit_and_one_under_it() -> None:
    limit = guard("error_rate > 0.01", Canary(rollback_if="error_rate > 0.01"))
    assert watched(limit, *[window(Tally(requests=100, errors=6))] * 4).log_e > math.log(1000)
    assert watched(limit, *[window(Tally(requests=100, errors=1))] * 40).log_e < 0
    found = watched(limit, *[window(Tally(requests=100, errors=2))] * 3)
    assert (found.candidate, found.samples, found.limit) == (pytest.approx(0.02), 300, 0.01)
    assert not watched(limit, window()).enough


def test_clients_that_fail_together_prove_less() -> None:
    limit = guard("error_rate > 0.01", Canary(rollback_if="error_rate > 0.01"))
    bad = Tally(requests=100, errors=10)
    alone, together = (watched(limit, *[window(bad, design=Design(errors=d))] * 3).log_e for d in (1.0, 20.0))
    assert together < math.log(20) < math.log(1000) < alone


def test_a_quantile_counts_what_is_above_it() -> None:
    tally = Tally(requests=10, latencies={10: 4, 70: 3, 75: 3})
    assert slower(tally, 80.0, 1000.0) == 3  # bucket 70 may hold some of 78 ms
    assert slower(Tally(slow=7, latencies={75: 3}), 80.0, 80.0) == 7
    limit = guard("p95_ms > 80", Canary(rollback_if="p95_ms > 80"))
    slow, fine = Tally(requests=100, latencies={40: 80, 90: 20}), Tally(requests=100, latencies={40: 96, 90: 4})
    assert watched(limit, *[window(slow)] * 5).log_e > math.log(1000)
    assert watched(limit, *[window(fine)] * 20).log_e < 0


@pytest.mark.parametrize(
    ("key", "field"),
    [
        ("more errors than the stable version", "errors"),
        ("slower than the stable version", "slow"),
        ("more broken answers than the stable version", "broken"),
    ],
)
def test_worse_than_the_stable_version(key: str, field: str) -> None:
    worse, alike = Tally(requests=50, **{field: 5}), Tally(requests=200, **{field: 20})
    better = Tally(requests=200, **{field: 2})
    assert watched(guard(key), *[window(worse, better)] * 6).log_e > math.log(1000)
    assert watched(guard(key), *[window(worse, alike)] * 30).log_e < math.log(3)
    assert watched(guard(key), *[window(worse, NONE)] * 30).log_e == pytest.approx(0.0)


def test_an_outage_of_both_is_no_evidence() -> None:
    out = window(Tally(requests=50, errors=45), Tally(requests=200, errors=180))
    found = {key: watched(one, *[out] * 20) for key, one in guards_of(Canary()).items()}
    assert not any(evidence.at_once or evidence.log_e > math.log(100) for evidence in found.values())


@pytest.mark.parametrize(
    ("key", "field"), [("hardly any request is answered", "errors"), ("hardly any answer has a value", "broken")]
)
def test_a_collapse_acts_at_once(key: str, field: str) -> None:
    down = window(Tally(requests=4, **{field: 4}), Tally(requests=20))
    assert not watched(guard(key), down, down).at_once
    assert watched(guard(key), down, down, down).at_once
    pause = window(Tally(requests=9, **{field: 4}), Tally(requests=20))
    assert not watched(guard(key), down, down, pause, down).at_once
    one_client = window(Tally(requests=40, **{field: 40}), Tally(requests=20), design=Design(errors=40.0))
    assert not watched(guard(key), one_client).at_once


def test_a_candidate_that_does_not_stay_up() -> None:
    crashes = guard("the candidate does not stay up")
    up, down = window(), window(health=health("unhealthy"))
    assert not watched(crashes, up, down, up, down, up).at_once
    assert watched(crashes, up, down, up, down, up, down).at_once
    assert not watched(crashes, *[down] * 9).at_once
    found = watched(crashes, *[down] * 10)
    assert found.at_once
    assert "now unhealthy: ImportError: no" in found.said
    assert watched(crashes, up, window(health=None)).at_once


def test_silence_acts_when_it_cannot_be_chance() -> None:
    silence = guard("the candidate answers nothing")
    quiet = window(NONE, Tally(requests=30))
    assert not watched(silence, quiet, quiet).at_once  # 0.8 ** 60 > 10^-6
    assert watched(silence, quiet, quiet, quiet).at_once
    assert not watched(silence, quiet, quiet, window(Tally(requests=1), Tally(requests=30)), quiet).at_once
    busy = window(Tally(turned_away=5), Tally(requests=30))  # it has too much to do, which is no silence
    assert not watched(silence, *[busy] * 20).at_once
    few_clients = window(NONE, Tally(requests=30), clients=5)
    assert not watched(silence, *[few_clients] * 20).at_once
    assert not watched(silence, *[few_clients] * 20, window()).at_once  # the router said nothing
    assert not watched(silence, *[window(share=1.0)] * 20).at_once  # nobody asks


def test_requests_of_before_a_larger_share_are_no_silence() -> None:
    silence = guard("the candidate answers nothing")
    answered = window(Tally(requests=5), Tally(requests=95), share=0.05, elapsed_s=5.0)
    late = window(NONE, Tally(requests=40), share=0.5, elapsed_s=0.25)
    assert not watched(silence, answered, late).at_once  # answered with 5 %: 0.95 ** 40 > 10^-6
    assert watched(silence, answered, *[late] * 13).at_once  # and now with 50 %
    assert not watched(silence, answered, *[replace(late, share=1.0)] * 20).at_once
    assert not watched(silence, late).at_once  # the first requests of a release came before it


def outcomes(count: int, mean: float, spread: float) -> Tally:
    squares = count * (mean * mean + spread * spread)
    return Tally(requests=count, outcomes={"revenue": OutcomeTally(count, count * mean, squares, 0.0, 99.0)})


def test_a_business_metric_under_its_limit() -> None:
    low = guard("revenue < 5", Canary(rollback_if="revenue < 5"))
    assert watched(low, *[window(outcomes(100, 4.5, 2.0), outcomes(400, 5.5, 2.0))] * 8).log_e > math.log(1000)
    assert watched(low, *[window(outcomes(100, 5.5, 2.0))] * 8).log_e < 0
    few = watched(low, window(outcomes(50, 0.1, 0.1)))
    assert (few.enough, few.log_e) == (False, 0.0)
    assert few.said == "50 of the 100 values it needs"


def test_a_metric_of_zeros_and_ones_is_a_rate() -> None:
    low = guard("revenue < 0.1", Canary(rollback_if="revenue < 0.1"))
    rate = Tally(requests=100, outcomes={"revenue": OutcomeTally(100, 2.0, 2.0, 0.0, 1.0)})
    assert watched(low, *[window(rate)] * 4).log_e > math.log(1000)


def test_alternatives_share_the_risk_and_joined_conditions_have_one_part() -> None:
    strategy = Canary(rollback_if="error_rate > 0.01 or slow_rate > 0.1 and broken_rate > 0.1", compare=("errors",))
    guards = guards_of(strategy)
    found = {key: Evidence(key, log_e=9.0) for key in guards}
    found["broken_rate > 0.1"] = Evidence("broken_rate > 0.1", log_e=1.0)
    claims = {claim.said: claim for claim in claims_of(strategy, guards, found)}
    soft = [claim for claim in claims.values() if claim.needed < math.inf]
    assert len(soft) == 3
    assert {round(math.exp(-claim.needed) * 3, 6) for claim in soft} == {0.009}
    assert claims["error_rate > 0.01"].proved
    assert not claims["slow_rate > 0.1 and broken_rate > 0.1"].proved
    assert claims["slow_rate > 0.1 and broken_rate > 0.1"].log_e == 1.0
    for claim in claims.values():
        assert Claim.from_json(json.loads(json.dumps(claim.to_json(), allow_nan=False))) == claim


def test_totals_that_shrink_do_not_belong_together() -> None:
    before = Tally(requests=5, errors=1, latencies={3: 4}, outcomes={"m": OutcomeTally(2, 2.0, 2.0, 0.0, 1.0)})
    now = Tally(requests=9, errors=1, latencies={3: 5, 4: 3}, outcomes={"m": OutcomeTally(3, 3.0, 3.0, 0.0, 1.0)})
    assert difference(now, before) == Tally(
        requests=4, latencies={3: 1, 4: 3}, outcomes={"m": OutcomeTally(1, 1.0, 1.0, 0.0, 1.0)}
    )
    assert difference(before, now) is None


DROPPED = """
from orchestrator.serving.guard import Evidence

NAMES = ("rejected_rate",)

class Rejections:
    key, hard = "clients are turned away", False

    def look(self, state, window):
        seen = state.get("seen", 0) + window.candidate.rejected
        return {"seen": seen}, Evidence(self.key, log_e=float(seen), samples=seen)

def guards(strategy):
    return [Rejections()]
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    home = tmp_path / f"dropped_{tmp_path.name}"
    home.mkdir()
    (home / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield home
    for name in [name for name in sys.modules if name.startswith(home.name)]:
        del sys.modules[name]


def test_a_guard_is_one_file_in_its_place(package: Path) -> None:
    (package / "rejections.py").write_text(DROPPED)
    found = guards_of(Canary(), package.name, "")
    assert list(found) == ["clients are turned away"]
    assert watched(found["clients are turned away"], *[window(Tally(rejected=4))] * 2).log_e == 8.0


@pytest.mark.parametrize(
    ("second", "said"), [(DROPPED, "second guard 'clients are turned away'"), ("", "needs a function guards")]
)
def test_files_that_bring_no_guards_or_one_twice_are_refused(package: Path, second: str, said: str) -> None:
    (package / "one.py").write_text(DROPPED)
    (package / "two.py").write_text(second)
    with pytest.raises(ConfigError, match=said):
        guards_of(Canary(), package.name, "")


def test_a_condition_for_which_no_guard_answers_is_refused(package: Path) -> None:
    (package / "rejections.py").write_text(DROPPED)
    with pytest.raises(ConfigError, match=r"no guard answers for 'error_rate > 0\.01'"):
        guards_of(Canary(rollback_if="error_rate > 0.01"), package.name, "")
