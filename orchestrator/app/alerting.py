"""The reader that raises alerts and tells people: the fold of ``readers.alerts``, and deliveries that are not lost.

What people are to be told is noted before it is sent, and again afterwards: a process that dies in between sends the
same message, with the same id. A channel that fails is tried again, ever more rarely, for two days.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from typing import Any

import msgspec

from orchestrator.app.installation import Installation
from orchestrator.app.reading import Reader, kept_totals
from orchestrator.config.alert_rules import AlertRules, read_alert_rules
from orchestrator.config.prices import read_prices
from orchestrator.errors import ConfigError, OrchestratorError
from orchestrator.graph import fact as f
from orchestrator.graph.json import graph_from_json, node_from_json
from orchestrator.graph.node import Node
from orchestrator.ports.alerts import Alert, ChannelModule, Message, Notice, Rule
from orchestrator.ports.journal import RunRow
from orchestrator.readers.alerts import Alerts, Memory, Watched, note

NAME = "alerts"
PACKAGE = "orchestrator.channels"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 30.0, 3600.0
GIVEN_UP_AFTER_S = 48 * 3600.0

_log = logging.getLogger(__name__)
_KEPT_DELIVERIES = 200


@dataclass
class Delivery:
    """Notices on their way to a channel.

    Attributes:
        due_at: When it is sent, or tried again.
        tries: How often that failed; ``problem`` says how the last time.
        state: ``waiting``, ``sent`` or ``given up``.
    """

    id: str
    channel: str
    notices: list[Notice]
    due_at: float
    made_at: float
    tries: int = 0
    problem: str = ""
    state: str = "waiting"


@dataclass
class AlertTotals:
    """What the reader knows beyond runs."""

    memory: Memory = field(default_factory=Memory)
    deliveries: list[Delivery] = field(default_factory=list)


@cache
def channel_kinds(package: str = PACKAGE, group: str = PACKAGE) -> Mapping[str, ChannelModule]:
    """Kinds of channels by name: the modules of a package, and third parties' through entry points.

    Raises:
        ConfigError: a module is no channel, or two have one name.
    """
    path = importlib.import_module(package).__path__
    found: list[Any] = [importlib.import_module(one.name) for one in pkgutil.iter_modules(path, f"{package}.")]
    found += [point.load() for point in sorted(metadata.entry_points(group=group), key=lambda point: point.value)]
    kinds: dict[str, ChannelModule] = {}
    for module in found:
        kind, makes = getattr(module, "KIND", None), getattr(module, "open_channel", None)
        if not (isinstance(kind, str) and hasattr(module, "SCHEMA") and callable(makes)):
            raise ConfigError(f"{module.__name__} is no channel: it needs KIND, SCHEMA and open_channel(options)")
        if kind in kinds:
            raise ConfigError(f"{module.__name__} brings a second channel {kind!r}; give it a name of its own")
        kinds[kind] = module
    return kinds


def rules_of(here: Installation) -> AlertRules:
    """The rules of an installation; raises ConfigError."""
    return read_alert_rules(here.settings.home, channel_kinds())


class AlertsReader(Reader[Watched]):
    """Raises alerts and delivers them."""

    name = NAME

    def __init__(self, here: Installation, rules: AlertRules) -> None:
        self._here = here
        self._configured = rules
        self._prices = read_prices(here.settings.home)
        self._watched: dict[str, Watched] = {}
        self._budgets = any(rule.on == "budget" for rule in rules.rules)
        self.restore(None)

    # ---- facts

    def begin(self, row: RunRow) -> Watched:
        """See ``Reader``."""
        watched = self._watched[row.id] = Watched(row.id, row.pipeline, row.tags, created_at=row.created_at)
        if self._budgets:
            try:
                _know(watched, self._here.graph(self._here.created(row.id)).nodes)
            except OrchestratorError as error:
                _log.warning("run %s: its budget counts what was declared nowhere: %s", row.id, error.message)
        return watched

    def take(self, row: RunRow, state: Watched, facts: Sequence[f.Recorded], known: bool) -> None:
        """See ``Reader``."""
        for recorded in facts:
            if isinstance(recorded.fact, f.NodeAdded):
                _know(state, [node_from_json(recorded.fact.node)])
            elif isinstance(recorded.fact, f.CodeChanged):
                _know(state, graph_from_json(recorded.fact.document).nodes)
            if known:
                note(state, recorded.fact, recorded.at)
                continue
            for rule, notice in self._alerts.take(state, recorded.fact, recorded.at):
                self._tell(rule, notice)
        if known:
            self._told_before(state)
        if row.state in f.FINISHED and isinstance(facts[-1].fact, f.RunFinished):
            self._watched.pop(row.id, None)

    def _told_before(self, state: Watched) -> None:
        """An earlier process may have told of this run: what goes on about it is not raised once more."""
        state.said.update(one.rule for one in self._totals.memory.alerts if one.run == state.run)
        state.said.update(f"{one.rule}/{one.key.rpartition('/')[2]}" for one in self._totals.memory.alerts)
        state.spent = self._alerts.cost(state)

    def tick(self, now: float) -> None:
        """See ``Reader``."""
        journal, undriven = self._here.journal, set[str]()
        for run in list(self._watched):
            try:
                row = journal.run(run)
            except OrchestratorError:
                del self._watched[run]
                continue
            if row.state == "running" and journal.owner(run) is None:
                undriven.add(run)
        for rule, notice in self._alerts.tick(now, list(self._watched.values()), undriven):
            self._tell(rule, notice)

    # ---- deliveries

    def _tell(self, rule: Rule, notice: Notice) -> None:
        now = self._here.clock.now()
        for channel in rule.to:
            gathering = next((one for one in self._totals.deliveries
                              if one.channel == channel and one.state == "waiting" and not one.tries
                              and now < one.due_at), None)  # fmt: skip
            if gathering is not None:
                gathering.notices.append(notice)
                continue
            due_at = now + self._configured.group_s
            self._totals.deliveries.append(Delivery(f"{channel}-{notice.id}", channel, [notice], due_at, now))

    def act(self, now: float) -> None:
        """Send what is due."""
        for one in self._totals.deliveries:
            if one.state != "waiting" or now < one.due_at:
                continue
            try:
                send(self._configured, one.channel, message_of(one.id, one.notices, self._configured.url))
                one.state, one.problem = "sent", ""
            except Exception as error:
                one.tries += 1
                one.problem = f"{type(error).__name__}: {error}"[:500]
                one.due_at = now + min(FIRST_PAUSE_S * 2.0 ** (one.tries - 1), LONGEST_PAUSE_S)
                _log.warning("alerts: channel %s: %s; tried again later", one.channel, one.problem)
                if now - one.made_at > GIVEN_UP_AFTER_S:
                    one.state = "given up"
        done = [one for one in self._totals.deliveries if one.state != "waiting"]
        for one in done[:-_KEPT_DELIVERIES]:
            self._totals.deliveries.remove(one)

    # ---- totals

    def totals(self) -> Any:
        """See ``Reader``."""
        return self._totals

    def restore(self, totals: Any) -> None:
        """See ``Reader``."""
        self._totals = AlertTotals() if totals is None else msgspec.convert(totals, AlertTotals)
        self._alerts = Alerts(self._configured.rules, self._prices, self._totals.memory)


def _know(watched: Watched, nodes: Sequence[Node]) -> None:
    watched.resources.update((node.id, node.policy.resources) for node in nodes)


def send(rules: AlertRules, channel: str, message: Message) -> None:
    """Send a message through a channel; raises whatever the channel raises, and ConfigError if there is none."""
    if channel not in rules.channels:
        raise ConfigError(f"alerts.yaml has no channel {channel!r}")
    kind, options = rules.channels[channel]
    channel_kinds()[kind].open_channel(options).send(message)


_TITLES = {
    "fail": "failed", "degraded": "degraded", "late": "is late", "stuck": "is stuck", "quality": "has bad data",
    "drift": "has drifted", "budget": "is over its budget",
}  # fmt: skip


def message_of(name: str, notices: Sequence[Notice], url: str = "") -> Message:
    """What people read."""
    lines = []
    for one in notices:
        times = f" ({one.count} times)" if one.count > 1 else ""
        lines += [
            f"{_headline(one)}{times}",
            f"  {one.text}",
            f"  run {one.run}" + (f": {url}/runs/{one.run}" if url else ""),
        ]
    first = _headline(notices[0]) if notices else "a test"
    title = first if len(notices) < 2 else f"{first}, and {len(notices) - 1} more"
    return Message(name, f"[orc] {title}", "\n".join(lines) or "This is a test.", notices)


def _headline(one: Notice) -> str:
    what = f"{one.pipeline} {_TITLES[one.kind]}"
    return f"over: {what}" if one.state == "resolved" else what


def kept_alerts(here: Installation) -> tuple[list[Alert], list[Delivery]]:
    """What was raised, newest first, and what became of the messages."""
    totals = kept_totals(here, NAME)
    found = AlertTotals() if totals is None else msgspec.convert(totals, AlertTotals)
    return sorted(found.memory.alerts, key=lambda one: one.last_at, reverse=True), found.deliveries
