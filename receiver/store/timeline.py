"""The timeline and the snapshot beside it: every change of an incident goes through here.

Signals and results are the same thing: events appended under the incident's row lock and applied to the
incident as it is *now*, so that neither erases the other.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, Update, bindparam, case, func, insert, select, update

from receiver.domain.canonical import canonical, finite
from receiver.domain.errors import NotFound
from receiver.domain.events import (
    MAX_BODY_BYTES,
    Event,
    Recorded,
    event_text,
    excerpt_text,
    read_event,
    whole_of,
)
from receiver.domain.incidents import Incident, apply, read_snapshot, snapshot_text
from receiver.store.engine import insert as insert_or
from receiver.store.schema import facts, incident_events, incidents

# Written once: building a statement costs more than running it, and every step of an incident runs these.
_BY_ID = incidents.c.id == bindparam("incident_id")
_BOOKKEEPING = (
    incidents.c.version,
    incidents.c.lease_owner,
    incidents.c.lease_token,
    incidents.c.lease_until,
    incidents.c.next_due_at,
    incidents.c.fail_count,
)
# The snapshot of an incident with a thousand alerts is a megabyte: it is read only where it changed.
_LOCK = (
    select(
        *_BOOKKEEPING,
        case((incidents.c.version != bindparam("known"), incidents.c.snapshot)).label("snapshot"),
    )
    .where(_BY_ID)
    .with_for_update()
)
_LOAD = select(incidents.c.snapshot).where(_BY_ID)
_NEWEST = (
    select(incidents.c.id).where(incidents.c.key == bindparam("key")).order_by(incidents.c.id.desc()).limit(1)
)
_SCHEDULED = ("next_due_at", "fail_count")
_CHANGED = (*_SCHEDULED, "status", "severity", "title", "plan_id", "snapshot", "resolved_at", "version")
_RELEASED = ("lease_owner", "lease_until")


def _updating(*names: str) -> Update:
    # The key has another name, since that of a column to be set is taken.
    return update(incidents).where(_BY_ID).values({name: bindparam(name) for name in names})


_APPEND = insert(incident_events)
# By whether there are events, and whether the lease is given back.
_UPDATE = {
    (False, False): _updating(*_SCHEDULED),
    (False, True): _updating(*_SCHEDULED, *_RELEASED),
    (True, False): _updating(*_CHANGED),
    (True, True): _updating(*_CHANGED, *_RELEASED),
}


@dataclass(frozen=True)
class Locked:
    """An incident whose row this transaction holds."""

    incident: Incident
    version: int
    lease_owner: str | None
    lease_token: int
    lease_until: float | None
    next_due_at: float | None
    fail_count: int


def seconds(moment: datetime) -> float:
    """A moment as the store keeps it."""
    return moment.timestamp()


def moment(value: float) -> datetime:
    """What `seconds` stored."""
    return datetime.fromtimestamp(value, UTC)


@cache
def _open(dialect: str) -> Any:
    return (
        insert_or(dialect, incidents)
        .on_conflict_do_nothing(index_elements=["key"], index_where=incidents.c.resolved_at.is_(None))
        .returning(incidents.c.id)
    )


def open_incident(tx: Connection, *, key: str, title: str, at: datetime) -> Locked | None:
    """A new open incident of this key, or None where one is open already (it may belong to a neighbour).

    Its events must be appended in this transaction: until then its row has a snapshot without an id.
    """
    values = {
        "key": key,
        "status": "investigating",
        "title": title,
        "snapshot": snapshot_text(Incident(id=0)),
        "opened_at": seconds(at),
        "next_due_at": seconds(at),
    }
    row = tx.execute(_open(tx.dialect.name), values).first()
    if row is None:
        return None
    return Locked(
        incident=Incident(id=row.id),
        version=0,
        lease_owner=None,
        lease_token=0,
        lease_until=None,
        next_due_at=seconds(at),
        fail_count=0,
    )


def newest_of_key(tx: Connection, key: str) -> int | None:
    """The newest incident of this key, open or not."""
    found = tx.execute(_NEWEST, {"key": key}).scalar()
    return None if found is None else int(found)


def lock(tx: Connection, incident_id: int, *, known: Locked | None = None) -> Locked:
    """The incident, its row locked until the transaction ends. Raises NotFound.

    ``known`` is an earlier sight of it, of which the incident is taken where its version is still the same.
    """
    version = -1 if known is None else known.version
    row = tx.execute(_LOCK, {"incident_id": incident_id, "known": version}).first()
    if row is None:
        raise NotFound(f"there is no incident {incident_id}")
    return locked_from(row, known)


def load(tx: Connection, incident_id: int) -> Incident:
    """The incident as it stands. Raises NotFound."""
    text = tx.execute(_LOAD, {"incident_id": incident_id}).scalar()
    if text is None:
        raise NotFound(f"there is no incident {incident_id}")
    return read_snapshot(text)


def append(
    tx: Connection,
    held: Locked,
    events: Sequence[Event],
    *,
    at: datetime,
    actor: str,
    due_at: datetime | None,
    release: bool = False,
) -> Locked:
    """Write the events and the incident they make, and when it is due next.

    ``release`` gives the lease back. The row must be locked (`lock`, or a claim in this transaction).
    """
    incident = held.incident
    rows: list[dict[str, Any]] = []
    for event in events:
        recorded = Recorded(seq=incident.last_seq + 1, at=at, actor=actor, event=event)
        incident = apply(incident, recorded)
        text = event_text(event)
        if len(text.encode()) > MAX_BODY_BYTES:
            text = excerpt_text(event, _keep(tx, text, at=at))
        rows.append(
            {
                "incident_id": incident.id,
                "seq": recorded.seq,
                "at": seconds(at),
                "actor": actor,
                "kind": event.event,
                "body": text,
                "body_hash": hashlib.sha256(text.encode()).hexdigest(),
            }
        )
    if rows:
        tx.execute(_APPEND, rows)
    values: dict[str, Any] = {"next_due_at": None if due_at is None else seconds(due_at), "fail_count": 0}
    if rows:
        values |= {
            "status": incident.status.value,
            "severity": incident.severity and incident.severity.value,
            "title": incident.title,
            "plan_id": incident.plan and incident.plan.plan_id,
            "snapshot": snapshot_text(incident),
            "resolved_at": None if incident.resolved_at is None else seconds(incident.resolved_at),
            "version": held.version + 1,
        }
    if release:
        values |= {"lease_owner": None, "lease_until": None}
    tx.execute(_UPDATE[bool(rows), release], {**values, "incident_id": incident.id})
    return Locked(
        incident=incident,
        version=held.version + bool(rows),
        lease_owner=None if release else held.lease_owner,
        lease_token=held.lease_token,
        lease_until=None if release else held.lease_until,
        next_due_at=values["next_due_at"],
        fail_count=0,
    )


def timeline(
    tx: Connection, incident_id: int, *, after: int = 0, limit: int = 10_000, whole: bool = True
) -> list[Recorded]:
    """The incident's events in order; one whose body retention dropped is left out.

    ``whole`` brings back those that are too large for a body, as far as retention kept them: replayed, they
    are the snapshot.
    """
    rows = tx.execute(
        select(incident_events)
        .where(incident_events.c.incident_id == incident_id, incident_events.c.seq > after)
        .order_by(incident_events.c.seq)
        .limit(limit)
    ).all()
    names = {row.seq: whole_of(row.body) for row in rows if row.body is not None}
    kept = _kept(tx, {name for name in names.values() if name is not None}) if whole else {}
    return [
        Recorded(
            seq=row.seq,
            at=moment(row.at),
            actor=row.actor,
            event=read_event(kept.get(names[row.seq] or "", row.body)),
            whole=names[row.seq],
        )
        for row in rows
        if row.body is not None
    ]


def events_of(tx: Connection, incident_id: int, kind: str) -> list[Event]:
    """An incident's events of one kind, in order."""
    rows = tx.execute(
        select(incident_events.c.body)
        .where(incident_events.c.incident_id == incident_id, incident_events.c.kind == kind)
        .order_by(incident_events.c.seq)
    )
    return [read_event(body) for body in rows.scalars() if body is not None]


def newest_of(tx: Connection, incident_id: int, kind: str) -> datetime | None:
    """When an incident's newest event of one kind was written; None without one."""
    found = tx.execute(
        select(func.max(incident_events.c.at)).where(
            incident_events.c.incident_id == incident_id, incident_events.c.kind == kind
        )
    ).scalar()
    return None if found is None else moment(found)


def store_facts(tx: Connection, found: Any, *, at: datetime) -> str:
    """Keep facts aside, once for each content, and return their hash."""
    return _keep(tx, canonical(finite(found)), at=at)


def _keep(tx: Connection, text: str, *, at: datetime) -> str:
    name = hashlib.sha256(text.encode()).hexdigest()
    tx.execute(_keep_facts(tx.dialect.name), {"hash": name, "body": text, "created_at": seconds(at)})
    return name


def load_facts(tx: Connection, name: str) -> str:
    """The facts of that name, or the whole of an excerpt, as they were kept. Raises NotFound."""
    # PostgreSQL takes no NUL, not even to compare with.
    known = re.fullmatch(r"[0-9a-f]{64}", name) is not None
    text = tx.execute(select(facts.c.body).where(facts.c.hash == name)).scalar() if known else None
    if text is None:
        raise NotFound("there are no facts of that name, or they were dropped after their time")
    return str(text)


@cache
def _keep_facts(dialect: str) -> Any:
    statement = insert_or(dialect, facts)
    # As young as its youngest reference: retention must not take what is being referred to.
    younger = {"created_at": statement.excluded.created_at}
    return statement.on_conflict_do_update(index_elements=["hash"], set_=younger)


def _kept(tx: Connection, names: Collection[str]) -> dict[str, str]:
    if not names:
        return {}
    rows = tx.execute(select(facts.c.hash, facts.c.body).where(facts.c.hash.in_(sorted(names))))
    return {row.hash: row.body for row in rows}


def opened_since(tx: Connection, since: datetime, *, count: int) -> bool:
    """Whether so many incidents were opened since then; numbers rise with time, so one row tells."""
    newest = select(incidents.c.opened_at).order_by(incidents.c.id.desc())
    found = tx.execute(newest.limit(1).offset(count - 1)).scalar()
    return found is not None and found >= seconds(since)


def count_open(tx: Connection) -> int:
    """How many incidents are open."""
    return int(
        tx.execute(
            select(func.count()).select_from(incidents).where(incidents.c.resolved_at.is_(None))
        ).scalar_one()
    )


def locked_from(row: Row[*tuple[Any, ...]], known: Locked | None = None) -> Locked:
    """A row that this transaction selected and holds; ``known`` where its snapshot was left out."""
    incident = known.incident if known is not None and row.snapshot is None else read_snapshot(row.snapshot)
    return Locked(
        incident=incident,
        version=row.version,
        lease_owner=row.lease_owner,
        lease_token=row.lease_token,
        lease_until=row.lease_until,
        next_due_at=row.next_due_at,
        fail_count=row.fail_count,
    )
