"""An endpoint outside the cluster over real HTTP: it answers as told, well, slowly, hugely or otherwise."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from hand_clock import HandSteady

from receiver.clients.endpoints import Endpoint, Endpoints, open_session
from receiver.domain.endpoints import EndpointKind


@dataclass
class EndpointServer:
    """What it answers next, and what it was asked."""

    url: str = ""
    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    # While it is not set, nothing is answered.
    answering: asyncio.Event = field(default_factory=asyncio.Event)
    after_head: bool = False
    # What it answers first, before its status; and what happens with each request.
    then: list[int] = field(default_factory=list)
    each: Callable[[], None] = lambda: None

    def says(self, document: Any, *, status: int = 200) -> None:
        """Answer with this as JSON."""
        self.body, self.status = json.dumps(document).encode(), status

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.path_qs, dict(request.headers)))
        self.arrived.set()
        self.each()
        if not self.after_head:
            await self.answering.wait()
        status = self.then.pop(0) if self.then else self.status
        response = web.StreamResponse(status=status, headers=self.headers)
        await response.prepare(request)
        if self.after_head:
            await response.write(b"{")
            await self.answering.wait()
        await response.write(self.body)
        return response

    def endpoint(self, kind: EndpointKind = EndpointKind.STATUS_PAGE, **more: Any) -> Endpoint:
        """How a file names it."""
        return Endpoint.model_validate(
            {"kind": kind, "url": f"{self.url}/{kind.value}", "insecure": True, **more}
        )


@asynccontextmanager
async def endpoint_server() -> AsyncIterator[EndpointServer]:
    """One on a port of its own."""
    server = EndpointServer()
    server.answering.set()
    application = web.Application()
    application.router.add_route("GET", "/{path:.*}", server._answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        server.answering.set()
        await runner.cleanup()


@asynccontextmanager
async def asking(**configured: Endpoint) -> AsyncIterator[tuple[Endpoints, HandSteady]]:
    """The service's own door to these, on a clock that the test moves."""
    steady = HandSteady()
    async with open_session() as session:
        yield Endpoints(configured, session, steady=steady, pause=steady.pause), steady
