"""The service in the demo world on an event loop of its own, in a thread of the test's process.

For tests that are written without a loop: those who make requests up draw them synchronously.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from real_service import write_credentials

from receiver.app import Service, serving
from receiver.clients import cluster
from receiver.demo.clock import WorldClock
from receiver.demo.scenario import scenario
from receiver.demo.world import CLUSTER, DemoWorld, demo_world
from receiver.pipeline.world import Timing
from receiver.settings import Settings
from receiver.web.authentication import Authenticator

_T = TypeVar("_T")
PATIENCE_S = 30.0


@dataclass
class Background:
    """A service that runs, and the loop that it runs on."""

    service: Service
    world: DemoWorld
    clock: WorldClock
    loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.service.url

    def run(self, doing: Awaitable[_T]) -> _T:
        """Do this on its loop; what it returns."""

        async def done() -> _T:
            return await doing

        return asyncio.run_coroutine_threadsafe(done(), self.loop).result(PATIENCE_S)


@contextmanager
def background_service(
    folder: Path, *, store: str, people: Authenticator, max_body_bytes: int = 200_000
) -> Iterator[Background]:
    """One service over this store, drained when the context ends."""
    ready = threading.Event()
    found: list[Background | BaseException] = []
    stop: list[Callable[[], object]] = []

    async def living() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(stopping.set))
        write_credentials(folder)
        clock = WorldClock(speed=120)
        async with demo_world(scenario("inc-001"), clock) as world:
            settings = Settings(
                listen="127.0.0.1:0",
                store=store,
                prometheus_url=world.prometheus.url,
                cluster=CLUSTER,
                webhook_token_file=folder / "webhook-tokens",
                evidence_dir=folder / "evidence",
                max_body_bytes=max_body_bytes,
            )
            door = await cluster.connect(url=world.api.url)
            timing = Timing(poll=timedelta(milliseconds=50))
            try:
                async with serving(settings, clock=clock, door=door, timing=timing, people=people) as service:
                    found.append(Background(service, world, clock, loop))
                    ready.set()
                    await stopping.wait()
            finally:
                await door.close()

    def thread() -> None:
        try:
            asyncio.run(living())
        except BaseException as error:  # noqa: BLE001 - told by whoever waits
            found.append(error)
            ready.set()

    running = threading.Thread(target=thread, name="background-service")
    running.start()
    ready.wait(PATIENCE_S)
    try:
        if not found or isinstance(found[0], BaseException):
            raise AssertionError("the service did not start") from (found[0] if found else None)  # type: ignore[misc]
        yield found[0]
    finally:
        for each in stop:
            each()
        running.join(PATIENCE_S)
    failed = [one for one in found if isinstance(one, BaseException)]
    assert not failed and not running.is_alive(), failed
