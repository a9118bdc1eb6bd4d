"""What a guard is, and how guards are found: every module of ``guards/``, and third parties' entry points.

A guard judges one thing about a candidate. It is pure: from its state and what happened since the look before come its
next state and its evidence. A file of guards has ``NAMES``, the names in ``rollback_if`` that it answers for, and
``guards(strategy)``, the guards that a release with this strategy gets from it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import metadata
from typing import Any, Protocol

from orchestrator.errors import ConfigError
from orchestrator.serving.strategy import Strategy
from orchestrator.serving.window import Window

PACKAGE = "orchestrator.serving.guards"
GROUP = "orchestrator.guards"

GuardState = Mapping[str, Any]
"""JSON values; empty at the start."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a guard has to say now.

    Attributes:
        guard: Its key.
        log_e: Logarithm of the e-value against "the candidate is all right".
        samples: Of the candidate: requests, answers or reported values.
        candidate, stable: What was measured, None if nothing was.
        limit: What it is measured against, None for the stable version.
        percent: These are shares of the samples.
        enough: Whether there are data enough to go on; missing data never promotes.
        at_once: The candidate is broken beyond any statistics.
        said: What was seen, in words, if there is more to say.
    """

    guard: str
    log_e: float = 0.0
    samples: float = 0
    candidate: float | None = None
    stable: float | None = None
    limit: float | None = None
    percent: bool = False
    enough: bool = True
    at_once: bool = False
    said: str = ""

    def shown(self) -> str:
        """What was measured, in words; empty if nothing was."""
        if self.candidate is None:
            return ""
        against = "" if self.stable is None else f", stable {self._number(self.stable)}"
        limit = "" if self.limit is None else f", limit {self._number(self.limit)}"
        return f"candidate {self._number(self.candidate)} of {self.samples:g}{against}{limit}"

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def _number(self, value: float) -> str:
        return f"{100.0 * value:.3g} %" if self.percent else f"{value:.4g}"


class Guard(Protocol):
    """Judges one thing.

    Attributes:
        key: What it claims of a bad candidate, unique: the condition of ``rollback_if``, or words.
        hard: It only ever acts at once, and has no e-value.
    """

    @property
    def key(self) -> str: ...

    @property
    def hard(self) -> bool: ...

    def look(self, state: GuardState, window: Window) -> tuple[GuardState, Evidence]:
        """Its next state and its evidence."""
        ...


@lru_cache(maxsize=32)
def guards_of(strategy: Strategy, package: str = PACKAGE, group: str = GROUP) -> Mapping[str, Guard]:
    """The guards of a release by key: of all modules of a package, and of entry points.

    Raises:
        ConfigError: a module brings no guards, two have one key, or none answers for a condition of ``rollback_if``.
    """
    found: dict[str, Guard] = {}
    for where, module in _modules(package, group):
        if not callable(getattr(module, "guards", None)):
            raise ConfigError(f"{where} brings no guards; it needs a function guards(strategy)")
        for guard in module.guards(strategy):
            if guard.key in found:
                raise ConfigError(f"{where} brings a second guard {guard.key!r}; give it a key of its own")
            found[guard.key] = guard
    for condition in strategy.conditions:
        if str(condition) not in found:
            raise ConfigError(f"rollback_if: no guard answers for {str(condition)!r}")
    return found


@lru_cache(maxsize=8)
def _modules(package: str, group: str) -> tuple[tuple[str, Any], ...]:
    path = importlib.import_module(package).__path__
    names = [entry.name for entry in pkgutil.iter_modules(path, f"{package}.")]
    found: list[tuple[str, Any]] = [(name, importlib.import_module(name)) for name in names]
    if group:
        points = sorted(metadata.entry_points(group=group), key=lambda point: point.value)
        found += [(point.value, point.load()) for point in points]
    return tuple(found)
