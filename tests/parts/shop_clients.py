"""Clients of the patients' database on a real server, which know themselves what was done to them.

Each patient has a role of its own, two clients that do what a cure is to end, and one that does the same as
``pg_dump``, which is spared. Who is told anything goes on as programs do: it connects or asks again.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from enum import StrEnum
from pathlib import Path

import asyncpg
from shop_database import ENDED, Session, ShopDatabase, close, quoted, shop_database, until

MEANT, SPARED = ("api/0", "api/1"), "pg_dump"
# What the policy calls idle or slow; no policy may say less.
OLD_ENOUGH = "10 s"
# With fewer sessions on the server, ours alone would make it full or not.
FEWEST = 40


class Told(StrEnum):
    """What a session can be told."""

    ENDED = "ended"
    CANCELLED = "cancelled"


def those_meant(app: str, told: Told) -> frozenset[str]:
    """What happens to a patient's clients when its cure was carried out."""
    return frozenset(f"{app} {name} {told}" for name in MEANT)


class Clients:
    """All clients of all patients, and what they were told."""

    def __init__(self, shop: ShopDatabase, apps: Sequence[str], kind: Told) -> None:
        self._shop = shop
        self._apps = apps
        self._kind = kind
        self.told: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._apps) * (len(MEANT) + 1)

    def settings(self, path: Path) -> dict[str, str]:
        """The service's: a databases file in which each patient is a connection of its own, by its name."""
        one = self._shop.connection
        each = {app: one.model_copy(update={"users": (app,)}) for app in self._apps}
        found = {
            app: connection.model_dump(mode="json", exclude_none=True) for app, connection in each.items()
        }
        path.write_text(json.dumps(found), encoding="utf-8")
        return {"STANCH_DATABASES_FILE": str(path)}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """All of them, having done for long enough what they do."""
        self._shop.run("; ".join(f"CREATE ROLE {quoted(app)} LOGIN" for app in self._apps))
        others = [await self._shop.idle(user="reporting") for _ in range(FEWEST - self.count)]
        tasks = [
            asyncio.create_task(self._live(app, name)) for app in self._apps for name in (*MEANT, SPARED)
        ]
        try:
            await until(self._old, lambda count: count == self.count, every=0.5)
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await close(*others)

    async def _live(self, app: str, name: str) -> None:
        while True:
            session = await self._shop.connect(user=app, app=name)
            try:
                told = None
                while told is not Told.ENDED:
                    told = await self._until_told(session)
                    self.told[f"{app} {name} {told}"] += 1
            finally:
                session.terminate()

    async def _until_told(self, session: Session) -> Told:
        """Do what the cure is against until something happens to it."""
        try:
            if self._kind is Told.ENDED:
                gone = asyncio.Event()
                session.add_termination_listener(lambda _: gone.set())
                await session.execute("BEGIN")
                await gone.wait()
            else:
                await session.execute("SELECT pg_sleep(3600)")
        except asyncpg.QueryCanceledError:
            return Told.CANCELLED
        except ENDED:
            pass
        return Told.ENDED

    async def _old(self) -> int:
        names = ", ".join(f"'{app}'" for app in self._apps)
        return int(
            await asyncio.to_thread(
                self._shop.run,
                f"SELECT count(*) FROM pg_stat_activity WHERE usename IN ({names}) AND state <> 'idle'"
                f" AND clock_timestamp() - state_change > '{OLD_ENOUGH}'",
            )
        )


@asynccontextmanager
async def shop_clients(folder: Path, apps: Sequence[str], kind: Told) -> AsyncIterator[Clients]:
    """A full server, and the clients of these patients."""
    sessions = max(FEWEST, len(apps) * (len(MEANT) + 1))
    # Eight of nine are in use, and three more are the superuser's.
    options = {"max_connections": str(sessions * 9 // 8 + 3)}
    async with AsyncExitStack() as stack:
        shop = stack.enter_context(shop_database(folder, options))
        clients = Clients(shop, apps, kind)
        await stack.enter_async_context(clients.running())
        yield clients
