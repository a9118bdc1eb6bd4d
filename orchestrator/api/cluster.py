"""What runs where: a document and events of the API, and a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Annotated

from fastapi import APIRouter, Header, Request
from starlette.responses import Response, StreamingResponse

from orchestrator.api import cluster_schemas as s
from orchestrator.api.describing import iso
from orchestrator.api.pages import run_url, show, step_url
from orchestrator.api.place import Place, document
from orchestrator.api.routes import EVENTS, PREFIX, PROBLEM, streaming
from orchestrator.api.step_waiting import wait_of
from orchestrator.app.cluster import ClusterWatch, RunNow, runs_now
from orchestrator.backends.supply import describe_need
from orchestrator.ports.cluster import Holder
from orchestrator.readers.occupancy import Flight
from orchestrator.views.packing import Bar, Segment, packing_svg
from orchestrator.views.status import size_text

_POLL_S = 2.0
_MOST_DEVICES = 32


def router(place: Place) -> APIRouter:
    """All routes about the cluster."""
    routes = APIRouter(responses=PROBLEM)
    watch = ClusterWatch(place.here)

    def seen() -> bytes:
        """What stays the same while nothing changes."""
        now = cluster_of(place, watch).model_copy(update={"seen_at": None})
        return blake2b(now.model_dump_json().encode(), digest_size=8).hexdigest().encode()

    @routes.get(f"{PREFIX}/cluster", response_model=s.ClusterState, tags=["cluster"])
    def cluster(request: Request) -> Response:
        """Nodes with who holds how much of them, runs under way with their workers, and what waits for what."""
        return document(request, cluster_of(place, watch))

    @routes.get(f"{PREFIX}/cluster/events", responses=EVENTS, response_class=StreamingResponse, tags=["cluster"])
    async def events(last_event_id: Annotated[str, Header(max_length=100)] = "") -> StreamingResponse:
        """An event `cluster` whenever something of it has changed."""
        return streaming(place.streams.changes("cluster", seen, _POLL_S, last_event_id))

    @routes.get("/cluster", include_in_schema=False)
    def page(request: Request) -> Response:
        now = cluster_of(place, watch)
        return show(request, "cluster.html", now=now, drawings=_drawings(now), amount=_amounts)

    return routes


def cluster_of(place: Place, watch: ClusterWatch) -> s.ClusterState:
    """The document."""
    now = watch.now()
    runs, more = runs_now(place.here, place.records)
    owners = {(worker.pid, worker.host): (run, worker.flights) for run in runs for worker in run.workers}
    view = now.view
    nodes = [
        s.ClusterNode(
            id=node.id, host=node.host, address=node.address, head=node.head, total=dict(node.total),
            available=dict(node.available), labels=dict(node.labels),
            holders=[_holder(one, owners.get((one.pid, node.host))) for one in node.holders],
        )
        for node in (view.nodes if view else ())
    ]  # fmt: skip
    demands = [s.ClusterDemand(amounts=dict(one.amounts), count=one.count, name=one.name)
               for one in (view.demands if view else ())]  # fmt: skip
    return s.ClusterState(
        source=now.source, address=now.address, seen_at=iso(now.seen_at), problem=now.problem,
        drivers=view.drivers if view else 0, nodes=nodes, demands=demands, runs=[_run(run) for run in runs],
        more_runs=more,
    )  # fmt: skip


def _holder(holder: Holder, owner: tuple[RunNow, Sequence[Flight]] | None) -> s.ClusterHolder:
    return s.ClusterHolder(
        name=holder.name, pid=holder.pid, amounts=dict(holder.amounts),
        devices={str(index): amount for index, amount in holder.devices.items()},
        run=owner[0].run if owner else None, steps=[_steps(owner[0], one) for one in owner[1]] if owner else [],
    )  # fmt: skip


def _run(run: RunNow) -> s.RunUnderWay:
    return s.RunUnderWay(
        run=run.run, pipeline=run.pipeline, state=run.state, driver=run.driver, backend=run.backend, host=run.host,
        slots=run.slots,
        workers=[s.RunWorker(name=one.name, host=one.host, pid=one.pid, steps=[_steps(run, f) for f in one.flights])
                 for one in run.workers],
        waits=[wait_of(one) for one in run.waits],
    )  # fmt: skip


def _steps(run: RunNow, flight: Flight) -> s.HeldSteps:
    node = run.nodes.get(flight.node)
    return s.HeldSteps(
        address=flight.node, start=flight.start, stop=flight.stop, left=flight.left, since=iso(flight.at) or "",
        needs=describe_need(node.policy.resources) if node is not None else "",
    )  # fmt: skip


# ---- drawings


def _drawings(now: s.ClusterState) -> dict[str, str]:
    """A drawing for each node, and one for each run on local workers, by their ids."""
    groups = {run.run: place for place, run in enumerate(now.runs)}
    found = {}
    for node in now.nodes:
        bars = list(_bars(node, groups))
        found[node.id] = packing_svg(f"What of {node.host} is taken", bars)
    for run in now.runs:
        if run.slots and run.backend != "ray" and run.driver is not None:
            found[run.run] = packing_svg(f"Workers of {run.run}", [_slots(run, groups[run.run])])
    return found


def _bars(node: s.ClusterNode, groups: Mapping[str, int]) -> Iterator[Bar]:
    names = [name for name in ("CPU", "GPU") if node.total.get(name)]
    names += [name for name in node.total if name not in ("CPU", "GPU", "memory")]
    for name in [*names, *(["memory"] if node.total.get("memory") else [])]:
        total = node.total[name]
        if name == "GPU" and total == int(total) and total <= _MOST_DEVICES:
            yield from _devices(node, int(total), groups)
            continue
        segments = [_segment(one, one.amounts[name], name, groups) for one in node.holders if one.amounts.get(name)]
        taken = total - node.available.get(name, 0.0)
        rest = taken - sum(segment.amount for segment in segments)
        if rest > 1e-3:
            told = f"{_amount(name, rest)} held by tasks, placement groups or others"
            segments.append(Segment("others", rest, told))
        yield Bar(name, total, segments, f"{_amount(name, max(taken, 0.0))} of {_amount(name, total)}")


def _devices(node: s.ClusterNode, count: int, groups: Mapping[str, int]) -> Iterator[Bar]:
    """Each GPU by itself: fractions of one are what packing is about."""
    for index in range(count):
        segments = [
            _segment(one, one.devices[str(index)], f"GPU {index}", groups)
            for one in node.holders
            if one.devices.get(str(index))
        ]
        taken = sum(segment.amount for segment in segments)
        yield Bar(f"GPU {index}", 1.0, segments, f"{taken:g} of 1")


def _segment(holder: s.ClusterHolder, amount: float, name: str, groups: Mapping[str, int]) -> Segment:
    label = holder.steps[0].address if holder.steps else holder.run or holder.name
    doing = ", ".join(f"{one.address} ({one.left:,} left)" for one in holder.steps) or "nothing at the moment"
    told = f"{_amount(name, amount)}: {holder.name}, process {holder.pid}"
    if holder.run:
        told += f", run {holder.run}: {doing}"
    link = "" if holder.run is None else run_url(holder.run)
    if holder.run is not None and holder.steps:
        link = step_url(holder.run, holder.steps[0].address)
    return Segment(f"{label} {_amount(name, amount)}", amount, told, groups.get(holder.run or ""), link)


def _slots(run: s.RunUnderWay, group: int) -> Bar:
    """Local workers take a slot each while they have something to do."""
    segments = []
    for worker in run.workers:
        if worker.steps:
            first = worker.steps[0]
            told = f"{worker.name}, process {worker.pid}: " + ", ".join(f"{one.address} ({one.left:,} left)"
                                                                       for one in worker.steps)  # fmt: skip
            segments.append(Segment(first.address, 1.0, told, group, step_url(run.run, first.address)))
    return Bar("slots", run.slots, segments, f"{len(segments)} of {run.slots}")


def _amount(name: str, amount: float) -> str:
    return size_text(amount) if name.endswith("memory") else f"{amount:g} {name}"


def _amounts(amounts: Mapping[str, float]) -> str:
    """Amounts in words."""
    return ", ".join(_amount(name, amount) for name, amount in amounts.items()) or "nothing"
