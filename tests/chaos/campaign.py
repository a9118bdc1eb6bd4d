"""Which fault strikes when: one run for each, on a cluster that stays, until every fault had its turn or time is up."""

from __future__ import annotations

import itertools
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.episode import Episode
from tests.chaos.evidence import Outcome, examine, examine_stuck, result_digest
from tests.chaos.faults import Fault, all_faults
from tests.chaos.nodes import Nodes
from tests.chaos.world import Store, World

SHORT_MINUTES = 2.0
"""Up to here every fault strikes once, on one store; with more time every fault on each store, again and again."""

WIDTH = 40
SECONDS = 0.04


@dataclass
class Campaign:
    """What is asked for, and what came of it.

    Attributes:
        only: Parts of names; no other faults strike.
        impossible: Faults that could not be done here, with the reason.
    """

    minutes: float
    stores: tuple[Store, ...]
    seed: int
    only: tuple[str, ...] = ()
    outcomes: list[Outcome] = field(default_factory=list)
    impossible: dict[str, str] = field(default_factory=dict)
    took_s: float = 0.0

    @property
    def violations(self) -> list[Outcome]:
        """The runs in which a promise was broken."""
        return [outcome for outcome in self.outcomes if outcome.violations]

    def run(self) -> None:
        """Strike; what comes of it is told on standard error as it comes."""
        began = time.monotonic()
        folder = Path(tempfile.mkdtemp(prefix="orc-chaos-"))
        folder.chmod(0o711)  # PostgreSQL, which is another user, finds its folder below
        nodes = Nodes(folder / "ray")
        worlds: dict[Store, World] = {}
        expected = ""
        try:
            nodes.start()
            for store in self.stores:
                (folder / store).mkdir()
                worlds[store] = World(folder / store, store, nodes)
            for number, (family, fault, store) in enumerate(self._schedule()):
                if number >= self.least() and time.monotonic() - began > 60 * self.minutes:
                    break
                reason = fault.impossible(worlds[store])
                if reason:
                    self.impossible[fault.name] = reason
                    continue
                if not expected:
                    expected = self._strike(_CALM, worlds[store], "calm", number, "")
                self._strike(fault, worlds[store], family, number, expected)
        finally:
            for world in worlds.values():
                world.close()
            nodes.stop()
            shutil.rmtree(folder, ignore_errors=True)
            self.took_s = time.monotonic() - began

    def _schedule(self) -> Iterator[tuple[str, Fault, Store]]:
        """Endless, unless the short version is asked for."""
        if self.minutes <= SHORT_MINUTES:
            turn = itertools.cycle(self.stores)
            for family, fault in self._chosen():
                stores = [store for store in self.stores if store in fault.stores]
                yield family, fault, (stores[0] if len(stores) == 1 else next(turn))
            return
        while True:
            yield from self._round()

    def _round(self) -> list[tuple[str, Fault, Store]]:
        return [(family, fault, store) for family, fault in self._chosen() for store in self.stores
                if store in fault.stores]  # fmt: skip

    def _chosen(self) -> list[tuple[str, Fault]]:
        """The faults that are asked for and apply.

        Raises:
            ValueError: there is none.
        """
        chosen = [
            (family, fault)
            for family, faults in all_faults().items()
            for fault in faults
            if any(store in fault.stores for store in self.stores)
            and fault is not _CALM
            and (not self.only or any(part in f"{family} {fault.name}" for part in self.only))
        ]
        if not chosen:
            raise ValueError(f"no fault on {' and '.join(self.stores)} has a name with {' or '.join(self.only)}")
        return chosen

    def least(self) -> int:
        """So many strikes take place whatever the time; raises ValueError if there is nothing to do."""
        return len(self._chosen()) if self.minutes <= SHORT_MINUTES else len(self._round())

    def _strike(self, fault: Fault, world: World, family: str, number: int, expected: str) -> str:
        """Run one episode; the digest of its result."""
        seed = f"{self.seed}.{number}"
        outcome = Outcome(fault.name, family, world.store, seed)
        began = time.monotonic()
        place = world.place()
        episode = Episode(world, place, random.Random(seed), WIDTH, SECONDS)
        digest = ""
        try:
            fault.strike(episode)
            episode.healed()
            episode.finish()
            examine(episode, outcome, expected)
            digest = "" if episode.state == "failed" else result_digest(episode)
        except Exception as error:  # the next fault strikes all the same; the report has it
            examine_stuck(episode, outcome, error)
        finally:
            episode.end()
            world.clear(place)
            world.nodes.mend()
        outcome.took_s = time.monotonic() - began
        self.outcomes.append(outcome)
        _tell(outcome, episode)
        return digest


_CALM = next(fault for faults in all_faults().values() for fault in faults if fault.name == "no fault")


def _tell(outcome: Outcome, episode: Episode) -> None:
    recovery = "" if outcome.recovery_s is None else f", went on after {outcome.recovery_s:.1f} s"
    ending = "; ".join(outcome.violations) or outcome.state
    print(
        f"{outcome.took_s:6.1f} s  {outcome.store:10}  {outcome.fault}: {ending}{recovery} "
        f"({outcome.steps} steps, {outcome.drivers} drivers, {outcome.repeated} repeated; seed {outcome.seed})",
        file=sys.stderr, flush=True,
    )  # fmt: skip
    if outcome.violations:
        print("\n".join([*episode.notes, *episode.complaints]), file=sys.stderr, flush=True)
