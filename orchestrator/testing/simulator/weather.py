"""What goes wrong in a simulation, and how often; most seeds draw a few kinds of faults only."""

from __future__ import annotations

import random
from dataclasses import dataclass, fields, replace

CALM_S = 12.0
"""After so many seconds nothing goes wrong any more."""


@dataclass(slots=True)
class Weather:
    """Chances of faults, each for one occasion of its kind; 0 for never.

    Attributes:
        kill_driver, freeze_driver: At a call of a port by a driver; ``rival``: a second driver comes in meanwhile.
        refuse, lose_reply, forget, die_after_commit, away, full: At a commit. ``forget``: a store that lost a reply
            does not recognise the transaction when it comes again.
        slow_commit: A commit takes a second instead of a millisecond.
        kill_worker: While a body runs; ``kill_silent``: after it, before its outcome is sent.
        fail, hang: An attempt raises, or overruns its time-out.
        drop, double, delay: At a frame of a worker; delays change the order between workers.
        artifact: A chunk becomes an artifact instead of travelling in line; ``damage``: it cannot be read for a while.
        twice: A request is posted again with another content.
        cancel: Somebody cancels the run.
    """

    kill_driver: float = 0.0
    freeze_driver: float = 0.0
    rival: float = 0.0
    refuse: float = 0.0
    lose_reply: float = 0.0
    forget: float = 0.0
    die_after_commit: float = 0.0
    away: float = 0.0
    full: float = 0.0
    slow_commit: float = 0.0
    kill_worker: float = 0.0
    kill_silent: float = 0.0
    fail: float = 0.0
    hang: float = 0.0
    drop: float = 0.0
    double: float = 0.0
    delay: float = 0.0
    artifact: float = 0.0
    damage: float = 0.0
    twice: float = 0.0
    cancel: float = 0.0

    def shown(self) -> str:
        """What may go wrong, for people."""
        chances = ((kind.name, getattr(self, kind.name)) for kind in fields(self))
        return ", ".join(f"{name} {chance:.0%}" for name, chance in chances if chance) or "calm"


_USUAL: dict[str, float] = {
    "kill_driver": 0.02, "freeze_driver": 0.02, "rival": 0.5, "refuse": 0.1, "lose_reply": 0.1, "forget": 0.5,
    "die_after_commit": 0.1, "away": 0.05, "full": 0.05, "slow_commit": 0.1, "kill_worker": 0.1, "kill_silent": 0.1,
    "fail": 0.15, "hang": 0.05, "drop": 0.1, "double": 0.2, "delay": 0.3, "artifact": 0.3, "damage": 0.05, "twice": 0.5,
    "cancel": 0.05,
}  # fmt: skip


def draw_weather(chance: random.Random) -> Weather:
    """Some kinds of faults, each more or less often; one seed in eight is calm."""
    share = chance.choice((0.0, 0.2, 0.3, 0.3, 0.5, 0.5, 0.7, 1.0))
    return Weather(**{
        kind: usual * chance.choice((0.5, 1.0, 2.0)) for kind, usual in _USUAL.items() if chance.random() < share
    })  # fmt: skip


def without(weather: Weather, kind: str) -> Weather:
    """The same weather without one kind of fault."""
    return replace(weather, **{kind: 0.0})
