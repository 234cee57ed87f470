"""Messages on their way out, written with their cause and delivered at least once.

Order is kept for one incident and destination; a message that cannot be delivered does not block its
successors for ever, and pages are never behind posts, since each destination has rows of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, and_, exists, func, or_, select, update

from receiver.domain.canonical import canonical
from receiver.store.engine import insert, lease_now
from receiver.store.schema import outbox
from receiver.store.timeline import seconds

_BODY: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])


@dataclass(frozen=True)
class Letter:
    """One message for one destination."""

    id: int
    key: str
    destination: str
    body: Mapping[str, Any]
    attempts: int
    incident_id: int | None = None


def post(
    tx: Connection,
    *,
    key: str,
    destination: str,
    incident_id: int | None,
    body: Mapping[str, Any],
    at: datetime,
) -> None:
    """Put a message in; one that is there already (same key) stays as it is."""
    tx.execute(
        insert(tx.dialect.name, outbox)
        .values(
            key=key,
            destination=destination,
            incident_id=incident_id,
            kind=str(body.get("kind", "")),
            body=canonical(dict(body)),
            created_at=seconds(at),
            next_due_at=seconds(at),
        )
        .on_conflict_do_nothing(index_elements=["key"])
    )


def take(tx: Connection, *, owner: str, now: datetime, lease: timedelta, limit: int) -> list[Letter]:
    """Claim due messages: of each incident and destination only the oldest that is not yet out."""
    clock = lease_now(tx)
    earlier = outbox.alias()
    rows = tx.execute(
        select(outbox)
        .where(
            outbox.c.next_due_at <= seconds(now),
            or_(outbox.c.lease_until.is_(None), outbox.c.lease_until <= clock),
            ~exists().where(
                and_(
                    earlier.c.destination == outbox.c.destination,
                    earlier.c.incident_id == outbox.c.incident_id,
                    earlier.c.id < outbox.c.id,
                    earlier.c.next_due_at.is_not(None),
                )
            ),
        )
        .order_by(outbox.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=outbox)
    ).all()
    if rows:
        tx.execute(
            update(outbox)
            .where(outbox.c.id.in_([row.id for row in rows]))
            .values(
                lease_owner=owner, lease_until=clock + lease.total_seconds(), attempts=outbox.c.attempts + 1
            )
        )
    return [
        Letter(
            row.id,
            row.key,
            row.destination,
            _BODY.validate_json(row.body),
            row.attempts + 1,
            row.incident_id,
        )
        for row in rows
    ]


def sent(tx: Connection, letter: Letter, *, at: datetime) -> None:
    """It was delivered."""
    tx.execute(
        update(outbox)
        .where(outbox.c.id == letter.id)
        .values(sent_at=seconds(at), next_due_at=None, lease_owner=None, lease_until=None, last_error=None)
    )


def failed(tx: Connection, letter: Letter, *, error: str, again_at: datetime | None, at: datetime) -> None:
    """It was not: try again then, or never (None)."""
    values: dict[str, Any] = {"lease_owner": None, "lease_until": None, "last_error": error[:500]}
    values["next_due_at"] = None if again_at is None else seconds(again_at)
    values["dead_at"] = seconds(at) if again_at is None else None
    tx.execute(update(outbox).where(outbox.c.id == letter.id).values(values))


def oldest(tx: Connection) -> float | None:
    """When the oldest message that waits was written, in seconds since the epoch; None while none waits."""
    waiting = select(func.min(outbox.c.created_at)).where(outbox.c.next_due_at.is_not(None))
    found: float | None = tx.execute(waiting).scalar_one()
    return found


def depth(tx: Connection) -> tuple[int, int]:
    """How many messages wait, and how many were given up."""
    waiting = tx.execute(select(func.count()).select_from(outbox).where(outbox.c.next_due_at.is_not(None)))
    dead = tx.execute(select(func.count()).select_from(outbox).where(outbox.c.dead_at.is_not(None)))
    return int(waiting.scalar_one()), int(dead.scalar_one())
