"""Parts that figures rest on: the heavy tail, idle time, the loop of measuring, and the command line's refusals."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.measure import SALT_BITS, Disagreement, measure
from benchmarks.peers import CHAIN_SMALL, FAN_OUT, FAN_OUT_SMALL, LAYERS, PEERS
from benchmarks.pipelines import chain, fan_out, layers, loop
from benchmarks.place import CHECKOUT
from benchmarks.real_work import heavy_tail_s, idle
from benchmarks.row import Reading, Row
from benchmarks.small_steps import layers_sum, successors_sum
from benchmarks.store import p99

SALT = 2**59 + 3


def test_the_tail_is_heavy_bounded_and_the_same_every_time() -> None:
    draw = heavy_tail_s(1500, 1.0)
    assert draw == heavy_tail_s(1500, 1.0)
    assert min(draw) >= 1e-4
    assert 0.5 < max(draw) <= 1.0
    assert sum(sorted(draw)[-150:]) > 0.6 * sum(draw), "a tenth of the steps holds most of the work"
    assert sum(draw) / 2 > max(draw), "two slots can share it"


def test_idle_is_counted_while_some_step_has_not_begun() -> None:
    assert idle([(0.0, 1.0), (0.0, 1.0), (1.0, 2.0), (1.0, 3.0)], 2) == (0.0, 0.0)
    total_s, longest_s = idle([(0.0, 4.0), (0.0, 1.0), (1.5, 2.0), (3.0, 9.0)], 2)
    assert (total_s, longest_s) == (pytest.approx(1.5), pytest.approx(1.0))


def test_after_the_last_step_has_begun_nobody_is_idle() -> None:
    assert idle([(0.0, 1.0), (0.0, 100.0)], 2) == (0.0, 0.0)


def test_p99() -> None:
    assert p99([float(k) for k in range(101)]) == 99.0


def test_graphs_come_to_what_rows_expect() -> None:
    assert fan_out(SALT, 20) == successors_sum(SALT, 20)
    assert chain(SALT, 20) == loop(SALT, 20) == SALT + 20
    assert layers(SALT, 5, 50) == layers_sum(SALT, 5, 50)


def test_peers_are_drawn_on_graphs_that_are_measured() -> None:
    assert {peer.graph for peer in PEERS} == {FAN_OUT_SMALL, CHAIN_SMALL, FAN_OUT, LAYERS}


def test_columns_take_turns_with_salts_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORC_HOME", "elsewhere")
    calls: list[tuple[str, int]] = []

    def column(name: str, salt: int) -> Reading:
        calls.append((name, salt))
        return Reading(1.0, salt + 1)

    columns = {"a": lambda salt: column("a", salt), "b": lambda salt: column("b", salt)}
    warm = {"b": lambda salt: column("warm", salt)}
    row = Row("key", "title", "s", columns, lambda salt: salt + 1, warm=warm, most_repeats=2)
    readings = measure(row, 5, tmp_path, lambda _: None)
    assert [name for name, _ in calls] == ["a", "warm", "b", "warm", "b", "a"]
    assert len({salt for _, salt in calls}) == len(calls)
    assert all(0 <= salt < 2**SALT_BITS for _, salt in calls)
    assert {name: len(found) for name, found in readings.items()} == {"a": 2, "b": 2}


def test_a_wrong_answer_ends_the_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORC_HOME", "elsewhere")
    answers = itertools.count()
    row = Row("key", "title", "s", {"a": lambda _salt: Reading(1.0, next(answers))}, lambda _salt: 0)
    with pytest.raises(Disagreement, match="key, a: 1 instead of 0"):
        measure(row, 2, tmp_path, lambda _: None)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fan-ou"], "there is no row fan-ou"),
        (["--repeat", "0"], "1 or more"),
        (["chain", "--repeat", "x"], "--repeat"),
    ],
)
def test_mistakes_on_the_command_line(arguments: list[str], said: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], cwd=CHECKOUT, capture_output=True, text=True, timeout=600
    )
    assert ended.returncode != 0
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
