"""PostgreSQL fails in the ways it does: senders get 503 meanwhile, nothing that was answered 200 is lost, and
the service goes on by itself once the store is back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from builders import alert, labels, notification
from real_postgres import FreshDatabases, RealPostgres
from real_service import API_TOKEN, SENDER_TOKEN, write_credentials
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import create_async_engine

from receiver.app import serving
from receiver.clients import cluster
from receiver.demo.clock import WorldClock
from receiver.demo.scenario import scenario
from receiver.demo.world import CLUSTER, demo_world
from receiver.pipeline.world import Timing
from receiver.settings import Settings
from receiver.store import migrate
from receiver.store.postgres import Patience, PostgresStore, async_url, open_postgres

# Short, so that a test need not wait for what production rightly waits for.
IMPATIENT = Patience(connect=2.0, session=0.5, lock=0.3)


@dataclass
class Running:
    """The service over a PostgreSQL that a test makes fail, and a sender."""

    url: str
    store: PostgresStore
    session: aiohttp.ClientSession

    async def send(self, app: str) -> int:
        """Deliver one alert; the answer's status."""
        body = notification(alert(starts_at=datetime.now(UTC), with_labels=labels(app=app)))
        headers = {"Authorization": f"Bearer {SENDER_TOKEN}"}
        async with self.session.post(f"{self.url}/api/v1/alerts", data=body, headers=headers) as response:
            if response.status == 503:
                assert response.headers["Retry-After"]
            return response.status

    async def send_until_kept(self, app: str) -> None:
        """Deliver as Alertmanager does, again and again: an impatient store refuses on a busy machine too."""
        for _ in range(400):
            status = await self.send(app)
            if status == 200:
                return
            assert status == 503
            await asyncio.sleep(0.05)
        raise AssertionError(f"the alert of {app} was never taken")

    async def ready(self) -> bool:
        """Whether it says that it can take deliveries."""
        async with self.session.get(f"{self.url}/readyz") as response:
            return response.status == 200

    async def worked_on(self, *apps: str) -> None:
        """Return once there is one incident for each of these, looked at and left to a person."""

        def done(item: dict[str, Any]) -> bool:
            return bool(item["escalated"])

        found: dict[str, bool] = {}
        for _ in range(1200):
            headers = {"Authorization": f"Bearer {API_TOKEN}"}
            async with self.session.get(f"{self.url}/api/v1/incidents", headers=headers) as response:
                items = (await response.json()).get("items", []) if response.status == 200 else []
            found = {item["labels"]["app"]: done(item) for item in items}
            assert len(found) == len(items)
            if found == dict.fromkeys(apps, True):
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"expected incidents of {apps}, found {found}")


@asynccontextmanager
async def running(database: str, folder: Path) -> AsyncIterator[Running]:
    """The service in a healthy demo world, over this database."""
    await asyncio.to_thread(migrate.upgrade, database)
    write_credentials(folder)
    clock = WorldClock()
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(demo_world(scenario("inc-001"), clock))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        door = await cluster.connect(url=world.api.url)
        stack.push_async_callback(door.close)
        store = open_postgres(database, IMPATIENT)
        settings = Settings(
            listen="127.0.0.1:0",
            store=database,
            prometheus_url=world.prometheus.url,
            cluster=CLUSTER,
            webhook_token_file=folder / "webhook-tokens",
            api_tokens_file=folder / "api-tokens.yaml",
        )
        timing = Timing(poll=timedelta(milliseconds=50), lease=timedelta(seconds=1))
        service = await stack.enter_async_context(
            serving(settings, clock=clock, door=door, timing=timing, store=store)
        )
        yield Running(service.url, store, session)


@asynccontextmanager
async def locked(database: str, table: str) -> AsyncIterator[None]:
    """Somebody else's session holds the table, as a careless migration does."""
    engine = create_async_engine(async_url(database))
    async with engine.begin() as session:
        await session.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        yield
    await engine.dispose()


@asynccontextmanager
async def all_sessions_taken(store: PostgresStore) -> AsyncIterator[None]:
    """Whatever asks for a session of the pool waits in vain."""
    async with AsyncExitStack() as stack:
        missed = 0
        # The service's own come back one after another; the watch keeps the one it has.
        while missed < 3:
            try:
                await stack.enter_async_context(store.engine.connect())
            except PoolTimeoutError:
                missed += 1
        yield


async def test_a_delivery_that_a_locked_table_keeps_out_is_refused_and_taken_later(
    fresh_database: Callable[[], str], tmp_path: Path
) -> None:
    database = fresh_database()
    async with running(database, tmp_path) as service:
        await service.send_until_kept("before")
        async with locked(database, "deliveries"):
            assert await service.send("during") == 503
        await service.send_until_kept("during")
        await service.worked_on("before", "during")


async def test_what_was_kept_is_joined_once_the_incidents_are_no_longer_locked(
    fresh_database: Callable[[], str], tmp_path: Path
) -> None:
    database = fresh_database()
    async with running(database, tmp_path) as service:
        await service.send_until_kept("before")
        await service.worked_on("before")
        async with locked(database, "incidents"):
            await service.send_until_kept("during")
            # Longer than the service waits for a lock: joining and working have failed.
            await asyncio.sleep(3 * IMPATIENT.lock)
            assert not await service.ready()
        await service.worked_on("before", "during")


async def test_without_a_free_session_senders_are_refused_and_taken_later(
    fresh_database: Callable[[], str], tmp_path: Path
) -> None:
    async with running(fresh_database(), tmp_path) as service:
        await service.send_until_kept("before")
        async with all_sessions_taken(service.store):
            assert await service.send("during") == 503
            assert not await service.ready()
        await service.send_until_kept("during")
        assert await service.ready()
        await service.worked_on("before", "during")


@pytest.fixture
def server() -> Iterator[RealPostgres]:
    """A server of this test's own, which it may stop."""
    with RealPostgres() as started:
        yield started


async def stopped_and_started(server: RealPostgres, service: Running) -> None:
    await asyncio.to_thread(server.stop)
    assert await service.send("during") == 503
    assert not await service.ready()
    await asyncio.to_thread(server.start)


async def crashed_and_started(server: RealPostgres, service: Running) -> None:
    await asyncio.to_thread(server.crash)
    assert await service.send("during") == 503
    assert not await service.ready()
    await asyncio.to_thread(server.start)


async def sessions_ended(server: RealPostgres, _: Running) -> None:
    """As a proxy or an administrator does."""
    query = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'stanch'"
    ended = await asyncio.to_thread(FreshDatabases(server.url).run, query)
    assert int(ended) > 0


@pytest.mark.parametrize("fails", [stopped_and_started, crashed_and_started, sessions_ended])
async def test_after_a_restart_of_the_server_everything_goes_on(
    server: RealPostgres, tmp_path: Path, fails: Callable[[RealPostgres, Running], Awaitable[None]]
) -> None:
    database = FreshDatabases(server.url).create()
    async with running(database, tmp_path) as service:
        for number in range(5):
            await service.send_until_kept(f"before-{number}")
        await fails(server, service)
        await service.send_until_kept("during")
        await service.send_until_kept("after")
        await service.worked_on(*(f"before-{number}" for number in range(5)), "during", "after")
        assert await service.ready()
