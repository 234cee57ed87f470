"""`/metrics`, `/healthz` and `/readyz`. Readiness depends on the store alone, never on what we watch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from receiver.domain.errors import Unavailable
from receiver.pipeline.counters import Counters
from receiver.store import reading
from receiver.store.timeline import count_open
from receiver.web.keys import COUNTERS, HEALTH, INTAKE, WORLD


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
        figures: Mapping[str, Any] = await request.app[WORLD].store.read(reading.figures)
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


class OurMetrics(Collector):
    """The counters of one process and the figures of the store (none while it is away), as metrics."""

    def __init__(
        self, counters: Counters, figures: Mapping[str, Any], in_flight: int, *, refused: bool
    ) -> None:
        self._counters = counters
        self._figures = figures
        self._in_flight = in_flight
        self._refused = refused

    def collect(self) -> Iterable[Metric]:
        """Everything that is counted, under field-standard names."""
        counters = self._counters
        yield _counter("stanch_deliveries_kept", "Webhook bodies committed.", counters.deliveries_kept)
        yield _counter(
            "stanch_deliveries_refused", "Webhook bodies answered 503.", counters.deliveries_refused
        )
        yield _counter(
            "stanch_unauthenticated", "Webhook calls with wrong credentials.", counters.unauthenticated
        )
        yield _counter("stanch_alerts_joined", "Alerts read from bodies.", counters.alerts_joined)
        yield _counter(
            "stanch_dead_letters", "Bodies or alerts that could not be read.", counters.dead_letters
        )
        yield _counter(
            "stanch_alerts_truncated", "Alerts that Alertmanager left out.", counters.truncated_alerts
        )
        yield _counter(
            "stanch_claims_fenced", "Outcomes that came after the lease was lost.", counters.fenced
        )
        for name, text, values, label in (
            (
                "stanch_api_refused",
                "Calls of the API that were refused, by why.",
                counters.refused_callers,
                "why",
            ),
            ("stanch_steps", "Steps taken, by kind.", counters.steps, "step"),
            ("stanch_objections", "Guards' objections before acting, by code.", counters.objections, "code"),
            ("stanch_writes", "Writes, by what became of them.", counters.writes, "outcome"),
            ("stanch_messages", "Messages, by destination and outcome.", counters.messages, "result"),
            (
                "stanch_reconciled",
                "Rounds of reconciliation; what they found.",
                counters.reconciled,
                "kind",
            ),
            ("stanch_policy_reloads", "Policy reloads, by outcome.", counters.policy_reloads, "outcome"),
        ):
            family = CounterMetricFamily(name, text, labels=[label])
            for key, value in sorted(values.items()):
                family.add_metric([key], value)
            yield family
        yield GaugeMetricFamily(
            "stanch_bytes_in_flight", "Bytes of bodies being taken.", value=self._in_flight
        )
        yield GaugeMetricFamily(
            "stanch_policies_refused",
            "1 while the newest policy files are broken and older ones are in force.",
            value=float(self._refused),
        )
        yield from self._stored()

    def _stored(self) -> Iterable[Metric]:
        figures = self._figures
        if not figures:
            return
        open_ones = GaugeMetricFamily(
            "stanch_incidents_open", "Open incidents, by status and severity.", labels=["status", "severity"]
        )
        for (status, severity), count in sorted(figures["incidents"].items()):
            open_ones.add_metric([status, severity], count)
        yield open_ones
        plans = GaugeMetricFamily(
            "stanch_plans",
            "Plans by their last outcome: harmed of helped, no-effect and harmed is the wrongful share.",
            labels=["policy", "remediation", "outcome"],
        )
        for key, count in sorted(figures["plans"].items()):
            plans.add_metric(list(key), count)
        yield plans
        intents = GaugeMetricFamily("stanch_intents", "Intents, by state.", labels=["state"])
        for state, count in sorted(figures["intents"].items()):
            intents.add_metric([state], count)
        yield intents
        current = GaugeMetricFamily(
            "stanch_plans_current", "Plans of open incidents, by where they stand.", labels=["state"]
        )
        for state, count in sorted(figures["plans_current"].items()):
            current.add_metric([state], count)
        yield current
        if figures["outbox_oldest"] is not None:
            yield GaugeMetricFamily(
                "stanch_store_outbox_oldest_timestamp_seconds",
                "When the oldest message that waits was written; not there while none waits.",
                value=figures["outbox_oldest"],
            )
        for name, text in (
            ("deliveries_waiting", "Bodies not yet read."),
            ("dead_letters", "Dead letters kept."),
            ("alerts_firing", "Alerts that have not ended."),
            ("outbox_waiting", "Messages not yet delivered."),
            ("outbox_dead", "Messages given up."),
            ("events_unsealed", "Events that are not yet in the audit chain."),
        ):
            yield GaugeMetricFamily(f"stanch_store_{name}", text, value=figures[name])


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, value=value)
