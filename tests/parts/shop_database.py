"""A real server with an application on it: its roles, sessions of every kind, and our connection to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import asyncpg
import pytest
from real_postgres import FreshDatabases, RealPostgres

from receiver.clients.connections import Connection, Role
from receiver.clients.database import Databases

ROLES = Path(__file__).parent.parent.parent / "docs" / "postgres-roles.sql"
NAME = "shop"
APP = "app"
T = TypeVar("T")
Session: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
# How the driver says that a session is over. The third: ended, and the end of its connection not yet seen.
ENDED = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)


@dataclass(frozen=True)
class ShopDatabase:
    """The server, and a folder for password files."""

    server: RealPostgres
    folder: Path

    @property
    def connection(self) -> Connection:
        """As the databases file would say it."""
        password = self.folder / "password"
        password.write_text("not-to-be-shown\n", encoding="utf-8")
        return Connection(
            host="127.0.0.1",
            port=self.server.port,
            database="shop",
            monitor=Role(user="stanch_monitor", password_file=password),
            operator=Role(user="stanch_operator", password_file=password),
            users=(APP, HOSTILE),
            sslmode="disable",
        )

    def run(self, statement: str, *, database: str = "postgres") -> str:
        """One statement as the server's owner."""
        return FreshDatabases(self.server.url.replace("/postgres", f"/{database}")).run(statement)

    async def connect(self, *, user: str = APP, database: str = "shop", app: str = "greenlang") -> Session:
        """A session of the application, or of somebody else."""
        return await asyncpg.connect(
            host="127.0.0.1",
            port=self.server.port,
            user=user,
            database=database,
            password="",
            ssl=False,
            server_settings={"application_name": app},
        )

    async def idle(self, **who: str) -> Session:
        """One that is connected and has asked something before."""
        session = await self.connect(**who)
        await session.execute("SELECT 1")
        return session

    async def in_transaction(self, **who: str) -> Session:
        """One that began a transaction and does nothing in it."""
        session = await self.connect(**who)
        await session.execute("BEGIN")
        await session.execute("SELECT 1")
        return session


HOSTILE = "a\"b'; DROP TABLE orders; --\nc"


@contextmanager
def shop_database(folder: Path, options: Mapping[str, str] | None = None) -> Iterator[ShopDatabase]:
    """A server with the roles that the documentation ships, an application's database and one of others."""
    with RealPostgres(options={"wal_level": "replica", "max_wal_senders": "5", **(options or {})}) as server:
        shop = ShopDatabase(server, folder)
        for statement in (
            f"CREATE ROLE {APP} LOGIN",
            f"CREATE ROLE {quoted(HOSTILE)} LOGIN",
            "CREATE ROLE reporting LOGIN",
            "CREATE ROLE replica LOGIN REPLICATION",
            f"CREATE DATABASE shop OWNER {APP}",
            f"CREATE DATABASE other OWNER {APP}",
        ):
            shop.run(statement)
        shop.run(ROLES.read_text(encoding="utf-8"))
        yield shop


def quoted(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


@asynccontextmanager
async def doors(shop: ShopDatabase, kind: type[Databases] = Databases) -> AsyncIterator[Databases]:
    """Our door to it, closed at the end."""
    found = kind({NAME: shop.connection})
    try:
        yield found
    finally:
        await found.close()


class Later(Databases):
    """The same door when every session has done what it does for this much longer; nobody has to wait."""

    by = timedelta(hours=1)

    async def backends(self, connection: str) -> dict[str, Any]:
        """An hour later."""
        return self._later(await super().backends(connection))

    async def statements(self, connection: str, *, running_for: timedelta) -> dict[str, Any]:
        """An hour later."""
        return self._later(await super().statements(connection, running_for=timedelta(0)))

    def _later(self, found: dict[str, Any]) -> dict[str, Any]:
        return {**found, "at": (datetime.fromisoformat(found["at"]) + self.by).isoformat()}


async def until(look: Callable[[], Awaitable[T]], wanted: Callable[[T], bool], *, every: float = 0.01) -> T:
    """What is seen once it is as wanted; a server shows what it was told a moment later."""
    for _ in range(500):
        if wanted(found := await look()):
            return found
        await asyncio.sleep(every)
    raise AssertionError(f"it never was as wanted; at last {found}")


async def close(*sessions: Session) -> None:
    """End these sessions, alive or not."""
    for session in sessions:
        session.terminate()
    await asyncio.sleep(0)


async def alive(session: Session) -> bool:
    """Whether it still answers."""
    try:
        return bool(await session.fetchval("SELECT true"))
    except ENDED:
        return False


@pytest.fixture(scope="session")
def shop_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShopDatabase]:
    """One server for all tests of a run: forty connections, of which three are the superuser's."""
    with shop_database(tmp_path_factory.mktemp("shop"), {"max_connections": "40"}) as shop:
        yield shop


@pytest.fixture
def shop(shop_server: ShopDatabase) -> Iterator[ShopDatabase]:
    """The same server, on which nobody is connected before and after the test."""
    yield shop_server
    shop_server.run(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )


@pytest.fixture(scope="session")
def standby(shop_server: ShopDatabase) -> Iterator[RealPostgres]:
    """A streaming standby of that server."""
    with RealPostgres(primary=shop_server.server) as server:
        yield server
