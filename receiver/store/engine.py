"""What both stores promise, and the small differences of their dialects."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Table, select, text
from sqlalchemy.dialects import postgresql, sqlite

from receiver.store import schema

T = TypeVar("T")
Body = Callable[[Connection], T]


@dataclass(frozen=True)
class Delivery:
    """One webhook body as it arrived, before anybody read it."""

    received_at: float
    source: str
    sha256: str
    body: bytes


# Below this, compressing costs more than the bytes are worth.
COMPRESS_ABOVE_BYTES = 4096


def packed(body: bytes) -> tuple[bytes, bool]:
    """A body as both stores keep it, and whether that is compressed."""
    compressed = len(body) > COMPRESS_ABOVE_BYTES
    return (zlib.compress(body, 1) if compressed else body), compressed


class Store(Protocol):
    """Where everything durable lives. A returned `write` or `keep` is on the disk."""

    name: str

    async def write(self, body: Body[T]) -> T:
        """Run ``body`` in a transaction of its own and commit it.

        Raises `Unavailable` where the store cannot take it, and whatever ``body`` raises, rolled back.
        """

    async def read(self, body: Body[T]) -> T:
        """Run ``body`` over a consistent view; it must not write."""

    async def keep(self, delivery: Delivery) -> None:
        """Commit one delivery, together with all that arrive meanwhile. Raises `Unavailable`."""

    async def close(self) -> None:
        """Finish what was taken and let go of the store."""


def insert(dialect: str, table: Table) -> Any:
    """An INSERT of this dialect, for ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


_GATE = select(schema.switches.c.name).where(schema.switches.c.name == "gate").with_for_update()


def lease_now(tx: Connection) -> float:
    """The store's own clock, in seconds: leases are measured by it and by nothing else."""
    if tx.dialect.name == "postgresql":
        return float(tx.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
    # The one process that may write is the only one that holds leases, and its start clears them.
    return time.monotonic()


def pass_gate(tx: Connection) -> None:
    """Serialise with every other transaction that starts a write, decides on one or forbids one.

    Effects are rare; one row makes every check-then-insert true. On SQLite the transaction itself is that
    already. Taken first, before any other lock.
    """
    tx.execute(_GATE)


def lock_key(tx: Connection, key: str) -> None:
    """Let one transaction at a time open, reopen or join incidents of this key."""
    if tx.dialect.name == "postgresql":
        tx.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 7))"), {"key": key})
