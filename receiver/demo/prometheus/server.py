"""Prometheus's HTTP API on loopback, and the task that scrapes and evaluates by the demo's clock.

The demo world and the tests start it; Stanch and people's tools talk to it as to a real one. Everything but
HTTP and time is the engine's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

import promql_parser as promql
from aiohttp import web

from receiver.demo.prometheus import answers
from receiver.demo.prometheus.alerting import AlertingRule
from receiver.demo.prometheus.engine import INTERVAL, RETENTION, AlertListener, Engine
from receiver.demo.prometheus.errors import BadDataError, QueryError
from receiver.demo.prometheus.faults import Call, Faults
from receiver.demo.prometheus.parameters import Parameters
from receiver.demo.prometheus.scraping import Target
from receiver.demo.prometheus.series import milliseconds
from receiver.demo.prometheus.syntax import matchers_of, parse
from receiver.domain.clock import Clock

# Prometheus's own limit for the points of one series in one answer.
MAX_POINTS = 11_000
CALLS_KEPT = 10_000

BUILD = {
    "version": "2.42.0+demo",
    "revision": "demo",
    "branch": "demo",
    "buildUser": "stanch",
    "buildDate": "",
    "goVersion": "",
}


class PrometheusServer:
    """``async with PrometheusServer(clock=..., targets=...) as prom: prom.url``"""

    def __init__(
        self,
        *,
        clock: Clock,
        targets: Iterable[Target] = (),
        rules: Iterable[AlertingRule] = (),
        external_labels: Mapping[str, str] | None = None,
        port: int = 0,
        interval: timedelta = INTERVAL,
        retention: timedelta = RETENTION,
    ) -> None:
        self.engine = Engine(
            targets=targets, rules=rules, external_labels=external_labels, retention=retention
        )
        self.faults = Faults()
        self.calls: deque[Call] = deque(maxlen=CALLS_KEPT)
        self.interval = interval
        self._clock = clock
        self._retention = retention
        self._wanted_port = port
        self._port = 0
        self._runner: web.AppRunner | None = None
        self._ticking: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The base address, once it is entered."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._as_prometheus])
        for path, handler in self._routes().items():
            app.router.add_get(path, handler)
            app.router.add_post(path, handler)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, "127.0.0.1", self._wanted_port).start()
        except BaseException:
            await self._runner.cleanup()
            raise
        self._port = self._runner.addresses[0][1]
        self._ticking = asyncio.create_task(self._tick_for_ever(), name="demo-prometheus")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()

    def scrape(self, at: datetime | None = None) -> None:
        """Scrape every target now, or as of ``at``."""
        self.engine.scrape(at or self._clock.now())

    def evaluate_rules(self, at: datetime | None = None) -> None:
        """Evaluate every rule now, or as of ``at``; nothing happens while they are frozen."""
        if not self.faults.rules_frozen:
            self.engine.evaluate_rules(at or self._clock.now())

    def backfill(self, start: datetime, end: datetime, step: timedelta, target: Target) -> None:
        """Give ``target`` a past, from ``start`` until before ``end``."""
        self.engine.backfill(start, end, step, target)

    def on_alerts(self, listener: AlertListener) -> None:
        """Call ``listener`` after each evaluation with the firing and the recently resolved alerts."""
        self.engine.on_alerts(listener)

    async def _tick_for_ever(self) -> None:
        due = self._clock.now()
        while True:
            now = self._clock.now()
            # A clock may jump by hours, in a test or after a laptop's sleep. Every tick up to now is made up
            # for, so that no window has a hole, but none further back than anything is kept.
            due = max(due, now - self._retention)
            while due <= now:
                self.scrape(due)
                self.evaluate_rules(due)
                due += self.interval
                await asyncio.sleep(0)  # requests are answered between two ticks
            await self._clock.sleep(due - now)

    def _routes(self) -> dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]]:
        return {
            "/-/ready": self._alive,
            "/-/healthy": self._alive,
            "/api/v1/query": self._query,
            "/api/v1/query_range": self._query_range,
            "/api/v1/series": self._series,
            "/api/v1/rules": self._rules,
            "/api/v1/alerts": self._alerts,
            "/api/v1/targets": self._targets,
            "/api/v1/status/buildinfo": self._buildinfo,
        }

    @web.middleware
    async def _as_prometheus(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        parameters = await Parameters.of(request)
        self.calls.append(Call(self._clock.now(), request.method, request.path, parameters.as_dict()))
        if self.faults.delay:
            await self._clock.sleep(self.faults.delay)
        if self.faults.down and request.transport is not None:
            request.transport.abort()
            return web.Response()  # to nobody
        if self.faults.status is not None:
            return web.Response(status=self.faults.status, text="set to fail")
        try:
            return await handler(request)
        except QueryError as error:
            body = {"status": "error", "errorType": error.error_type, "error": str(error)}
            return web.json_response(body, status=error.status)

    async def _alive(self, request: web.Request) -> web.Response:
        ready = request.path.endswith("ready")
        return web.Response(text=f"Prometheus Server is {'Ready' if ready else 'Healthy'}.\n")

    async def _query(self, request: web.Request) -> web.Response:
        given = await Parameters.of(request)
        at = given.moment("time", self._clock.now())
        expression = given.text("query")
        kind = self.engine.parsed(expression).kind
        value = self.engine.query(expression, at)
        if self.faults.empty and not isinstance(value, float | str):
            value = []
        return _success(answers.query_data(kind, value, milliseconds(at)))

    async def _query_range(self, request: web.Request) -> web.Response:
        given = await Parameters.of(request)
        start, end = given.moment("start"), given.moment("end")
        if end < start:
            raise BadDataError('invalid parameter "end": end timestamp must not be before start time')
        step = given.duration("step")
        if step <= timedelta(0):
            raise BadDataError(
                'invalid parameter "step": zero or negative query resolution step widths are not accepted. '
                "Try a positive integer"
            )
        if (end - start) / step > MAX_POINTS:
            raise BadDataError(
                "exceeded maximum resolution of 11,000 points per timeseries. "
                "Try decreasing the query resolution (?step=XX)"
            )
        lines = self.engine.query_range(given.text("query"), start, end, step)
        return _success(answers.range_data({} if self.faults.empty else lines))

    async def _series(self, request: web.Request) -> web.Response:
        given = await Parameters.of(request)
        selectors = given.every("match[]")
        if not selectors:
            raise BadDataError("no match[] parameter provided")
        now = self._clock.now()
        since = milliseconds(given.moment("start", now - self._retention))
        until = milliseconds(given.moment("end", now))
        found = set()
        for selector in selectors:
            tree = parse(selector).tree
            if not isinstance(tree, promql.VectorSelector):
                raise BadDataError(f'invalid parameter "match[]": {selector} is no selector')
            for series in self.engine.store.select(matchers_of(tree)):
                if series.points(since, until):
                    found.add(series.labels)
        return _success([] if self.faults.empty else [dict(labels) for labels in sorted(found)])

    async def _rules(self, request: web.Request) -> web.Response:
        kind = (await Parameters.of(request)).text("type") or "alert"
        rules = self.engine.rules if kind == "alert" else []
        return _success(answers.rules_data(rules, self.interval))

    async def _alerts(self, request: web.Request) -> web.Response:
        live = [alert for state in self.engine.rules for alert in state.live()]
        return _success({"alerts": [answers.alert_body(alert) for alert in live]})

    async def _targets(self, request: web.Request) -> web.Response:
        scraper = self.engine.scraper
        active = [
            answers.target_body(target, scraper.health.get((target.job, target.instance)), self.interval)
            for target in scraper.targets
        ]
        return _success({"activeTargets": active, "droppedTargets": []})

    async def _buildinfo(self, request: web.Request) -> web.Response:
        return _success(BUILD)


def _success(data: Any) -> web.Response:
    return web.json_response({"status": "success", "data": data})
