"""How large the rows are: as the targets say, or small enough to see in a minute that every row works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of steps, and seconds where a step takes time.

    Attributes:
        cold_ray: Whether rows may start a Ray of their own, which takes longer than everything else in small.
    """

    fan_out: int = 10_000
    small_fan_out: int = 1_000
    chain: int = 1_000
    small_chain: int = 200
    depth: int = 20
    width: int = 50
    loop: int = 1_000
    million: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    real_steps: int = 64
    waiting_s: float = 1.0
    cpu_s: float = 0.25
    tail_steps: int = 1_500
    tail_longest_s: float = 1.0
    array_bytes: int = 100_000_000
    cached: int = 1_000
    planned: int = 100_000
    resumed: int = 100_000
    facts: int = 200_000
    paced_s: float = 4.0
    batches: int = 5
    batch_s: float = 1.0
    table_rows: tuple[int, ...] = (10_000, 100_000, 1_000_000, 10_000_000)
    flights_rows: int = 3_000_000
    tpch_scale: float = 1.0
    divided_rows: tuple[int, ...] = (300_000, 3_000_000, 10_000_000)
    divided_rounds: tuple[int, ...] = (1, 100)
    watched: int = 300_000
    watchers: int = 500
    cold_ray: bool = True


FULL = Sizes()
QUICK = Sizes(
    fan_out=200, small_fan_out=100, chain=50, small_chain=20, depth=3, width=10, loop=20, million=(100, 200, 1_000),
    real_steps=6, waiting_s=0.05, cpu_s=0.02, tail_steps=40, tail_longest_s=0.05, array_bytes=1_000_000, cached=50,
    planned=1_000, resumed=400, facts=5_000, paced_s=0.3, batches=3, batch_s=0.2,
    table_rows=(1_000,), flights_rows=0, tpch_scale=0.01, divided_rows=(1_000,), divided_rounds=(1,), cold_ray=False,
    watched=500, watchers=20,
)  # fmt: skip
