"""Seeds from a shell: ``python -m orchestrator.testing.simulator --seeds 10000``, or one of them with its trace."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence

from orchestrator.testing.simulator.clockwork import Stuck
from orchestrator.testing.simulator.interleavings import explore
from orchestrator.testing.simulator.search import shrink, spread
from orchestrator.testing.simulator.simulation import Broken, simulate, weather_of
from orchestrator.testing.simulator.weather import without


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments say; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m orchestrator.testing.simulator", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10_000, help="how many seeds to run (10000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (0)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="on so many cores (all)")
    parser.add_argument("--seed", type=int, help="run this one only")
    parser.add_argument("--trace", action="store_true", help="with --seed: print what happens")
    parser.add_argument("--steps", type=int, default=0, help="with --seed: so many calls in the graph")
    parser.add_argument("--without", action="append", default=[], metavar="FAULT", help="with --seed: not this fault")
    parser.add_argument("--orders", action="store_true", help="every order of two drivers instead")
    options = parser.parse_args(arguments)
    if options.orders:
        return _orders()
    if options.seed is not None:
        return _one(options.seed, options.trace, options.steps, options.without)
    return _many(range(options.first, options.first + options.seeds), max(1, options.processes))


def _one(seed: int, trace: bool, steps: int, kinds: Sequence[str]) -> int:
    weather = weather_of(seed)
    for kind in kinds:
        weather = without(weather, kind)
    if trace:
        print(f"seed {seed}: {weather.shown()}")
    try:
        simulation = simulate(seed, print if trace else None, steps, weather)
    except (Broken, Stuck) as error:
        print(f"seed {seed}: {error}")
        return 1
    print(f"seed {seed}: {simulation.state}, every promise held")
    return 0


def _many(seeds: range, processes: int) -> int:
    started = time.monotonic()
    failures = spread(seeds, processes)
    for failure in failures[:10]:
        smallest = shrink(failure)
        print(f"seed {failure.seed}: {failure.message}\n  smallest: {smallest.message}\n  {smallest.command}")
    passed_s = time.monotonic() - started
    print(f"{len(seeds)} seeds, {len(failures)} broke a promise, {passed_s:.1f} s on {processes} processes")
    return 1 if failures else 0


def _orders() -> int:
    started = time.monotonic()
    try:
        visited = explore(tell=lambda line: print(line, file=sys.stderr, flush=True))
    except (Broken, Stuck) as error:
        print(error)
        return 1
    print(
        f"{visited.orders} orders, {len(visited.moments)} moments, {visited.takeovers} orders with a takeover, at most "
        f"{visited.longest} actions each, {time.monotonic() - started:.1f} s; no order is left, every promise held"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
