"""``python -m benchmarks.releases``: canaries through the controller that releases use, simulated and on real Serve.

Alike: candidate and stable version are the same, so every rollback is a false one; how many there are, with the exact
upper bound (Clopper and Pearson 1934). Worse: the candidate has more errors or slow answers, in points of a hundred;
how many are found, and within how many requests. The controller looks after every batch; neither needs Ray. For those
on Serve see ``benchmarks.served`` and ``benchmarks.killed``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import killed, machine, served
from benchmarks.place import Place
from orchestrator.ports.serving import Endpoint, Served
from orchestrator.ports.traffic import ClientTally, Tallies, Tally, Traffic
from orchestrator.serving import Canary, Finish, Observation, Release, SetTraffic, advance, begin

STABLE, CANDIDATE = "v1", "v2"
LOOKS = 20
"""Looks at each step; one a second."""

LIMITED = Canary(bake=f"{LOOKS}s", rollback_if="error_rate > 0.02 or p95_ms > 80")
"""Errors up to 2 % and 5 % of slow answers are allowed: the worst that alike versions have here."""

COMPARED = Canary(bake=f"{LOOKS}s")
"""No limits: both versions may be bad, as long as the candidate is not worse."""

_HEALTHY = Served(Endpoint("app", CANDIDATE, "http://localhost"), "healthy")
_QUICK_BUCKET, _SLOW_BUCKET = 40, 75


@dataclass(frozen=True)
class World:
    """What happens in one kind of canary.

    Attributes:
        errors, slow: Chances of the stable version, drawn evenly from a range for each canary.
        more_errors, more_slow: What the candidate adds.
        batch: Requests between two looks.
        clients: They stay with a version, send more or less, and fail more or less; 0 for requests of their own.
        busy_too: Also with ``BUSY`` times the requests.
        tides: The rate of errors of both swings tenfold while one looks.
    """

    name: str
    strategy: Canary = LIMITED
    errors: tuple[float, float] = (0.005, 0.02)
    slow: tuple[float, float] = (0.01, 0.05)
    more_errors: float = 0.0
    more_slow: float = 0.0
    batch: int = 200
    clients: int = 0
    tides: bool = False
    busy_too: bool = False


ALIKE = (
    (World("alike, requests of their own"), 4),
    (World("alike, 300 clients that differ", clients=300), 4),
    (World("alike, tides of errors in both", strategy=COMPARED, tides=True), 2),
)
"""Worlds without a difference, and how many tenths of the canaries are in each."""

_BASE = World("", errors=(0.01, 0.01), slow=(0.02, 0.02))
_CLUSTERED = replace(_BASE, clients=300)
WORSE = (
    *(
        replace(_BASE, name=f"+{points} points of errors", more_errors=points / 100, busy_too=points < 5)
        for points in (1, 2, 5)
    ),
    *(
        replace(_BASE, name=f"+{points} points of slow answers", more_slow=points / 100, busy_too=points < 5)
        for points in (1, 2, 5)
    ),
    replace(_CLUSTERED, name="+5 points of errors, 300 clients", more_errors=0.05),
    replace(_CLUSTERED, name="+5 points of slow answers, 300 clients", more_slow=0.05),
)
BUSY = 10


class Canaries:
    """Canaries of one world, one after the other, from a seed."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self._rng = np.random.default_rng(seed)

    def one(self) -> tuple[Release, int]:
        """Run a canary to its end: its record, and how many requests there were in all."""
        rng, world = self._rng, self.world
        errors, slow = rng.uniform(*world.errors), rng.uniform(*world.slow)
        people = self._people()
        totals = {STABLE: Tally(), CANDIDATE: Tally()}
        traffic = Traffic(1, {STABLE: 100.0}, STABLE)
        state = begin("r", "app", CANDIDATE, world.strategy, traffic, 0.0)
        now = 0
        while True:
            seen = Observation(traffic, Tallies("era", dict(totals)), _HEALTHY)
            state, instructions = advance(state, seen, float(now))
            for instruction in instructions:
                if isinstance(instruction, Finish):
                    return instruction.release, sum(tally.requests for tally in totals.values())
                assert isinstance(instruction, SetTraffic)
                traffic = instruction.traffic
            tide = 10 ** math.sin(now / 7.0) if world.tides else 1.0
            share = traffic.weights.get(CANDIDATE, 0.0) / 100.0
            for version, part, errs, slows in (
                (STABLE, 1.0 - share, errors * tide, slow),
                (CANDIDATE, share, errors * tide + world.more_errors, slow + world.more_slow),
            ):
                if part:
                    here = people and people.of(version == CANDIDATE, share)
                    totals[version] = self._answered(totals[version], part, errs, slows, here)
            now += 1

    def _people(self) -> _People | None:
        if not self.world.clients:
            return None
        rng, count = self._rng, self.world.clients
        volume = rng.lognormal(0.0, 1.0, count)
        return _People(
            volume / volume.sum(), rng.uniform(0, 1, count), _uneven(rng, count, volume), _uneven(rng, count, volume)
        )

    def _answered(self, tally: Tally, part: float, errors: float, slow: float, people: _People | None) -> Tally:
        rng, batch = self._rng, self.world.batch
        if people is None:
            requests = int(rng.binomial(batch, part))
            failed = int(rng.binomial(requests, min(1.0, errors)))
            late = int(rng.binomial(requests - failed, min(1.0, slow)))
            return _with(tally, requests, failed, late)
        each = rng.poisson(people.volume * batch)
        bad = rng.binomial(each, np.minimum(1.0, people.frail * errors))
        late_each = rng.binomial(each - bad, np.minimum(1.0, people.far * slow))
        clients = dict(tally.clients)
        for key, more in zip(
            people.keys, zip(each.tolist(), bad.tolist(), late_each.tolist(), strict=True), strict=True
        ):
            if more[0]:
                old = clients.get(key, (0, 0, 0))
                clients[key] = ClientTally(old[0] + more[0], old[1] + more[1], old[2] + more[2])
        return replace(_with(tally, int(each.sum()), int(bad.sum()), int(late_each.sum())), clients=clients)


class _People:
    """Clients: how much each sends, where it goes, and how much more than others it fails or waits."""

    def __init__(self, volume: Any, place: Any, frail: Any, far: Any, keys: Sequence[str] = ()) -> None:
        self.volume, self.place, self.frail, self.far = volume, place, frail, far
        self.keys = keys or [f"client {number}" for number in range(len(volume))]

    def of(self, candidate: bool, share: float) -> _People:
        """Those of one version."""
        chosen = (self.place < share) == candidate
        keys = [key for key, mine in zip(self.keys, chosen.tolist(), strict=True) if mine]
        return _People(self.volume[chosen], self.place[chosen], self.frail[chosen], self.far[chosen], keys)


def _uneven(rng: np.random.Generator, count: int, volume: Any) -> Any:
    """A factor for each client, 1 on the average request: most fail half as often, one in ten five and a half times."""
    factor = np.where(rng.uniform(0, 1, count) < 0.1, 5.5, 0.5)
    return factor * volume.sum() / (factor * volume).sum()


def _with(tally: Tally, requests: int, failed: int, late: int) -> Tally:
    """Further requests; the router counts as slow what takes over 80 ms."""
    quick = tally.latencies.get(_QUICK_BUCKET, 0) + requests - failed - late
    return replace(
        tally, requests=tally.requests + requests, errors=tally.errors + failed, slow=tally.slow + late,
        latencies={_QUICK_BUCKET: quick, _SLOW_BUCKET: tally.latencies.get(_SLOW_BUCKET, 0) + late},
    )  # fmt: skip


# ---- figures


def upper_bound(hits: int, trials: int, level: float = 0.95) -> float:
    """Clopper and Pearson's one-sided upper bound on a chance, by bisection of the binomial distribution."""
    if hits >= trials:
        return 1.0
    low, high = hits / trials, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(hits, trials, middle) > 1.0 - level else (low, middle)
    return high


def _at_most(hits: int, trials: int, chance: float) -> float:
    if not 0.0 < chance < 1.0:
        return float(chance <= 0.0)
    logs = (
        math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1)
        + k * math.log(chance) + (trials - k) * math.log1p(-chance)
        for k in range(hits + 1)
    )  # fmt: skip
    return math.fsum(map(math.exp, logs))


def alike(canaries: int, seed: int = 1) -> list[dict[str, Any]]:
    """False rollbacks, for each world and in all."""
    rows = []
    for place, (world, tenths) in enumerate(ALIKE):
        count = canaries * tenths // 10
        run = Canaries(world, seed + place)
        records = [run.one()[0] for _ in range(count)]
        back = [record for record in records if record.outcome != "promoted"]
        rows.append({"name": world.name, "canaries": count, "rolled_back": len(back), "why": [r.why for r in back][:5]})
        _tell(json.dumps(rows[-1]))
    total = sum(row["canaries"] for row in rows)
    rows.append(
        {"name": "alike, all", "canaries": total, "rolled_back": sum(row["rolled_back"] for row in rows), "why": []}
    )
    for row in rows:
        row["upper_bound_percent"] = 100.0 * upper_bound(row["rolled_back"], row["canaries"])
    return rows


def worse(canaries: int, seed: int = 100) -> Iterator[dict[str, Any]]:
    """Power and requests needed, for each effect."""
    for place, base in enumerate(WORSE):
        busy = replace(base, name=f"{base.name}, {BUSY} times the requests", batch=base.batch * BUSY)
        for world in (base, busy) if base.busy_too else (base,):
            run = Canaries(world, seed + place)
            ended = [run.one() for _ in range(canaries)]
            found = [(record.samples, requests) for record, requests in ended if record.cause == "guard"]
            row: dict[str, Any] = {"name": world.name, "canaries": canaries, "found": len(found)}
            row["power_percent"] = 100.0 * len(found) / canaries
            if found:
                row["candidate_requests_median"] = statistics.median(mine for mine, _ in found)
                row["requests_median"] = statistics.median(every for _, every in found)
                row["requests_p95"] = sorted(every for _, every in found)[math.ceil(0.95 * len(found)) - 1]
            _tell(json.dumps(row))
            yield row


def text(document: dict[str, Any]) -> str:
    """The figures for people, as Markdown."""
    lines = [f"Commit {document['commit']}, {document['cores']} cores, load {document['load']:.1f} before.", ""]
    if document["alike"]:
        lines += ["| both versions alike | sent back | with 95 % confidence at most |", "|---|---|---|"]
    for row in document["alike"]:
        bound = f"{row['upper_bound_percent']:.3g} %"
        lines.append(f"| {row['name']} | {row['rolled_back']} of {row['canaries']:,} | {bound} |")
    if document["worse"]:
        lines += [
            "",
            "| the candidate has | found | requests until then, median (95 %) | at the candidate |",
            "|---|---|---|---|",
        ]
    for row in document["worse"]:
        needs = "– | –"
        if row["found"]:
            needs = (
                f"{row['requests_median']:,.0f} ({row['requests_p95']:,.0f}) | {row['candidate_requests_median']:,.0f}"
            )
        lines.append(f"| {row['name']} | {row['found']:,} of {row['canaries']:,} | {needs} |")
    for part in (served, killed):
        rows = document[part.__name__.rpartition(".")[2]]
        lines += ["", part.markdown(rows)] if rows else []
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate, serve, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.releases", description=__doc__)
    parser.add_argument("--alike", type=int, default=10_000, metavar="N", help="canaries without a difference (10000)")
    parser.add_argument("--worse", type=int, default=2_000, metavar="N", help="canaries for each effect (2000)")
    parser.add_argument("--served", type=int, default=2, metavar="N", help="releases of each kind on real Serve (2)")
    parser.add_argument("--moves", type=int, default=50, metavar="N", help="changes of weights under load there (50)")
    parser.add_argument("--kills", type=int, default=1, metavar="N", help="kills at each transition there (1)")
    parser.add_argument("--seed", type=int, default=1, help="for other draws")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    given = parser.parse_args(arguments)
    document: dict[str, Any] = {
        "commit": machine.versions()["commit"],
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }
    document["alike"] = alike(given.alike, given.seed) if given.alike else []
    document["worse"] = list(worse(given.worse, given.seed + 100)) if given.worse else []
    document["served"], document["killed"] = [], []
    if given.served or given.moves:
        document["served"] += _on_ray(lambda place: served.measured(given.served, given.moves, place.home))
    if given.kills:
        document["killed"] += _on_ray(lambda place: killed.measured(given.kills, place.home, place.ray_address))
    sys.stdout.write(json.dumps(document, indent=2) + "\n" if given.json else text(document))
    return 0


def _on_ray(measured: Callable[[Place], Iterator[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Rows that are measured on a Ray of its own."""
    with tempfile.TemporaryDirectory(prefix="orc-releases-") as folder:
        place = Place(Path(folder))
        place.start_ray()
        try:
            for row in measured(place):
                _tell(json.dumps(row))
                yield row
        finally:
            place.stop_ray()


def _tell(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
