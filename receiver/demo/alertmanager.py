"""A small Alertmanager for the demo world: groups what fires, posts version 4 bodies, repeats until taken.

It lists its alerts as the real one does, so that reconciliation and guards have somebody to ask. Retries on
5xx and lost connections, once a second of real time; anything else is not sent again before the next change.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Self

import aiohttp
from aiohttp import web

from receiver.demo.prometheus import Alert, AlertState
from receiver.domain.canonical import digest_of
from receiver.domain.clock import Clock

RETRY_SECONDS = 1.0
NO_END = "0001-01-01T00:00:00Z"


class SmallAlertmanager:
    """``async with SmallAlertmanager(...) as manager``: one receiver, one group."""

    def __init__(
        self, *, clock: Clock, receiver: str = "stanch", up_for: timedelta = timedelta(days=3)
    ) -> None:
        self._clock = clock
        self._receiver = receiver
        self._up_since = clock.now() - up_for
        self._alerts: dict[str, Alert] = {}
        self._told: dict[str, str] = {}
        self._wake = asyncio.Event()
        self._target: tuple[str, str] | None = None
        self._runner: web.AppRunner | None = None
        self._sending: asyncio.Task[None] | None = None
        self.url = ""
        self.posts = 0

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_get("/api/v2/alerts", self._list)
        application.router.add_get("/api/v2/status", self._status)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
        assert self._runner is not None
        await self._runner.cleanup()

    def send_to(self, url: str, token: str) -> None:
        """Begin to post to this receiver."""
        self._target = (url, token)
        self._sending = asyncio.create_task(self._send_for_ever(), name="demo-alertmanager")

    def take(self, alerts: tuple[Alert, ...]) -> None:
        """What Prometheus says fires now, and what it says has ended."""
        for alert in alerts:
            self._alerts[_fingerprint(alert.labels)] = alert
        self._wake.set()

    async def _send_for_ever(self) -> None:
        async with aiohttp.ClientSession() as session:
            while True:
                await self._wake.wait()
                self._wake.clear()
                if not await self._send_changes(session):
                    await asyncio.sleep(RETRY_SECONDS)
                    self._wake.set()

    async def _send_changes(self, session: aiohttp.ClientSession) -> bool:
        states = {name: alert.state.value for name, alert in self._alerts.items()}
        new = {name for name, state in states.items() if self._told.get(name) != state}
        told = [name for name in new if states[name] == "firing" or name in self._told]
        if not told or self._target is None:
            return True
        url, token = self._target
        shown = [name for name in self._alerts if states[name] == "firing" or name in told]
        body = _body(self._receiver, self.url, [(name, self._alerts[name]) for name in shown])
        try:
            headers = {"Authorization": f"Bearer {token}"}
            async with session.post(f"{url}/api/v1/alerts", json=body, headers=headers) as response:
                taken = response.status < 500
        except (aiohttp.ClientError, OSError):
            taken = False
        if taken:
            self.posts += 1
            self._told.update({name: states[name] for name in shown})
        return taken

    async def _list(self, request: web.Request) -> web.Response:
        # Alertmanager's filter, as far as the service uses it: alertname="...".
        filters = [text.partition("=")[2] for text in request.query.getall("filter", [])]
        wanted = {str(json.loads(text)) for text in filters}
        return web.json_response(
            [
                {
                    "labels": dict(alert.labels),
                    "annotations": dict(alert.annotations),
                    "startsAt": _time(alert.fired_at or alert.active_at),
                    "endsAt": _time(self._clock.now() + timedelta(minutes=4)),
                    "updatedAt": _time(self._clock.now()),
                    "fingerprint": name,
                    "generatorURL": "",
                    "receivers": [{"name": self._receiver}],
                    "status": {"state": "active", "silencedBy": [], "inhibitedBy": [], "mutedBy": []},
                }
                for name, alert in self._alerts.items()
                if alert.state is AlertState.FIRING
                and (not wanted or alert.labels.get("alertname") in wanted)
            ]
        )

    async def _status(self, request: web.Request) -> web.Response:
        return web.json_response({"uptime": _time(self._up_since), "versionInfo": {"version": "demo"}})


def _body(receiver: str, url: str, alerts: list[tuple[str, Alert]]) -> dict[str, Any]:
    entries = [
        {
            "status": "firing" if alert.state is AlertState.FIRING else "resolved",
            "labels": dict(alert.labels),
            "annotations": dict(alert.annotations),
            "startsAt": _time(alert.fired_at or alert.active_at),
            "endsAt": NO_END if alert.resolved_at is None else _time(alert.resolved_at),
            "generatorURL": "",
            "fingerprint": name,
        }
        for name, alert in alerts
    ]
    firing = any(entry["status"] == "firing" for entry in entries)
    return {
        "version": "4",
        "groupKey": "{}:{}",
        "truncatedAlerts": 0,
        "status": "firing" if firing else "resolved",
        "receiver": receiver,
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": url,
        "alerts": entries,
    }


def _fingerprint(labels: Mapping[str, str]) -> str:
    return digest_of(sorted(labels.items()))[:16]


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
