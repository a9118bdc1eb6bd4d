"""When, where and how often the steps of each node ran: a fold over facts, kept as ranges.

A map of a million items stays a few thousand ranges; items are looked at a page at a time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from orchestrator.graph import fact as f


class Start(NamedTuple):
    """Items ``start..stop`` went to a worker."""

    start: int
    stop: int
    at: float
    worker: str


class End(NamedTuple):
    """Items ``start..stop`` have their outputs; the other fields as in ``StepsCompleted``."""

    start: int
    stop: int
    at: float
    elapsed_us: bytes
    cached: str
    cpu_us: int = 0
    peak_bytes: int = 0

    def elapsed_s(self, index: int) -> float | None:
        """Wall time of the body of an item; None if it was not measured."""
        place = 4 * (index - self.start)
        cut = self.elapsed_us[place : place + 4]
        return int.from_bytes(cut, "little") / 1e6 if len(cut) == 4 else None


class Usage(NamedTuple):
    """What bodies took: wall and CPU time together, and the most memory that a worker held; 0 if not measured."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


class Attempt(NamedTuple):
    """One attempt of a step: ``failure`` is None if it completed or is under way."""

    item: int
    started_at: float | None
    ended_at: float | None
    worker: str
    failure: f.Failure | None
    retry_at: float | None


class ItemTimes(NamedTuple):
    """One item of a node: the times of its last attempt; None where nothing is known."""

    started_at: float | None
    elapsed_s: float | None
    worker: str
    running: bool
    cached: str
    attempts: int


@dataclass(slots=True)
class NodeItems:
    """What happened to the steps of one node.

    Attributes:
        live: How many of ``starts`` belong to drivers before the present one; what these began is not running.
        missed: The reason is that of a miss, the first one: a step that is taken back is looked up again.
        failures: Failed attempts, in order: what failed, when, and when it was to be tried again.
    """

    starts: list[Start] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    live: int = 0
    failures: list[tuple[f.AttemptFailed | f.StepFailed, float]] = field(default_factory=list)
    metrics: list[f.MetricsReported] = field(default_factory=list)
    logs: list[f.LogsWritten] = field(default_factory=list)
    reason: str = ""
    missed: bool = False

    def metrics_of(self, item: int) -> list[dict[str, float]]:
        """What an item reported, in order."""
        return [dict(one.metrics) for one in self.metrics if one.index == item]

    def usage(self, item: int | None) -> Usage | None:
        """What was measured of an item's body, or of all; of CPU time its share of what came back with it."""
        wall_us = cpu_us = 0.0
        peak, seen = 0, False
        for end in self.ends:
            if end.cached or not end.elapsed_us or not (item is None or end.start <= item < end.stop):
                continue
            whole = sum(
                int.from_bytes(end.elapsed_us[at : at + 4], "little") for at in range(0, len(end.elapsed_us), 4)
            )
            part = whole if item is None else (end.elapsed_s(item) or 0.0) * 1e6
            wall_us += part
            cpu_us += end.cpu_us * (part / whole if whole else 1.0)
            peak, seen = max(peak, end.peak_bytes), True
        return Usage(wall_us / 1e6, cpu_us / 1e6, peak) if seen else None

    def page(self, indexes: Sequence[int]) -> list[ItemTimes]:
        """Some items, given by ascending index."""
        count = len(indexes)
        begun: list[Start | None] = [None] * count
        ended: list[End | None] = [None] * count
        attempts, running = [0] * count, [False] * count
        for number, one in enumerate(self.starts):
            for place in _places(indexes, one.start, one.stop):
                begun[place], running[place] = one, number >= self.live
                attempts[place] += 1
        for failure, at in self.failures:
            for place in _places(indexes, failure.index, failure.index + 1):
                last = begun[place]
                running[place] = running[place] and last is not None and last.at > at  # it was sent out again
        for end in self.ends:
            for place in _places(indexes, end.start, end.stop):
                ended[place], running[place] = end, False
        return [
            _times(index, begun[place], ended[place], running[place], attempts[place])
            for place, index in enumerate(indexes)
        ]

    def attempts(self, item: int) -> list[Attempt]:
        """Attempts of one item, in order."""
        begun = [one for one in self.starts if one.start <= item < one.stop]
        failed = [(fact, at) for fact, at in self.failures if fact.index == item]
        end = next((end for end in self.ends if end.start <= item < end.stop), None)
        found: list[Attempt] = []
        for place, one in enumerate(begun):
            later = begun[place + 1].at if place + 1 < len(begun) else float("inf")
            failure = next(((fact, at) for fact, at in failed if one.at <= at <= later), None)
            if failure is not None:
                fact, at = failure
                failed.remove(failure)
                found.append(Attempt(item, one.at, at, one.worker, fact.failure, getattr(fact, "retry_at", None)))
            else:
                last = end is not None and place + 1 == len(begun)
                found.append(Attempt(item, one.at, end.at if end and last else None, one.worker, None, None))
        return found


def _places(indexes: Sequence[int], start: int, stop: int) -> range:
    """Which of these indexes are in ``start..stop``."""
    return range(bisect_left(indexes, start), bisect_left(indexes, stop))


def _times(item: int, begun: Start | None, end: End | None, running: bool, attempts: int) -> ItemTimes:
    return ItemTimes(
        begun.at if begun else None,
        end.elapsed_s(item) if end else None,
        begun.worker if begun else "",
        running,
        end.cached if end else "",
        attempts,
    )


@dataclass(slots=True)
class Items:
    """Items of all nodes of one run; ``origin`` is the run whose record it goes on with."""

    nodes: dict[str, NodeItems] = field(default_factory=dict)
    origin: str = ""

    def of(self, node: str) -> NodeItems:
        """Those of one node; empty if nothing happened to it."""
        return self.nodes.get(node) or NodeItems()

    def add(self, fact: f.Fact, at: float) -> None:
        """Take a fact in."""
        if isinstance(fact, f.DriverStarted):
            for items in self.nodes.values():
                items.live = len(items.starts)
        elif isinstance(fact, f.RunCreated):
            self.origin = fact.origin
        elif isinstance(fact, f.CodeChanged):
            self._rename(fact)
        else:
            for one in f.apart(fact):
                self._add(one, at)

    def _rename(self, fact: f.CodeChanged) -> None:
        gone = {*fact.kept.values(), *fact.dropped}
        calls = {node: items for node, items in self.nodes.items() if node not in gone}
        self.nodes = calls | {node: self.nodes[was] for node, was in fact.kept.items() if was in self.nodes}

    def _add(self, fact: f.Fact, at: float) -> None:
        node = getattr(fact, "node", None)
        if not isinstance(node, str):
            return
        items = self.nodes.setdefault(node, NodeItems())
        if isinstance(fact, f.StepsStarted):
            items.starts.append(Start(fact.start, fact.stop, at, fact.worker))
        elif isinstance(fact, f.StepsCompleted):
            items.ends.append(
                End(fact.start, fact.stop, at, fact.elapsed_us, fact.cached, fact.cpu_us, fact.peak_bytes)
            )
            if fact.cached and not items.missed:
                known = "taken over from the record" if fact.cached == self.origin else "same code and inputs"
                items.reason = f"reused from run {fact.cached}: {known}"
        elif isinstance(fact, f.AttemptFailed | f.StepFailed):
            items.failures.append((fact, at))
        elif isinstance(fact, f.MetricsReported):
            items.metrics.append(fact)
        elif isinstance(fact, f.LogsWritten):
            items.logs.append(fact)
        elif isinstance(fact, f.CacheMissed) and not items.missed:
            items.missed, items.reason = True, f"not in the cache: {fact.reason}"
