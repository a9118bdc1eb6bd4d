"""Alerts as a fold: facts and the time of day in, what people are to be told out. It sends nothing.

The same thing again while it goes on is one alert that counts; people are told once, again after a while, and when it
is over. How long a pipeline may take follows from its own runs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from hashlib import blake2b

from orchestrator.graph import fact as f
from orchestrator.graph.policy import Resources
from orchestrator.graph.quality import KINDS as CHECK_KINDS
from orchestrator.ports.alerts import Alert, Kind, Notice, Rule
from orchestrator.ports.prices import Prices
from orchestrator.readers.cost import Use, consumed, cost_of, total

KEPT_DURATIONS = 50
KEPT_ALERTS = 500
_LATE_QUANTILE = 0.95


@dataclass(slots=True)
class Watched:
    """What is known of a run that goes on.

    Attributes:
        resources: What each node reserves, for budgets.
        idle_since: When something last happened to it; None while it waits for a person.
        said: Rules that have been told about it.
    """

    run: str
    pipeline: str
    tags: Mapping[str, str]
    resources: dict[str, Resources] = field(default_factory=dict)
    created_at: float = 0.0
    idle_since: float | None = None
    waiting: set[str] = field(default_factory=set)
    use: Use = field(default_factory=Use)
    spent: float = 0.0
    degraded: str = ""
    said: set[str] = field(default_factory=set)


@dataclass
class Memory:
    """What is known beyond single runs.

    Attributes:
        durations: Of the last successful runs, by pipeline, in seconds.
        spent: By pipeline and period (``2026-05`` and ``2026-05-17``).
        alerts: Newest last; those that go on, and the last of those that are over.
    """

    durations: dict[str, list[float]] = field(default_factory=dict)
    spent: dict[str, dict[str, float]] = field(default_factory=dict)
    alerts: list[Alert] = field(default_factory=list)

    def going_on(self, key: str) -> Alert | None:
        """The alert about the same that is not over."""
        return next((one for one in reversed(self.alerts) if one.key == key and one.resolved_at is None), None)


class Alerts:
    """Raises alerts by rules."""

    def __init__(self, rules: Sequence[Rule], prices: Prices, memory: Memory) -> None:
        self._rules = rules
        self._prices = prices
        self.memory = memory

    def _for(self, kind: Kind, watched: Watched) -> Iterator[Rule]:
        for rule in self._rules:
            if (
                rule.on == kind
                and any(fnmatchcase(watched.pipeline, pattern) for pattern in rule.pipelines)
                and all(name in watched.tags and value in ("", watched.tags[name]) for name, value in rule.tags.items())
            ):
                yield rule

    # ---- facts

    def take(self, watched: Watched, fact: f.Fact, at: float) -> Iterator[tuple[Rule, Notice]]:
        """A fact of a run, with what people are to be told because of it."""
        note(watched, fact, at)
        if isinstance(fact, f.RunFinished):
            yield from self._ended(watched, fact, at)
        elif isinstance(fact, f.ChecksReported):
            yield from self._checked(watched, fact, at)
        elif isinstance(fact, f.StepsCompleted | f.NodesCompleted | f.StepFailed):
            yield from self._budgets(watched, at)

    def _ended(self, watched: Watched, fact: f.RunFinished, at: float) -> Iterator[tuple[Rule, Notice]]:
        took_s = at - watched.created_at
        yield from self._budgets(watched, at)
        if fact.state == "failed":
            for rule in self._for("fail", watched):
                yield from self._raise(rule, watched, fact.reason or "the run failed", at)
        elif fact.state == "degraded":
            for rule in self._for("degraded", watched):
                yield from self._raise(rule, watched, watched.degraded or "some outputs are fallbacks", at)
        over: list[Kind] = ["late", "stuck"]
        if fact.state == "succeeded":
            known = self.memory.durations.setdefault(watched.pipeline, [])
            known.append(took_s)
            del known[:-KEPT_DURATIONS]
            over += ["fail", "degraded"]
        for kind in over:
            yield from self._over(kind, watched, at)

    def _checked(self, watched: Watched, fact: f.ChecksReported, at: float) -> Iterator[tuple[Rule, Notice]]:
        for kind in CHECK_KINDS:
            found = [one for one in fact.results if one.kind == kind]
            bad = [one for one in found if not one.passed]
            part = f"{fact.node}[{fact.index}]" if kind == "drift" else ""
            for rule in self._for(kind, watched) if bad else ():
                text = f"{fact.node}: {bad[0].name}: {bad[0].message}" + (f" (+{len(bad) - 1})" if bad[1:] else "")
                yield from self._raise(rule, watched, text, at, part)
            if kind == "drift" and found and not bad:
                yield from self._over(kind, watched, at, part)

    def _budgets(self, watched: Watched, at: float) -> Iterator[tuple[Rule, Notice]]:
        rules = list(self._for("budget", watched))
        if not rules:
            return
        before, watched.spent = watched.spent, self.cost(watched)
        day = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")
        spent = self.memory.spent.setdefault(watched.pipeline, {})
        for period in (day, day[:7]):
            spent[period] = spent.get(period, 0.0) + watched.spent - before
        for old in sorted(period for period in spent if len(period) == len(day))[:-40]:
            del spent[old]
        for rule in rules:
            period = {"run": "", "day": day, "month": day[:7]}[rule.per]
            amount = spent[period] if period else watched.spent
            what = f"the run {watched.run}" if not period else f"{watched.pipeline} on {period}"
            text = f"{what} has cost {amount:.2f} {self._prices.currency}, over its budget of {rule.limit:g}"
            mark = f"{rule.name}/{period or watched.run}"
            if amount > rule.limit and mark not in watched.said:
                watched.said.add(mark)
                yield from self._raise(rule, watched, text, at, period or watched.run)

    def cost(self, watched: Watched) -> float:
        """What a run has cost so far."""
        known = watched.resources
        parts = (consumed(use, known.get(node, Resources())) for node, use in watched.use.nodes.items())
        return cost_of(total(parts), self._prices).amount

    # ---- time

    def tick(self, now: float, runs: Collection[Watched], undriven: Collection[str]) -> Iterator[tuple[Rule, Notice]]:
        """Time has passed; ``undriven`` are runs that somebody should drive and nobody does."""
        for watched in runs:
            if watched.idle_since is None or watched.waiting:
                continue
            idle_s = now - watched.idle_since
            for rule in self._for("stuck", watched):
                if idle_s > rule.after_s and rule.name not in watched.said:
                    watched.said.add(rule.name)
                    why = "nobody drives it: orc resume goes on" if watched.run in undriven else "nothing has happened"
                    yield from self._raise(rule, watched, f"no fact for {_duration(idle_s)}; {why}", now)
            for rule in self._for("late", watched):
                usual_s = self.usual_s(watched.pipeline, rule.least)
                took_s = now - watched.created_at
                if usual_s is not None and took_s > usual_s * rule.factor and rule.name not in watched.said:
                    watched.said.add(rule.name)
                    text = f"runs for {_duration(took_s)}; 95 of 100 of its runs take at most {_duration(usual_s)}"
                    yield from self._raise(rule, watched, text, now)

    def usual_s(self, pipeline: str, least: int) -> float | None:
        """95th percentile of what the last successful runs took; None if there are too few."""
        known = sorted(self.memory.durations.get(pipeline, ()))
        if len(known) < least:
            return None
        return known[min(int(len(known) * _LATE_QUANTILE), len(known) - 1)]

    # ---- alerts

    def _raise(
        self, rule: Rule, watched: Watched, text: str, at: float, part: str = ""
    ) -> Iterator[tuple[Rule, Notice]]:
        key = _key(rule, watched, part)
        alert = self.memory.going_on(key)
        if alert is None:
            found = Alert(
                _id(key, watched.run, at), key, rule.name, rule.on, watched.pipeline, watched.run, text, at, at, at
            )
            self.memory.alerts.append(found)
            self._forget()
            yield rule, _notice(found, "raised", at)
            return
        alert.count, alert.last_at, alert.run, alert.text = alert.count + 1, at, watched.run, text
        if at - alert.told_at >= rule.repeat_s:
            alert.told_at = at
            yield rule, _notice(alert, "again", at)

    def _over(self, kind: Kind, watched: Watched, at: float, part: str = "") -> Iterator[tuple[Rule, Notice]]:
        for rule in self._for(kind, watched):
            alert = self.memory.going_on(_key(rule, watched, part))
            if alert is not None and (kind in ("fail", "degraded", "drift") or alert.run == watched.run):
                alert.resolved_at = at
                if rule.resolved:
                    yield rule, _notice(alert, "resolved", at)

    def _forget(self) -> None:
        over = [one for one in self.memory.alerts if one.resolved_at is not None or one.kind in ("quality", "budget")]
        for one in over[: max(len(self.memory.alerts) - KEPT_ALERTS, 0)]:
            self.memory.alerts.remove(one)


def note(watched: Watched, fact: f.Fact, at: float) -> None:
    """What follows from a fact for the run alone."""
    watched.idle_since = at
    watched.use.add(fact, at)
    if isinstance(fact, f.RunCreated):
        watched.created_at = at
    elif isinstance(fact, f.ApprovalRequested):
        watched.waiting.add(fact.node)
    elif isinstance(fact, f.StepsCompleted):
        watched.waiting.discard(fact.node)
        if fact.degraded and not watched.degraded:
            watched.degraded = f"{fact.node} has a fallback in the place of its output"
    elif isinstance(fact, f.StepFailed):
        watched.waiting.discard(fact.node)
        if fact.action != "fail":
            watched.degraded = f"{fact.node}[{fact.index}]: {fact.failure.name}: {fact.failure.message}"
    elif isinstance(fact, f.RunFinished):
        watched.idle_since = None


def _key(rule: Rule, watched: Watched, part: str) -> str:
    return "/".join((rule.name, watched.pipeline, *((part,) if part else ())))


def _notice(alert: Alert, state: str, at: float) -> Notice:
    return Notice(
        _id(alert.id, state, at), alert.kind, state,  # type: ignore[arg-type]
        alert.pipeline, alert.run, alert.text, at, alert.count,
    )  # fmt: skip


def _id(*parts: object) -> str:
    return blake2b("\n".join(map(str, parts)).encode(), digest_size=8).hexdigest()


def _duration(value_s: float) -> str:
    if value_s < 120:
        return f"{value_s:.0f} s"
    return f"{value_s / 60:.0f} min" if value_s < 7200 else f"{value_s / 3600:.1f} h"
