"""Drops what is old and done with, in small transactions: nobody waits, and any may be the last.

The service does so by itself, and a person by hand. Timelines, plans, approvals and intents stay: an incident
is its timeline, the audit chain covers it, and guards count what was done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import Connection

from receiver.store import intake, retention
from receiver.store.engine import Store

AT_ONCE = 500


@dataclass(frozen=True)
class Old:
    """How much there is to drop, or was dropped."""

    deliveries: int = 0
    messages: int = 0
    facts: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return sum(getattr(self, field.name) for field in fields(self))


def _silent(dropped: int) -> None:
    """Where nobody watches."""


async def count(store: Store, before: datetime) -> Old:
    """What `prune` would drop now."""
    deliveries = await store.read(lambda tx: intake.count_old(tx, before=before))
    messages = await store.read(lambda tx: retention.count_letters(tx, before=before))
    facts = 0
    names: list[str] = [""]
    needed = await store.read(lambda tx: retention.facts_needed(tx, before=before))
    while names := await store.read(_old_facts(before, after=names[-1])):
        facts += sum(name not in needed for name in names)
    return Old(deliveries, messages, facts)


async def prune(store: Store, before: datetime, *, dropped: Callable[[int], None] = _silent) -> Old:
    """Drop what was done with before then; ``dropped`` is told of each batch. Raises Unavailable."""

    async def in_batches(drop: Callable[[Connection], int]) -> int:
        total = 0
        while gone := await store.write(drop):
            total += gone
            dropped(gone)
        return total

    return Old(
        await in_batches(lambda tx: intake.prune_deliveries(tx, before=before, limit=AT_ONCE)),
        await in_batches(lambda tx: retention.prune_letters(tx, before=before, limit=AT_ONCE)),
        await _prune_facts(store, before, dropped),
    )


async def _prune_facts(store: Store, before: datetime, dropped: Callable[[int], None]) -> int:
    needed: frozenset[str] | None = None
    names: list[str] = [""]
    total = 0
    while names := await store.read(_old_facts(before, after=names[-1])):
        if needed is None:
            needed = await store.read(lambda tx: retention.facts_needed(tx, before=before))
        gone = await store.write(_dropping([name for name in names if name not in needed], before))
        total += gone
        dropped(gone)
    return total


def _old_facts(before: datetime, *, after: str) -> Callable[[Connection], list[str]]:
    return lambda tx: retention.old_facts(tx, before=before, after=after, limit=AT_ONCE)


def _dropping(names: list[str], before: datetime) -> Callable[[Connection], int]:
    return lambda tx: retention.drop_facts(tx, names, before=before)
