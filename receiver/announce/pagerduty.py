"""Paging through PagerDuty's Events API v2: one page for an incident's epoch, ended when it is resolved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp

from receiver.announce.webhook import post

EVENTS_URL = "https://events.pagerduty.com/v2/enqueue"
_SEVERITIES = {"P0": "critical", "P1": "error", "P2": "warning", "P3": "info"}


class PagerDuty:
    """One integration key. ``dedup_key`` makes a repeated send the same page."""

    name = "pagerduty"

    def __init__(self, session: aiohttp.ClientSession, routing_key: str, url: str = EVENTS_URL) -> None:
        self._session = session
        self._routing_key = routing_key
        self._url = url

    def wants(self, body: Mapping[str, Any]) -> bool:
        """Only what wakes somebody up, and its end."""
        return bool(body["pages"] or body["ends_page"])

    async def send(self, body: Mapping[str, Any], *, key: str) -> None:
        """Trigger, or resolve every page of the incident. Raises TemporaryError and PermanentError."""
        if body["ends_page"]:
            # Each epoch had a page of its own; ending one that never was is a no-op there.
            for epoch in range(1, int(body["epoch"]) + 1):
                await post(
                    self._session, self._url, self._event("resolve", body, epoch), key=f"{key}/e{epoch}"
                )
            return
        event = self._event("trigger", body, int(body["epoch"]))
        event["payload"] = {
            "summary": str(body["text"])[:1024],
            "source": "stanch",
            "severity": _SEVERITIES.get(str(body["severity"]), "error"),
        }
        event["links"] = [{"href": body["link"], "text": "incident"}]
        await post(self._session, self._url, event, key=key)

    def _event(self, action: str, body: Mapping[str, Any], epoch: int) -> dict[str, Any]:
        return {
            "routing_key": self._routing_key,
            "event_action": action,
            "dedup_key": f"stanch/inc-{body['incident']}/e{epoch}",
        }
