"""Faults, a file for each family; a new one is a function in a file here that its ``FAULTS`` names."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import NamedTuple

from tests.chaos.episode import Episode
from tests.chaos.world import Store, World


class Fault(NamedTuple):
    """Something that happens to a run.

    Attributes:
        name: As the report shows it.
        strike: Begins the run, does the harm, and undoes it: when it returns, the faults have stopped.
        stores: Where it applies.
        impossible: Why it cannot be done in a world; empty if it can.
    """

    name: str
    strike: Callable[[Episode], None]
    stores: tuple[Store, ...] = ("sqlite", "postgresql")
    impossible: Callable[[World], str] = lambda world: ""


def all_faults() -> dict[str, list[Fault]]:
    """Every fault, by family."""
    found = {}
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda one: one.name):
        found[module.name] = list(importlib.import_module(f"{__name__}.{module.name}").FAULTS)
    return found
