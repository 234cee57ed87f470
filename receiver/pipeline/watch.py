"""Notices the death of a neighbour within a second: each process holds a session lock, and one that is gone
without its leases having ended makes them end now.

A hint only. The lease alone would do a little later, and a wrong hint is harmless: the token fences the
owner, and recovery looks before anything is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from sqlalchemy import Connection, text

from receiver.domain.errors import Unavailable
from receiver.pipeline.world import World
from receiver.store import claims
from receiver.store.postgres import PostgresStore

log = structlog.get_logger(__name__)

LOOK_EVERY_SECONDS = 0.25
# One class of advisory locks for all owners.
LOCK_CLASS = 7241


class Watch:
    """One process's own lock, and its look at the others'."""

    def __init__(self, world: World, wake: Callable[[], None]) -> None:
        self._world = world
        self._wake = wake

    async def run(self) -> None:
        """Hold our lock and look at the others' until cancelled; begin anew when the session breaks."""
        store = self._world.store
        assert isinstance(store, PostgresStore)
        while True:
            try:
                async with store.engine.connect() as session:
                    session = await session.execution_options(isolation_level="AUTOCOMMIT")
                    await session.execute(
                        text("SELECT pg_advisory_lock(:class, hashtext(:owner))"),
                        {"class": LOCK_CLASS, "owner": self._world.owner},
                    )
                    while True:
                        await self._look()
                        await session.execute(text("SELECT 1"))
                        await asyncio.sleep(LOOK_EVERY_SECONDS)
            except Exception as error:  # noqa: BLE001 - a lost session is opened again, whatever broke it
                log.warning(
                    "the watch over the neighbours was interrupted",
                    event_code="watch",
                    why=type(error).__name__,
                )
                await asyncio.sleep(1.0)

    async def _look(self) -> None:
        world = self._world

        def body(tx: Connection) -> int:
            owners = claims.owners_alive(tx)
            dead = [owner for owner in owners if owner != world.owner and not _held(tx, owner)]
            return claims.expire_leases_of(tx, dead)

        try:
            if await world.store.write(body):
                log.warning("a neighbour is gone; taking over", event_code="take_over")
                self._wake()
        except Unavailable:
            return


def _held(tx: Connection, owner: str) -> bool:
    row = tx.execute(
        text(
            "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid = :class "
            "AND objid = CAST(CAST(hashtext(:owner) AS bit(32)) AS bigint) AND granted"
        ),
        {"class": LOCK_CLASS, "owner": owner},
    ).first()
    return row is not None
