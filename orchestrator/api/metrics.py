"""``/metrics`` for Prometheus: the figures of ``readers.metrics`` in its text format."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter, Request
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry
from starlette.responses import Response

from orchestrator.app.installation import Installation
from orchestrator.app.metering import Metering
from orchestrator.readers.metrics import METRICS, SEPARATOR, Metric, Totals

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


class _Collector(Collector):
    """Hands the figures to the client library, which writes them."""

    def __init__(self, metering: Metering) -> None:
        self._metering = metering

    def collect(self) -> Iterator[Family]:
        counted, unfinished = self._metering.figures()
        runs = GaugeMetricFamily("orc_runs", "Runs that have not ended", labels=("pipeline", "state"))
        for labels, count in sorted(unfinished.items()):
            runs.add_metric(labels, count)
        yield runs
        for metric in METRICS:
            yield _histogram(metric, counted) if metric.buckets else _counter(metric, counted)


def _counter(metric: Metric, counted: Totals) -> CounterMetricFamily:
    family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    for key, value in sorted(counted.counters.get(metric.name, {}).items()):
        family.add_metric(key.split(SEPARATOR), value)
    return family


def _histogram(metric: Metric, counted: Totals) -> HistogramMetricFamily:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    edges = [*(f"{edge:g}" for edge in metric.buckets), "+Inf"]
    for key, row in sorted(counted.histograms.get(metric.name, {}).items()):
        upto, buckets = 0.0, []
        for edge, count in zip(edges, row[:-1], strict=True):
            upto += count
            buckets.append((edge, upto))
        family.add_metric(key.split(SEPARATOR), buckets, row[-1])
    return family


def router(installation: Installation) -> APIRouter:
    """The route; a scrape reads what was committed since the last one."""
    routes = APIRouter()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(Metering(installation)))

    @routes.get("/metrics", include_in_schema=False)
    def metrics(request: Request) -> Response:
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), media_type=None, headers={"Content-Type": media_type})

    return routes
