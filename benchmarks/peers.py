"""What other engines take for a step on the same graphs: measured once, beside each other, on another 2-core machine.

No-op steps, sums checked, Python 3.11, start-up excluded, medians; in milliseconds a step. ``at_least`` marks graphs
that were given up: the time until then over the number of steps. Engines that cross to another process for each step
and engines that stay in one do different things and are not ranked against each other.
"""

from __future__ import annotations

from typing import NamedTuple

FAN_OUT_SMALL, CHAIN_SMALL, FAN_OUT, LAYERS = "fan-out-small", "chain-small", "fan-out", "layers"


class Peer(NamedTuple):
    """One engine's time on one graph (key of the row)."""

    name: str
    graph: str
    ms: float
    one_process: bool = False
    at_least: bool = False


def _peer(name: str, *ms: float | None, one_process: bool = False, given_up: tuple[str, ...] = ()) -> list[Peer]:
    graphs = (FAN_OUT_SMALL, CHAIN_SMALL, FAN_OUT, LAYERS)
    return [
        Peer(name, graph, value, one_process, graph in given_up)
        for graph, value in zip(graphs, ms, strict=True)
        if value is not None
    ]


PEERS: tuple[Peer, ...] = (
    *_peer("Ray compiled graph", 0.02, 0.07, None, 60.0, given_up=(LAYERS,)),
    *_peer("dask.distributed", 1.8, 5.8, 1.8, 0.9),
    *_peer("Luigi, 2 workers", 7.8, 7.0, None, 8.1),
    *_peer("Metaflow", 160, 261, None, None),
    *_peer("Airflow 3.3, LocalExecutor", 908, 1260, None, None),
    *_peer("Dagster multiprocess", 1430, 2210, None, None),
    *_peer("prefect-ray", 100, 120, None, None, given_up=(FAN_OUT_SMALL,)),
    *_peer("Hamilton", 0.13, 0.01, 1.3, 0.009, one_process=True),
    *_peer("Flyte 2 local", 0.56, 0.43, 0.67, 0.50, one_process=True),
    *_peer("Kedro sequential", 1.5, 1.1, 9.0, 1.9, one_process=True, given_up=(FAN_OUT,)),
    *_peer("DBOS, SQLite (durable)", 1.8, 1.9, 2.0, 1.9, one_process=True),
    *_peer("Luigi, 1 worker", 2.6, 1.4, 11.7, 3.9, one_process=True, given_up=(FAN_OUT,)),
    *_peer("Dagster in process, SQLite", 41, 30, None, None, one_process=True),
    *_peer("Prefect 3, threads", 7.0, 10, None, 77, one_process=True),
    *_peer("ZenML local", 88, 99, None, None, one_process=True),
)
