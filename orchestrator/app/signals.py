"""What is told to the outside, as far as it is switched on: alerts, traces, lineage and experiments.

``orc up`` tells all the time. Without it a command that drove a run tells at its end, and ``orc send`` at any time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from orchestrator.app.alerting import AlertsReader, rules_of
from orchestrator.app.installation import Installation
from orchestrator.app.reading import Keeper, Reader, Readers, reading_alone
from orchestrator.app.switches import FILE_VARIABLE, MLFLOW_VARIABLE, SWITCHES, sinks_wanted
from orchestrator.errors import ConfigError

if TYPE_CHECKING:
    from orchestrator.app.sending import SinkReader


def sink_reader(here: Installation, name: str, keep_as: str = "") -> SinkReader:
    """The reader of a sink.

    Args:
        keep_as: Name of the file with its place, if not that of the sink.
    """
    from orchestrator.app.sending import SinkReader

    env = os.environ

    def make() -> Any:
        if name == "traces":
            from orchestrator.sinks.traces import TracesSink

            return TracesSink()
        if name == "lineage":
            from orchestrator.sinks.lineage import LineageSink

            return LineageSink(env.get("OPENLINEAGE_NAMESPACE") or "ray-orchestrator", env.get(FILE_VARIABLE, ""))
        from orchestrator.sinks.experiments import MlflowSink

        return MlflowSink(env[MLFLOW_VARIABLE])

    return SinkReader(here, keep_as or name, make)


def switched_on(here: Installation) -> list[Reader[Any]]:
    """Readers that the settings ask for.

    Raises:
        ConfigError: the rules of alerts are broken.
    """
    found: list[Reader[Any]] = [sink_reader(here, name) for name in sinks_wanted()]
    rules = rules_of(here)
    return [*found, AlertsReader(here, rules)] if rules.rules else found


@contextmanager
def telling(here: Installation) -> Iterator[None]:
    """Tell as long as the context lasts."""
    readers = Readers(here, switched_on(here))
    try:
        yield
    finally:
        readers.close()


def begin(here: Installation) -> None:
    """Note where sinks begin that were never told anything: with what is made from now on."""
    for name in sinks_wanted():
        Keeper(here, sink_reader(here, name))


def catch_up(here: Installation) -> dict[str, int]:
    """Tell the sinks what is new, unless another process is about it; gives the facts each was told.

    Raises:
        SinkUnavailable, ConfigError: as the sink says; what was told is noted.
    """
    told: dict[str, int] = {}
    for name in sinks_wanted():
        with reading_alone(here, name) as alone:
            if alone:
                told[name] = Keeper(here, sink_reader(here, name)).round()
    return told


def tell_again(here: Installation, run: str, to: str) -> int:
    """Tell a sink all of one run, whatever it was told before; gives the number of facts.

    Raises:
        NotFound: no such run.
        ConfigError: that sink is not switched on.
        SinkUnavailable: the receiver is away.
    """
    if to not in sinks_wanted():
        raise ConfigError(f"{to} goes nowhere: set {SWITCHES[to]}")
    row, reader = here.journal.run(run), sink_reader(here, to)
    facts = list(here.journal.facts(row.id))
    reader.take(row, reader.begin(row), facts, known=False)
    return len(facts)
