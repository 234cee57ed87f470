"""An OpenTelemetry collector over real HTTP: it keeps what arrives, or answers as told, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status


@dataclass(frozen=True)
class Arrived:
    """A span as it arrived; ids in hexadecimal, ``parent`` empty where it has none."""

    name: str
    trace: str
    id: str
    parent: str
    kind: str
    links: tuple[tuple[str, str], ...]
    attributes: dict[str, str | int]
    failed: bool
    said: str
    events: int
    took_ns: int


@dataclass
class Collector:
    """What arrived; ``status`` is what it answers, and while ``answering`` is not set it answers nothing."""

    url: str = ""
    status: int = 200
    bodies: list[bytes] = field(default_factory=list)
    spans: list[Arrived] = field(default_factory=list)
    resource: dict[str, str | int] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    answering: asyncio.Event = field(default_factory=asyncio.Event)

    def named(self, name: str) -> list[Arrived]:
        """The spans of this name."""
        return [span for span in self.spans if span.name == name]

    async def take(self, request: web.Request) -> web.Response:
        """`POST /v1/traces`."""
        body = await request.read()
        self.headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.set()
        await self.answering.wait()
        if self.status == 200:
            self.bodies.append(body)
            for of in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.resource = {one.key: _plain(one.value) for one in of.resource.attributes}
                self.spans += [_arrived(span) for scope in of.scope_spans for span in scope.spans]
        return web.Response(status=self.status)


def _plain(value: object) -> str | int:
    kind = value.WhichOneof("value")  # type: ignore[attr-defined]
    found: str | int = getattr(value, kind)
    return found


def _arrived(span: Span) -> Arrived:
    return Arrived(
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        attributes={one.key: _plain(one.value) for one in span.attributes},
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        said=span.status.message,
        events=len(span.events),
        took_ns=span.end_time_unix_nano - span.start_time_unix_nano,
    )


@asynccontextmanager
async def collector(*, status: int = 200, answering: bool = True) -> AsyncIterator[Collector]:
    """One on loopback."""
    found = Collector(status=status)
    if answering:
        found.answering.set()
    application = web.Application()
    application.router.add_post("/v1/traces", found.take)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield found
    finally:
        found.answering.set()
        await runner.cleanup()
