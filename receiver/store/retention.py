"""What is old enough to go, a bounded number at a time, so that nobody waits for it.

Never a message that was not delivered, and no facts that an open incident's timeline names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, delete, func, or_, select

from receiver.store.schema import facts, incident_events, incidents, outbox
from receiver.store.timeline import seconds

# How a timeline's bodies name facts. One that only looks like it keeps a few facts too many.
_NAMED = re.compile(r'"(?:facts_hash|whole)":"([0-9a-f]{64})"')


def prune_letters(tx: Connection, *, before: datetime, limit: int) -> int:
    """Drop messages that were delivered before then; how many."""
    doomed = select(outbox.c.id).where(_delivered(before)).order_by(outbox.c.id).limit(limit)
    return tx.execute(delete(outbox).where(outbox.c.id.in_(doomed))).rowcount


def count_letters(tx: Connection, *, before: datetime) -> int:
    """How many there are of these."""
    return int(tx.execute(select(func.count()).select_from(outbox).where(_delivered(before))).scalar_one())


def _delivered(before: datetime) -> ColumnElement[bool]:
    return and_(
        outbox.c.sent_at < seconds(before), outbox.c.next_due_at.is_(None), outbox.c.dead_at.is_(None)
    )


def old_facts(tx: Connection, *, before: datetime, after: str, limit: int) -> list[str]:
    """The names of facts that nothing referred to since then, in order of the names."""
    rows = tx.execute(
        select(facts.c.hash)
        .where(facts.c.created_at < seconds(before), facts.c.hash > after)
        .order_by(facts.c.hash)
        .limit(limit)
    )
    return [row.hash for row in rows]


def facts_needed(tx: Connection, *, before: datetime) -> frozenset[str]:
    """The facts that timelines name of incidents that are open, or were until not long ago."""
    named = and_(
        incident_events.c.incident_id == incidents.c.id,
        or_(incident_events.c.kind == "Diagnosed", incident_events.c.body.like('%"whole":"%')),
    )
    # Facts are as young as their youngest reference: an incident that began later names none of the old ones.
    lately = and_(incidents.c.resolved_at >= seconds(before), incidents.c.opened_at < seconds(before))
    rows = tx.execute(
        select(incident_events.c.body)
        .join(incidents, named)
        .where(or_(incidents.c.resolved_at.is_(None), lately), incident_events.c.body.is_not(None))
    )
    return frozenset(name for row in rows for name in _NAMED.findall(row.body))


def drop_facts(tx: Connection, names: Sequence[str], *, before: datetime) -> int:
    """Drop these, but for those that were referred to meanwhile; how many."""
    statement = delete(facts).where(facts.c.hash.in_(names), facts.c.created_at < seconds(before))
    return tx.execute(statement).rowcount
