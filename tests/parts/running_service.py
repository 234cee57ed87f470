"""The service in the demo world, in the test's own loop and on a clock that runs fast, with a client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
from real_service import API_TOKEN, SENDER_TOKEN, write_credentials

from receiver.app import Service, serving
from receiver.clients import cluster
from receiver.demo.clock import WorldClock
from receiver.demo.scenario import scenario
from receiver.demo.world import CLUSTER, DemoWorld, demo_world
from receiver.pipeline.world import Destination, Timing
from receiver.settings import Settings


class Running:
    """The service in the demo world, and a client."""

    def __init__(
        self, service: Service, world: DemoWorld, session: aiohttp.ClientSession, folder: Path
    ) -> None:
        self.service = service
        self.world = world
        self.session = session
        self.folder = folder

    async def post(self, body: bytes, **headers: str) -> aiohttp.ClientResponse:
        """Deliver with these headers."""
        response = await self.session.post(f"{self.service.url}/api/v1/alerts", data=body, headers=headers)
        await response.read()
        return response

    async def send(self, body: bytes) -> int:
        """Deliver as Alertmanager does."""
        return (await self.post(body, Authorization=f"Bearer {SENDER_TOKEN}")).status

    async def get(self, path: str, *, token: str | None = API_TOKEN) -> tuple[int, Any]:
        """Read from the API."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        async with self.session.get(f"{self.service.url}{path}", headers=headers) as response:
            return response.status, await response.json()

    async def call(self, path: str, body: Any, *, token: str = API_TOKEN) -> tuple[int, Any]:
        """Act through the API."""
        headers = {"Authorization": f"Bearer {token}"}
        async with self.session.post(
            f"{self.service.url}/api/v1/{path}", json=body, headers=headers
        ) as response:
            return response.status, await response.json()

    async def until(self, path: str, wanted: Any) -> Any:
        """Read until the answer is as wanted."""
        for _ in range(400):
            status, found = await self.get(path)
            if status == 200 and wanted(found):
                return found
            await asyncio.sleep(0.05)
        raise AssertionError(f"{path} never became so: {found}")


@asynccontextmanager
async def running_service(
    folder: Path, *, told: Sequence[Destination] = (), **settings: Any
) -> AsyncIterator[Running]:
    """The service with these settings besides the usual ones, drained when the context ends."""
    clock = WorldClock(speed=120)
    write_credentials(folder)
    async with demo_world(scenario("inc-001"), clock) as world, aiohttp.ClientSession() as session:
        found = Settings(
            listen="127.0.0.1:0",
            store=f"sqlite:///{folder / 'stanch.sqlite3'}",
            prometheus_url=world.prometheus.url,
            cluster=CLUSTER,
            webhook_token_file=folder / "webhook-tokens",
            api_tokens_file=folder / "api-tokens.yaml",
            **settings,
        )
        door = await cluster.connect(url=world.api.url)
        timing = Timing(poll=timedelta(milliseconds=50))
        try:
            async with serving(
                found, clock=clock, door=door, timing=timing, extra_destinations=told
            ) as service:
                yield Running(service, world, session, folder)
        finally:
            await door.close()
