"""`POST /api/v1/alerts`: Alertmanager's webhook.

Credentials before a byte of the body, room before it is read, and 200 only once it is on the disk. The
only other answers are 401 (visible in Alertmanager as such), 413 for what is larger than allowed, and 503,
which is the one that Alertmanager retries.
"""

from __future__ import annotations

import structlog
from aiohttp import web

from receiver.domain.errors import Unavailable
from receiver.web.keys import COUNTERS, HEALTH, INTAKE, LIMITS, SENDERS, WORLD

log = structlog.get_logger(__name__)

RETRY_AFTER = {"Retry-After": "5"}
# A body of unknown length reserves this much and more as it comes.
CHUNK = 64 * 1024


async def receive(request: web.Request) -> web.Response:
    """Take one notification.

    What comes without credentials is in no trace: a stranger must neither fill the collector nor name one.
    """
    counters = request.app[COUNTERS]
    if not request.app[SENDERS].accept(request.headers.get("Authorization")):
        counters.unauthenticated += 1
        log.warning(
            "a delivery without valid credentials", event_code="unauthenticated", remote=request.remote
        )
        return web.json_response(
            {"error": "credentials are missing or wrong"},
            status=401,
            headers={"WWW-Authenticate": 'Bearer realm="stanch", Basic realm="stanch"'},
        )
    with request.app[WORLD].tracer.receiving(request.headers.get("traceparent")) as span:
        response = await _take(request)
        span.set(http_status=response.status)
        return response


async def _take(request: web.Request) -> web.Response:
    if request.app[HEALTH].draining:
        return _unavailable("the service is stopping")
    counters, world = request.app[COUNTERS], request.app[WORLD]
    intake, most = request.app[INTAKE], request.app[LIMITS].max_body_bytes
    reserved = 0
    body = bytearray()
    try:
        expected = request.content_length or 0
        if expected > most:
            return _too_large(expected, most)
        intake.reserve(expected)
        reserved = expected
        async for chunk in request.content.iter_chunked(CHUNK):
            body += chunk
            if len(body) > most:
                return _too_large(len(body), most)
            if len(body) > reserved:
                intake.reserve(len(body) - reserved)
                reserved = len(body)
        whole = bytes(body)
        # Before it is kept: a moment after that it may be joined already.
        world.tracer.arrived(whole)
        with world.tracer.span("keep"):
            await intake.keep(whole, source=world.place.source)
    except Unavailable as error:
        counters.deliveries_refused += 1
        log.warning("a delivery was refused", event_code="refused", why=str(error))
        return _unavailable(str(error))
    finally:
        intake.release(reserved)
    counters.deliveries_kept += 1
    return web.Response(status=200, text="kept\n")


def _unavailable(reason: str) -> web.Response:
    return web.json_response({"error": f"{reason}; send it again"}, status=503, headers=RETRY_AFTER)


def _too_large(size: int, most: int) -> web.Response:
    log.error("a delivery is too large", event_code="too_large", size=size, most=most)
    return web.json_response(
        {"error": f"{size} bytes; {most} are allowed (STANCH_MAX_BODY_BYTES)"}, status=413
    )
