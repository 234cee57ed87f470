"""Who may work on an incident now: claim, heartbeat, completion, and what a dead owner leaves.

`next_due_at` is a timer and `lease_until` is a lease; they never stand in for each other. A signal touches
only the first, a heartbeat only the second. Every later write of a claim carries its token.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Connection, Row, and_, bindparam, func, or_, select, update

from receiver.domain.errors import NewerWords
from receiver.store.engine import lease_now
from receiver.store.schema import incidents
from receiver.store.timeline import Locked, lock, locked_from, seconds

log = structlog.get_logger(__name__)

UNREADABLE_WAITS = timedelta(minutes=5)

# Written once: every look for work runs these.
_FREE = or_(incidents.c.lease_until.is_(None), incidents.c.lease_until <= bindparam("clock"))
_DUE = (
    select(incidents)
    .where(incidents.c.next_due_at <= bindparam("now"), _FREE)
    .order_by(incidents.c.next_due_at)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_TAKE = (
    update(incidents)
    .where(incidents.c.id.in_(bindparam("ids", expanding=True)))
    .values(
        lease_owner=bindparam("owner"),
        lease_token=incidents.c.lease_token + 1,
        lease_until=bindparam("until"),
    )
)
_NEXT_DUE = select(func.min(incidents.c.next_due_at)).where(_FREE)


class Fenced(Exception):
    """The lease was lost to somebody else: what this claim found must not be written."""


def claim(tx: Connection, *, owner: str, now: datetime, lease: timedelta, limit: int) -> list[Locked]:
    """Take incidents that are due and not leased, the longest waiting first."""
    clock = lease_now(tx)
    rows = tx.execute(_DUE, {"now": seconds(now), "clock": clock, "most": limit}).all()
    if not rows:
        return []
    until = clock + lease.total_seconds()
    taken = [held for row in rows if (held := _readable(tx, row, now)) is not None]
    tx.execute(_TAKE, {"ids": [held.incident.id for held in taken], "owner": owner, "until": until})
    return [
        Locked(
            incident=held.incident,
            version=held.version,
            lease_owner=owner,
            lease_token=held.lease_token + 1,
            lease_until=until,
            next_due_at=held.next_due_at,
            fail_count=held.fail_count,
        )
        for held in taken
    ]


def _readable(tx: Connection, row: Row[Any], now: datetime) -> Locked | None:
    """The row, or None for one that cannot be read: it waits, and does not hold up its neighbours."""
    try:
        return locked_from(row)
    except NewerWords as error:
        log.warning("an incident waits", event_code="incident_unreadable", incident=row.id, why=str(error))
        tx.execute(
            update(incidents)
            .where(incidents.c.id == row.id)
            .values(fail_count=incidents.c.fail_count + 1, next_due_at=seconds(now + UNREADABLE_WAITS))
        )
        return None


def reclaim(tx: Connection, known: Locked) -> Locked:
    """The incident as it is now, locked, if the claim still holds. Raises Fenced.

    ``known`` is what the claim last saw of it; where nothing was written since, it is not read again.
    """
    held = lock(tx, known.incident.id, known=known)
    if held.lease_token != known.lease_token or held.lease_owner is None:
        raise Fenced(f"incident {known.incident.id}: the lease passed on")
    return held


def extend(tx: Connection, claims: Iterable[tuple[int, int]], *, lease: timedelta) -> set[int]:
    """Heartbeat: which of these (incident, token) claims still hold, all of them extended."""
    pairs = list(claims)
    if not pairs:
        return set()
    rows = tx.execute(
        update(incidents)
        .where(
            or_(
                *[and_(incidents.c.id == number, incidents.c.lease_token == token) for number, token in pairs]
            )
        )
        .where(incidents.c.lease_owner.is_not(None))
        .values(lease_until=lease_now(tx) + lease.total_seconds())
        .returning(incidents.c.id)
    )
    return {row.id for row in rows}


def give_back(
    tx: Connection, incident_id: int, *, token: int, due_at: datetime | None, failed: bool = False
) -> None:
    """End a claim without an event; after a failure the row waits and counts it."""
    values: dict[str, object] = {"lease_owner": None, "lease_until": None}
    values["next_due_at"] = None if due_at is None else seconds(due_at)
    values["fail_count"] = incidents.c.fail_count + 1 if failed else 0
    tx.execute(
        update(incidents)
        .where(incidents.c.id == incident_id, incidents.c.lease_token == token)
        .values(values)
    )


def make_due(tx: Connection, incident_ids: Sequence[int] | None, *, now: datetime) -> None:
    """Signal: these incidents (None: all open ones) have something to look at now."""
    statement = update(incidents).where(
        or_(incidents.c.next_due_at.is_(None), incidents.c.next_due_at > seconds(now))
    )
    if incident_ids is None:
        statement = statement.where(incidents.c.resolved_at.is_(None))
    else:
        statement = statement.where(incidents.c.id.in_(incident_ids))
    tx.execute(statement.values(next_due_at=seconds(now)))


def expire_leases_of(tx: Connection, owners: Sequence[str]) -> int:
    """A hint that these owners are dead: their leases end now. Wrong hints are harmless."""
    if not owners:
        return 0
    return tx.execute(
        update(incidents)
        .where(incidents.c.lease_owner.in_(owners))
        .values(
            lease_until=lease_now(tx),
            next_due_at=func.coalesce(incidents.c.next_due_at, incidents.c.opened_at),
        )
    ).rowcount


def next_due(tx: Connection) -> float | None:
    """When the earliest unleased incident comes due, in seconds of the incident clock."""
    return tx.execute(_NEXT_DUE, {"clock": lease_now(tx)}).scalar()


def owners_alive(tx: Connection) -> list[str]:
    """Every owner that holds a lease now."""
    return [
        row.lease_owner
        for row in tx.execute(
            select(incidents.c.lease_owner).where(incidents.c.lease_owner.is_not(None)).distinct()
        )
    ]
