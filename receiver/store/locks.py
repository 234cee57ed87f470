"""The security locks: what forbids every write to their scope from their commit on until people lift them.

Pass the gate before setting or lifting one: only then no write begins beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Text, bindparam, cast, insert, literal, select, update

from receiver.domain.locks import RESTRICTED, covering_plan
from receiver.domain.plans import Plan
from receiver.store.effects import StoredPlan, stored_plan
from receiver.store.schema import incidents, intents, plans, security_locks
from receiver.store.timeline import seconds

# Written once: every look of the guards runs it.
_OVER = select(security_locks.c.reason, security_locks.c.incident_id).where(
    security_locks.c.released_at.is_(None), security_locks.c.scope.in_(bindparam("scopes", expanding=True))
)
# A plan's name in other tables.
_NAME = literal("P-") + cast(plans.c.id, Text)


def lock(tx: Connection, incident_id: int, scopes: Iterable[str], *, reason: str, at: datetime) -> None:
    """From this commit on no write to these scopes begins."""
    rows = tx.execute(select(security_locks.c.scope).where(_held_by(incident_id)))
    held = {row.scope for row in rows}
    for scope in dict.fromkeys(scopes):
        if scope in held:
            continue
        tx.execute(
            insert(security_locks).values(scope=scope, reason=reason, at=seconds(at), incident_id=incident_id)
        )


def lift(tx: Connection, incident_id: int, *, at: datetime) -> None:
    """Everything that this incident locked is free again, as far as no other incident locks it too."""
    tx.execute(update(security_locks).where(_held_by(incident_id)).values(released_at=seconds(at)))


def _held_by(incident_id: int) -> ColumnElement[bool]:
    return (security_locks.c.incident_id == incident_id) & security_locks.c.released_at.is_(None)


def over(tx: Connection, plan: Plan) -> tuple[str, ...]:
    """Why this plan may write nothing now; what the lock's own incident is about is not told here."""
    rows = tx.execute(_OVER, {"scopes": sorted(covering_plan(plan))})
    told = (row.reason if row.incident_id is None else f"{RESTRICTED} {row.incident_id}" for row in rows)
    return tuple(dict.fromkeys(told))


def restricted(tx: Connection) -> frozenset[int]:
    """The incidents whose locks are not lifted: what they are about only those with the right may read."""
    rows = tx.execute(
        select(security_locks.c.incident_id)
        .where(security_locks.c.released_at.is_(None), security_locks.c.incident_id.is_not(None))
        .distinct()
    )
    return frozenset(row.incident_id for row in rows)


def waiting(tx: Connection, scopes: Iterable[str]) -> Sequence[StoredPlan]:
    """The current plans of open incidents that would write to these scopes, incident by incident."""
    rows = tx.execute(
        select(plans)
        .join(incidents, incidents.c.plan_id == _NAME)
        .where(incidents.c.resolved_at.is_(None))
        .order_by(incidents.c.id)
    )
    wanted = frozenset(scopes)
    return [stored for row in rows if (stored := stored_plan(row)) and wanted & covering_plan(stored.plan)]


def in_flight(tx: Connection, scopes: Iterable[str]) -> tuple[str, ...]:
    """The plans of whose write to these scopes nobody knows yet whether it arrived."""
    rows = tx.execute(
        select(plans)
        .join(intents, intents.c.plan_id == _NAME)
        .where(intents.c.state == "started")
        .order_by(plans.c.id)
    )
    wanted = frozenset(scopes)
    found = (stored_plan(row) for row in rows)
    return tuple(dict.fromkeys(one.plan_id for one in found if wanted & covering_plan(one.plan)))
