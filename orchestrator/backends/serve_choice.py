"""Which version answers a request: what ``Traffic`` says, checked, as JSON, and applied to one client at a time.

Clients are spread by weighted rendezvous hashing: each version draws a number for a client, the largest in proportion
to its weight wins. A version whose weight grows keeps its clients and takes only as many others as it needs.
"""

from __future__ import annotations

import math
import random
import re
from bisect import bisect
from collections.abc import Mapping
from dataclasses import fields
from hashlib import blake2b
from itertools import accumulate
from typing import Any

from orchestrator.errors import ConfigError, TrafficMoved
from orchestrator.ports.traffic import Traffic

SEPARATOR = "--"
"""Between an application and its version in the name of a Serve application; in no name itself."""

OUTCOMES, MODELS = "outcomes", "models"
"""Paths below an application's that belong to its router, so no version is called that."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DRAWS = 1 << 64


class Choice:
    """The weights of a ``Traffic``, applied to requests."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        shares = [(version, weight) for version, weight in sorted(weights.items()) if weight > 0]
        self._versions = [version for version, _ in shares]
        self._weights = [weight for _, weight in shares]
        self._ends = list(accumulate(self._weights))

    def of(self, client: str | None) -> str:
        """The version for a client, the same while the weights stay; at random without one."""
        if len(self._versions) == 1:
            return self._versions[0]
        if client is None:
            return self._versions[bisect(self._ends, random.random() * self._ends[-1], hi=len(self._ends) - 1)]
        draws = [_draw(*share, client) for share in zip(self._versions, self._weights, strict=True)]
        return self._versions[draws.index(max(draws))]


def _draw(version: str, weight: float, client: str) -> float:
    digest = blake2b(f"{version}\n{client}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return weight / -math.log((int.from_bytes(digest, "big") + 0.5) / _DRAWS)


def check_name(what: str, text: str) -> None:
    """Raises ConfigError if an application or a version cannot be called that."""
    if not _NAME.fullmatch(text) or SEPARATOR in text or text in (OUTCOMES, MODELS):
        raise ConfigError(
            f"{what} {text!r} cannot be served: use up to 64 letters, digits, '.', '_' and single '-', "
            f"a letter or digit first; {OUTCOMES!r} and {MODELS!r} are taken"
        )


def check_traffic(app: str, traffic: Traffic) -> None:
    """Raises ConfigError if no router could do that: shares that are none, names that are none."""
    check_name("app", app)
    for version in {traffic.stable, *traffic.weights, *traffic.mirrored}:
        check_name("version", version)
    for what, shares in (("weights", traffic.weights), ("mirrored", traffic.mirrored)):
        for version, percent in shares.items():
            if not 0 <= percent <= 100:
                raise ConfigError(f"{what} of {app}: {version} has {percent!r} percent; give it 0 to 100")
    total = math.fsum(traffic.weights.values())
    if not math.isclose(total, 100, abs_tol=1e-6):
        raise ConfigError(f"the weights of {app} sum to {total:g} and not to 100: {dict(traffic.weights)}")
    if traffic.generation < 1 or not traffic.slow_ms > 0:
        raise ConfigError(
            f"traffic of {app}: generation {traffic.generation} and slow_ms {traffic.slow_ms:g} have to be positive"
        )
    if not traffic.mirror_timeout_s > 0 or traffic.mirror_limit < 1:
        raise ConfigError(
            f"traffic of {app}: mirror_timeout_s {traffic.mirror_timeout_s:g} and mirror_limit {traffic.mirror_limit} "
            "have to be positive"
        )


def check_next(app: str, traffic: Traffic, standing: Traffic | None) -> None:
    """Raises TrafficMoved unless a change is the one after what stands, or that itself once more."""
    if standing is None or standing == traffic or traffic.generation == standing.generation + 1:
        return
    raise TrafficMoved(
        f"the router of {app} is at generation {standing.generation} (weights {dict(standing.weights)}, by "
        f"{standing.by or 'nobody'}), so {traffic.generation} is not its next; look again and decide anew"
    )


def traffic_document(traffic: Traffic) -> dict[str, Any]:
    """JSON values; ``traffic_from`` reads them back."""
    plain = {entry.name: getattr(traffic, entry.name) for entry in fields(traffic)}
    return plain | {
        "weights": dict(traffic.weights), "mirrored": dict(traffic.mirrored), "slices": list(traffic.slices)
    }  # fmt: skip


def traffic_from(document: Mapping[str, Any]) -> Traffic:
    """The ``Traffic`` of a document; raises TypeError for what is none."""
    return Traffic(**{**document, "slices": tuple(document.get("slices", ()))})
