"""The shared store: several replicas on one PostgreSQL. The only room that speaks to its driver.

Deliveries are committed in groups by two writer tasks; everything else is a transaction of its own over a
pool. READ COMMITTED throughout: what must not race takes the gate first and reads after.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import insert
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from receiver.domain.errors import Unavailable
from receiver.store import schema
from receiver.store.engine import Body, Delivery, packed

T = TypeVar("T")

BATCH = 400
WRITERS = 2


@dataclass(frozen=True)
class Patience:
    """How many sessions are kept, and how long is waited, in seconds, before the store counts as away."""

    sessions: int = 8
    extra_sessions: int = 4
    connect: float = 5.0
    # All sessions are busy.
    session: float = 5.0
    # A statement that waits longer than this for a row means a stuck neighbour; better to fail and retry.
    lock: float = 8.0
    statement: float = 30.0


USUAL = Patience()


class PostgresStore:
    """A pool on one PostgreSQL database. Make it with `open_postgres`."""

    name = "postgresql"

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._closed = False
        self._kept: asyncio.Queue[tuple[Delivery, asyncio.Future[None]]] = asyncio.Queue()
        self._writers = [
            asyncio.create_task(self._keep_for_ever(), name=f"store-writer-{number}")
            for number in range(WRITERS)
        ]

    @property
    def engine(self) -> AsyncEngine:
        """The pool, for the few who need a session of their own."""
        return self._engine

    async def write(self, body: Body[T]) -> T:
        """See `Store.write`."""
        try:
            async with self._engine.begin() as connection:
                return await connection.run_sync(body)
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            if not is_away(error):
                raise
            raise Unavailable(f"the store cannot be written: {_words(error)}") from error

    async def read(self, body: Body[T]) -> T:
        """See `Store.read`."""
        try:
            async with self._engine.connect() as connection:
                connection = await connection.execution_options(postgresql_readonly=True)
                async with connection.begin():
                    return await connection.run_sync(body)
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            if not is_away(error):
                raise
            raise Unavailable(f"the store cannot be read: {_words(error)}") from error

    async def keep(self, delivery: Delivery) -> None:
        """See `Store.keep`."""
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._kept.put_nowait((delivery, answer))
        await answer

    async def close(self) -> None:
        """See `Store.close`."""
        if self._closed:
            return
        self._closed = True
        await self._kept.join()
        for writer in self._writers:
            writer.cancel()
        await asyncio.gather(*self._writers, return_exceptions=True)
        await self._engine.dispose()

    async def _keep_for_ever(self) -> None:
        while True:
            batch = [await self._kept.get()]
            while len(batch) < BATCH and not self._kept.empty():
                batch.append(self._kept.get_nowait())
            try:
                async with self._engine.begin() as connection:
                    await connection.execute(
                        insert(schema.deliveries), [_row(delivery) for delivery, _ in batch]
                    )
            except Exception as error:  # noqa: BLE001 - every waiting sender must learn that nothing was kept
                unavailable = Unavailable(f"the store cannot be written: {_words(error)}")
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(unavailable)
            else:
                for _, answer in batch:
                    if not answer.done():
                        answer.set_result(None)
            for _ in batch:
                self._kept.task_done()


def open_postgres(url: str, patience: Patience = USUAL) -> PostgresStore:
    """A pool on ``postgresql://...``; connects when first used."""
    engine = create_async_engine(
        async_url(url),
        pool_size=patience.sessions,
        max_overflow=patience.extra_sessions,
        pool_timeout=patience.session,
        pool_pre_ping=False,
        pool_recycle=1800,
        query_cache_size=2000,
        connect_args={
            "timeout": patience.connect,
            "command_timeout": patience.statement,
            "server_settings": {
                "application_name": "stanch",
                "lock_timeout": str(round(patience.lock * 1000)),
                "idle_in_transaction_session_timeout": "30000",
            },
        },
    )
    return PostgresStore(engine)


def async_url(url: str) -> str:
    """The same address for the asynchronous driver."""
    scheme, _, rest = url.partition("://")
    if scheme.split("+")[0] not in ("postgresql", "postgres"):
        raise ValueError(f"not a PostgreSQL address: {scheme}://...")
    return f"postgresql+asyncpg://{rest}"


# Classes of SQLSTATE that speak of the server and not of what it was asked: connection, read-only after a
# failover, deadlock, resources, locks, operator, system.
AWAY = frozenset({"08", "25", "40", "53", "55", "57", "58"})


def is_away(error: BaseException) -> bool:
    """Whether the store cannot take it now, rather than never: the same may go through later."""
    if isinstance(error, DBAPIError):
        state = str(getattr(error.orig, "sqlstate", None) or "")
        return error.connection_invalidated or not state or state[:2] in AWAY
    return isinstance(error, PoolTimeoutError | OSError | TimeoutError)


def _row(delivery: Delivery) -> dict[str, Any]:
    body, compressed = packed(delivery.body)
    return {
        "received_at": delivery.received_at,
        "source": delivery.source,
        "sha256": delivery.sha256,
        "body": body,
        "compressed": compressed,
    }


def _words(error: BaseException) -> str:
    """The driver's own sentence, without the statement and its parameters."""
    return str(getattr(error, "orig", error)).splitlines()[0][:300] if str(error) else type(error).__name__
