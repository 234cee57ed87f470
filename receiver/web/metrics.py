"""`/metrics`, `/healthz` and `/readyz`. Readiness depends on the store alone, never on what we watch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection

from receiver.domain.errors import Unavailable
from receiver.pipeline.counters import Counters
from receiver.pipeline.world import Place
from receiver.store import intake, reading
from receiver.store.timeline import count_open, seconds
from receiver.web.keys import COUNTERS, HEALTH, INTAKE, WORLD
from receiver.web.measures import MEASURES, Kind, Told


async def healthz(request: web.Request) -> web.Response:
    """The process lives."""
    return web.json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """It can take deliveries."""
    if request.app[HEALTH].draining:
        return web.json_response({"status": "stopping"}, status=503)
    try:
        await request.app[WORLD].store.read(count_open)
    except Unavailable as error:
        return web.json_response({"status": str(error)}, status=503)
    return web.json_response({"status": "ready"})


async def metrics(request: web.Request) -> web.Response:
    """Counters of this process and figures of the store."""
    try:
        figures: Mapping[str, Any] = await request.app[WORLD].store.read(_figures(request.app[WORLD].place))
    except Unavailable:
        figures = {}
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    refused = request.app[WORLD].loaded.refused is not None
    in_flight = request.app[INTAKE].bytes_in_flight
    registry.register(OurMetrics(request.app[COUNTERS], figures, in_flight, refused=refused))
    return web.Response(
        body=generate_latest(registry), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    )


def _figures(place: Place) -> Callable[[Connection], Mapping[str, Any]]:
    def body(tx: Connection) -> Mapping[str, Any]:
        told = intake.last_received(tx, place.watchdog, source=place.source)
        watchdog = {} if told is None else {place.source: seconds(told)}
        return {**reading.figures(tx), "watchdog": watchdog}

    return body


class OurMetrics(Collector):
    """The counters of one process and the figures of the store (none while it is away), as metrics."""

    def __init__(
        self, counters: Counters, figures: Mapping[str, Any], in_flight: int, *, refused: bool
    ) -> None:
        self._told = Told(counters, figures, in_flight, refused)

    def collect(self) -> Iterable[Metric]:
        """Everything that is counted, under field-standard names."""
        for measure in MEASURES:
            values = measure.read(self._told)
            if values is None:
                continue
            family = _FAMILIES[measure.kind](
                measure.stem, measure.text, labels=[label.name for label in measure.labels]
            )
            for key, value in sorted(values.items()):
                family.add_metric(list(key), value)
            yield family


_FAMILIES: Mapping[Kind, type[CounterMetricFamily] | type[GaugeMetricFamily]] = {
    Kind.COUNTER: CounterMetricFamily,
    Kind.GAUGE: GaugeMetricFamily,
}
