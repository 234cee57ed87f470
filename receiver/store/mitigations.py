"""Mitigations that are in force, and when they are to be put back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, func, select, update

from receiver.store.effects import StoredPlan, plan_number, stored_plan
from receiver.store.schema import plans
from receiver.store.timeline import moment, seconds


def set_expiry(tx: Connection, plan_id: str, at: datetime | None) -> None:
    """It is to be put back then; None: it is no longer in force, or stays for good."""
    value = None if at is None else seconds(at)
    tx.execute(update(plans).where(plans.c.id == plan_number(plan_id)).values(expires_at=value))


def expiry_of(tx: Connection, plan_id: str) -> datetime | None:
    """When this plan's change is to be put back, if it is in force and ever is."""
    found = tx.execute(select(plans.c.expires_at).where(plans.c.id == plan_number(plan_id))).scalar()
    return None if found is None else moment(found)


def due(tx: Connection, *, now: datetime, limit: int) -> Sequence[StoredPlan]:
    """Those whose time has come, the longest over first."""
    rows = tx.execute(
        select(plans).where(plans.c.expires_at <= seconds(now)).order_by(plans.c.expires_at).limit(limit)
    )
    return [stored_plan(row) for row in rows]


def standing(tx: Connection, *, limit: int) -> Sequence[StoredPlan]:
    """All that are in force, those whose time comes first before others."""
    rows = tx.execute(
        select(plans).where(plans.c.expires_at.is_not(None)).order_by(plans.c.expires_at).limit(limit)
    )
    return [stored_plan(row) for row in rows]


def next_due(tx: Connection) -> datetime | None:
    """When the earliest of them is over; None where none is in force."""
    found = tx.execute(select(func.min(plans.c.expires_at))).scalar()
    return None if found is None else moment(found)


def in_force(tx: Connection, target: str) -> Sequence[StoredPlan]:
    """Those on this target, oldest first."""
    rows = tx.execute(
        select(plans).where(plans.c.target == target, plans.c.expires_at.is_not(None)).order_by(plans.c.id)
    )
    return [stored_plan(row) for row in rows]
