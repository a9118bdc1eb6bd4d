"""What is told to the outside while ``orc up`` is up, as far as it is switched on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from orchestrator.app.alerting import AlertsReader, rules_of
from orchestrator.app.installation import Installation
from orchestrator.app.reading import Reader, Readers


def switched_on(here: Installation) -> list[Reader[Any]]:
    """Readers that the settings ask for.

    Raises:
        ConfigError: a setting is broken, or what it needs is not installed.
    """
    found: list[Reader[Any]] = []
    rules = rules_of(here)
    if rules.rules:
        found.append(AlertsReader(here, rules))
    return found


@contextmanager
def telling(here: Installation) -> Iterator[None]:
    """Tell as long as the context lasts."""
    readers = Readers(here, switched_on(here))
    try:
        yield
    finally:
        readers.close()
