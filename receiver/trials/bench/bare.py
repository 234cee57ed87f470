"""The yardstick, as a process of its own: the service's application, middlewares and routes, with a webhook
that authenticates and reads the body and keeps nothing.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from aiohttp import web

from receiver.web import api
from receiver.web.authentication import sender_credentials
from receiver.web.keys import SENDERS
from receiver.web.routes import ROUTES

MAX_BODY_BYTES = 32 * 1024 * 1024


async def receive(request: web.Request) -> web.Response:
    """Take a body and forget it."""
    if not request.app[SENDERS].accept(request.headers.get("Authorization")):
        return web.json_response({"error": "credentials are missing or wrong"}, status=401)
    await request.read()
    return web.Response(status=200, text="kept\n")


async def ready(request: web.Request) -> web.Response:
    """There is nothing to wait for."""
    return web.json_response({"status": "ready"})


async def serve(port: int, tokens: Path) -> None:
    """Until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    application = web.Application(middlewares=[api.errors, api.authenticate], client_max_size=MAX_BODY_BYTES)
    application[SENDERS] = sender_credentials(tokens, None)
    ours = {("POST", "/api/v1/alerts"): receive, ("GET", "/readyz"): ready}
    for route in ROUTES:
        handler = ours.get((route.method, route.path), route.handler)
        application.router.add_route(route.method, route.path, handler)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5, handler_cancellation=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    try:
        await stop.wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
