"""`GET /api/v1/events`: every new timeline row as a server-sent event, resumed by its id."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

from receiver.domain.errors import NotAllowed, PermanentError, TemporaryError
from receiver.pipeline.entitling import must
from receiver.policy.rights import Verb
from receiver.store import reading
from receiver.web.identifying import identify
from receiver.web.keys import HEALTH, IDENTITY, WORLD
from receiver.web.restricted import hidden

POLL_SECONDS = 0.2
KEEP_ALIVE_SECONDS = 15.0
ASKED_AGAIN_SECONDS = 5.0


async def events(request: web.Request) -> web.StreamResponse:
    """Tell every event from now on, or from ``Last-Event-ID``."""
    store = request.app[WORLD].store
    asked = request.headers.get("Last-Event-ID") or request.query.get("after") or ""
    after = (
        int(asked)
        if asked.isascii() and asked.isdigit() and len(asked) < 16
        else await store.read(reading.newest_event)
    )
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    silent = since_asked = 0.0
    try:
        while not request.app[HEALTH].draining:
            if since_asked >= ASKED_AGAIN_SECONDS:
                since_asked = 0.0
                if not await _still_may(request):
                    break
            found = await store.read(_after(after))
            # Asked anew for each batch: an incident may be locked, and released, while somebody listens.
            unseen = await hidden(request) if found else frozenset()
            for event in found:
                after = event.id
                if event.incident_id in unseen:
                    continue
                data = {
                    "incident": event.incident_id,
                    "seq": event.seq,
                    "at": event.at,
                    "actor": event.actor,
                    "event": json.loads(event.body) if event.body is not None else {"event": event.kind},
                }
                await response.write(
                    f"id: {event.id}\nevent: {event.kind}\ndata: {json.dumps(data)}\n\n".encode()
                )
            since_asked += POLL_SECONDS
            silent = 0.0 if found else silent + POLL_SECONDS
            if silent >= KEEP_ALIVE_SECONDS:
                silent = 0.0
                await response.write(b": still here\n\n")
            await asyncio.sleep(POLL_SECONDS)
        await response.write_eof()
    except ConnectionError:
        # The reader went away; that is how streams end.
        return response
    return response


async def _still_may(request: web.Request) -> bool:
    """Whether whoever listens is still known and may still read: a token or a right may be gone by now."""
    try:
        who = await identify(request)
        if isinstance(who, str):
            return False
        request[IDENTITY] = who
        await must(request.app[WORLD], who, Verb.GET)
    except (NotAllowed, TemporaryError, PermanentError):
        return False
    return True


def _after(after: int) -> Callable[[Any], list[reading.NewEvent]]:
    return lambda tx: reading.events_after(tx, after)
