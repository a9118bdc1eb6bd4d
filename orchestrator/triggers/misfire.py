"""Moments that went by while nobody looked: which of them still count. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Literal, NamedTuple

Misfire = Literal["latest", "all", "skip"]

MISFIRES: Final[tuple[Misfire, ...]] = ("latest", "all", "skip")

GRACE_S: Final = 60.0
"""A moment so long ago is late, not missed."""

MOST: Final = 100
"""Moments that one look takes; the rest comes with the next."""


class Moments(NamedTuple):
    """What is due, and the last moment that has been dealt with."""

    due: list[float]
    until: float


def due_moments(
    after: float,
    now: float,
    misfire: Misfire,
    grace_s: float,
    following: Callable[[float], Iterable[float]],
    last: Callable[[float], float | None],
) -> Moments:
    """Which moments in ``(after, now]`` are due.

    A moment up to ``grace_s`` ago is. Of those longer ago, which were missed, ``all`` takes each, ``skip`` none, and
    ``latest`` the newest one if nothing else is due.

    Args:
        following: Moments after one, ascending.
        last: The newest moment up to one; None if there is none.
    """
    newest = last(now)
    if newest is None or newest <= after:
        return Moments([], after)
    found: list[float] = []
    for moment in following(after if misfire == "all" else max(after, now - grace_s)):
        if moment > now:
            break
        if len(found) == MOST:
            return Moments(found, found[-1])
        found.append(moment)
    if not found and misfire == "latest":
        found = [newest]
    return Moments(found, newest)
