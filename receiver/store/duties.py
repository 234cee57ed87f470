"""Chores that one replica at a time does for all: claimed for a while, like incidents."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, case, or_, select, update

from receiver.domain.canonical import canonical
from receiver.store.engine import insert, lease_now
from receiver.store.schema import duties
from receiver.store.timeline import seconds


def take(tx: Connection, name: str, *, owner: str, now: datetime, lease: timedelta) -> dict[str, Any] | None:
    """Claim the duty if it is due and nobody does it: what its last round left. None otherwise."""
    tx.execute(
        insert(tx.dialect.name, duties)
        .values(name=name, next_due_at=0, state="{}")
        .on_conflict_do_nothing(index_elements=["name"])
    )
    clock = lease_now(tx)
    row = tx.execute(
        select(duties)
        .where(
            duties.c.name == name,
            duties.c.next_due_at <= seconds(now),
            or_(duties.c.lease_until.is_(None), duties.c.lease_until <= clock),
        )
        .with_for_update(skip_locked=True)
    ).first()
    if row is None:
        return None
    tx.execute(
        update(duties)
        .where(duties.c.name == name)
        # Not zero: a zero at the end of the round means that somebody wants another at once.
        .values(lease_owner=owner, lease_until=clock + lease.total_seconds(), next_due_at=seconds(now))
    )
    state: dict[str, Any] = json.loads(row.state)
    return state


def finish(tx: Connection, name: str, *, owner: str, next_due_at: datetime, state: dict[str, Any]) -> None:
    """Give the duty back until then, with what the next round needs."""
    tx.execute(
        update(duties)
        .where(duties.c.name == name, duties.c.lease_owner == owner)
        .values(
            next_due_at=case((duties.c.next_due_at == 0, 0.0), else_=seconds(next_due_at)),
            lease_owner=None,
            lease_until=None,
            state=canonical(state),
        )
    )


def left_by(tx: Connection, name: str) -> dict[str, Any]:
    """What the duty's last round left; nothing before the first."""
    text = tx.execute(select(duties.c.state).where(duties.c.name == name)).scalar()
    state: dict[str, Any] = {} if text is None else json.loads(text)
    return state


def make_due(tx: Connection, name: str) -> None:
    """Do it as soon as possible."""
    tx.execute(update(duties).where(duties.c.name == name).values(next_due_at=0))
