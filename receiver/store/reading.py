"""What the API and the metrics page read: lists with cursors, counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Connection, cast, func, select, type_coerce

from receiver.domain.errors import NewerWords
from receiver.domain.incidents import Incident, read_snapshot
from receiver.store import audit, audit_rounds, effects, intake, outbox, statistics
from receiver.store.schema import incident_events, incidents
from receiver.store.timeline import seconds


@dataclass(frozen=True)
class NewEvent:
    """One row of a timeline as the event stream tells it."""

    id: int
    incident_id: int
    seq: int
    at: float
    actor: str
    kind: str
    body: str | None


def list_incidents(
    tx: Connection,
    *,
    before: int | None,
    limit: int,
    only_open: bool,
    severity: str | None = None,
    opened_since: datetime | None = None,
) -> list[Incident]:
    """The newest first; those in words of a newer release are left out."""
    statement = select(incidents.c.id, incidents.c.snapshot).order_by(incidents.c.id.desc())
    if only_open:
        statement = statement.where(incidents.c.resolved_at.is_(None))
    if severity is not None:
        statement = statement.where(incidents.c.severity == severity)
    if opened_since is not None:
        statement = statement.where(incidents.c.opened_at >= seconds(opened_since))
    found: list[Incident] = []
    while len(found) < limit:
        wanted = limit - len(found)
        page = statement if before is None else statement.where(incidents.c.id < before)
        rows = tx.execute(page.limit(wanted)).all()
        for row in rows:
            with suppress(NewerWords):
                found.append(read_snapshot(row.snapshot))
            before = row.id
        if len(rows) < wanted:
            break
    return found


def newest_event(tx: Connection) -> int:
    """The place in the chain of the newest sealed timeline row."""
    return int(tx.execute(select(func.coalesce(func.max(incident_events.c.seal), 0))).scalar_one())


def events_after(tx: Connection, after: int, *, limit: int = 500) -> list[NewEvent]:
    """Timeline rows of all incidents beyond that place in the chain.

    The chain has no gaps; ids may become visible in another order than they were given.
    """
    rows = tx.execute(
        select(incident_events)
        .where(incident_events.c.seal > after)
        .order_by(incident_events.c.seal)
        .limit(limit)
    )
    return [
        NewEvent(row.seal, row.incident_id, row.seq, row.at, row.actor, row.kind, row.body) for row in rows
    ]


def figures(tx: Connection) -> Mapping[str, Any]:
    """What the metrics page shows of the store."""
    by_state = tx.execute(
        select(incidents.c.status, incidents.c.severity, func.count().label("n"))
        .where(incidents.c.resolved_at.is_(None))
        .group_by(incidents.c.status, incidents.c.severity)
    )
    waiting, dead = outbox.depth(tx)
    return {
        "incidents": {(row.status, row.severity or "unknown"): row.n for row in by_state},
        "intents": dict(effects.intent_counts(tx)),
        "plans": {
            (tally.policy, tally.remediation, outcome.value): count
            for tally in statistics.tallies(tx)
            for outcome, count in tally.outcomes.items()
        },
        "plans_current": dict(_plans_current(tx)),
        "outbox_oldest": outbox.oldest(tx),
        "events_unsealed": audit.unsealed(tx),
        "outbox_waiting": waiting,
        "outbox_dead": dead,
        **audit_rounds.figures(tx),
        **intake.counts(tx),
    }


def _plans_current(tx: Connection) -> Iterator[tuple[str, int]]:
    """How many plans of open incidents stand where."""
    text = incidents.c.snapshot
    # A cast would make a number of it on SQLite; on PostgreSQL a text has no fields without one.
    document = cast(text, JSON) if tx.dialect.name == "postgresql" else type_coerce(text, JSON)
    state = document["plan"]["state"].as_string()
    standing = (
        select(state.label("state"))
        .where(incidents.c.resolved_at.is_(None), incidents.c.plan_id.is_not(None))
        .subquery()
    )
    rows = tx.execute(
        select(standing.c.state, func.count().label("n"))
        .where(standing.c.state.is_not(None))
        .group_by(standing.c.state)
    )
    return ((row.state, row.n) for row in rows)
