"""The simulation of canaries in small: hardly any false rollback, nearly every bad candidate found, exact bounds."""

from __future__ import annotations

import pytest

from benchmarks.releases import ALIKE, WORSE, Canaries, alike, upper_bound


def test_alike_versions_are_promoted() -> None:
    rows = alike(60, seed=9)
    assert [row["canaries"] for row in rows] == [24, 24, 12, 60]
    assert rows[-1]["rolled_back"] <= 1, rows


def test_five_points_of_errors_are_found() -> None:
    world = next(world for world in WORSE if world.name == "+5 points of errors")
    run = Canaries(world, 3)
    ended = [run.one() for _ in range(40)]
    assert sum(record.cause == "guard" for record, _ in ended) >= 39
    assert max(requests for _, requests in ended) <= 60 * world.batch


def test_clients_keep_their_version_while_the_weights_stay() -> None:
    record, _ = Canaries(ALIKE[1][0], 4).one()
    assert record.strategy == ALIKE[1][0].strategy


@pytest.mark.parametrize(
    ("hits", "trials", "bound"), [(0, 100, 0.02951), (5, 100, 0.10225), (100, 100, 1.0), (0, 10_000, 0.0002995)]
)
def test_the_bound_is_the_exact_one(hits: int, trials: int, bound: float) -> None:
    assert upper_bound(hits, trials) == pytest.approx(bound, rel=1e-3)
