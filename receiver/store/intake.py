"""Deliveries that wait to be read, and the alerts they speak of."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

from pydantic_core import from_json
from sqlalchemy import ColumnElement, Connection, Row, bindparam, delete, func, select, text, update
from sqlalchemy import insert as plain_insert

from receiver.domain.alerts import Alert
from receiver.domain.canonical import canonical
from receiver.domain.occurrences import Ended, Ending, Facts, Firing, Occurrence, open_occurrence
from receiver.domain.occurrences import occurrences as occurrences_of
from receiver.store.engine import insert
from receiver.store.schema import alerts, dead_letters, deliveries
from receiver.store.timeline import moment, seconds

# About two hundred alerts, which take some ten milliseconds to join: whoever sends waits for no more.
READ_AT_ONCE_BYTES = 200_000

# Written once: every batch of deliveries asks these.
_AMONG = alerts.c.identity.in_(bindparam("identities", expanding=True))
_STANDINGS = (
    select(alerts.c.id, alerts.c.identity, alerts.c.firing, alerts.c.facts, alerts.c.annotations)
    .where(_AMONG)
    .order_by(alerts.c.identity)
    .with_for_update()
)
_ALERTS = select(alerts).where(_AMONG).order_by(alerts.c.identity).with_for_update()
_REPEATED = {
    "sqlite": text(
        "UPDATE alerts SET seen = seen + told.count, last_seen = max(last_seen, told.at) FROM ("
        " SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS count,"
        " json_extract(value, '$[2]') AS at FROM json_each(:told)"
        ") AS told WHERE alerts.id = told.id"
    ),
    "postgresql": text(
        "UPDATE alerts SET seen = seen + told.count, last_seen = greatest(last_seen, told.at) FROM ("
        " SELECT (value ->> 0)::bigint AS id, (value ->> 1)::integer AS count,"
        " (value ->> 2)::double precision AS at FROM json_array_elements(CAST(:told AS json))"
        ") AS told WHERE alerts.id = told.id"
    ),
}


@dataclass(frozen=True)
class Waiting:
    """A delivery that nobody has read yet."""

    id: int
    received_at: datetime
    source: str
    body: bytes
    fail_count: int


@dataclass(frozen=True)
class Standing:
    """As much of an alert's row as tells whether a delivery says anything new of it."""

    id: int
    firing: bool
    facts: str
    annotations: str

    def knows(self, alert: Alert) -> bool:
        """Whether the row stays as it is, counts apart, when it is told of this alert.

        What was told before adds nothing to a set of facts, and a firing that is open is not doubtful.
        """
        facts = from_json(self.facts)
        starts_at = _micros(alert.starts_at)
        if alert.status == "firing":
            told = self.firing and [starts_at, None] in facts["firings"]
        else:
            ended = alert.ends_at is not None and [
                starts_at,
                _micros(alert.ends_at),
                Ending.RESOLVED.value,
            ]
            told = ended in facts["endings"]
        return told and self.annotations == canonical(alert.annotations)


@dataclass
class Repeats:
    """How often an alert was told again in one batch, and when last."""

    count: int
    last_seen: datetime


@dataclass
class AlertRow:
    """One identity as the store knows it; changed in memory and written back as a whole."""

    identity: str
    source: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    fingerprint: str
    facts: Facts
    origin: str
    first_seen: datetime
    last_seen: datetime
    seen: int = 0
    incident_id: int | None = None
    listed: bool = False
    absent_rounds: int = 0
    doubted_at: datetime | None = None
    id: int | None = field(default=None)

    @property
    def open(self) -> Occurrence | None:
        """The occurrence that has not ended."""
        return open_occurrence(self.facts)


def waiting(tx: Connection, *, limit: int, lock: bool = True) -> list[Waiting]:
    """The oldest unread deliveries; with ``lock``, kept from other readers until this transaction ends.

    Fewer where they are large: a transaction that reads for long keeps others from writing.
    """
    unread = select(deliveries).where(deliveries.c.done_at.is_(None))
    statement = unread.order_by(deliveries.c.id).limit(limit)
    rows = tx.execute(statement.with_for_update(skip_locked=True) if lock else statement)
    found: list[Waiting] = []
    size = 0
    for row in rows:
        body = zlib.decompress(row.body) if row.compressed else bytes(row.body)
        found.append(Waiting(row.id, moment(row.received_at), row.source, body, row.fail_count))
        size += len(body)
        if size >= READ_AT_ONCE_BYTES:
            rows.close()
            break
    return found


def done(tx: Connection, ids: Sequence[int], *, at: datetime) -> None:
    """These were read and joined."""
    if ids:
        tx.execute(update(deliveries).where(deliveries.c.id.in_(ids)).values(done_at=seconds(at)))


def failed(tx: Connection, delivery_id: int) -> None:
    """Reading it raised; it is tried again."""
    tx.execute(
        update(deliveries)
        .where(deliveries.c.id == delivery_id)
        .values(fail_count=deliveries.c.fail_count + 1)
    )


def bury(tx: Connection, *, received_at: datetime, source: str, reason: str, body: bytes) -> None:
    """Keep what could not be read, for people."""
    tx.execute(
        plain_insert(dead_letters).values(
            received_at=seconds(received_at), source=source, reason=reason[:1000], body=body
        )
    )


def standings(tx: Connection, identities: Iterable[str]) -> dict[str, Standing]:
    """The known ones among these, their rows locked in one order."""
    found: dict[str, Standing] = {}
    for some in _sorted_in_parts(identities):
        for row in tx.execute(_STANDINGS, {"identities": some}):
            found[row.identity] = Standing(row.id, row.firing, row.facts, row.annotations)
    return found


def repeated(tx: Connection, repeats: Mapping[int, Repeats]) -> None:
    """Count these repeats, by the row's id, in one statement for them all."""
    if repeats:
        told = [[id_, found.count, seconds(found.last_seen)] for id_, found in sorted(repeats.items())]
        tx.execute(_REPEATED[tx.dialect.name], {"told": canonical(told)})


def load_alerts(tx: Connection, identities: Iterable[str]) -> dict[str, AlertRow]:
    """The known ones among these, their rows locked in one order."""
    found: dict[str, AlertRow] = {}
    for some in _sorted_in_parts(identities):
        for row in tx.execute(_ALERTS, {"identities": some}):
            found[row.identity] = alert_row(row)
    return found


def _sorted_in_parts(identities: Iterable[str]) -> Iterable[list[str]]:
    wanted = sorted(set(identities))
    return (wanted[start : start + 500] for start in range(0, len(wanted), 500))


def firing_alerts(tx: Connection) -> list[AlertRow]:
    """Every alert that has not ended."""
    return [alert_row(row) for row in tx.execute(select(alerts).where(alerts.c.firing).order_by(alerts.c.id))]


def doubted_alerts(tx: Connection) -> list[AlertRow]:
    """Every ended alert of which a firing arrived that may be a stale repeat."""
    doubted = alerts.c.doubted_at.is_not(None) & ~alerts.c.firing
    return [alert_row(row) for row in tx.execute(select(alerts).where(doubted).order_by(alerts.c.id))]


def list_alerts(tx: Connection, *, before: int | None, limit: int) -> list[AlertRow]:
    """The newest first."""
    statement = select(alerts).order_by(alerts.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(alerts.c.id < before)
    return [alert_row(row) for row in tx.execute(statement)]


def save_alerts(tx: Connection, changed: Sequence[AlertRow]) -> None:
    """Write these back, new ones included, in one statement."""
    if not changed:
        return
    rows = [_columns(row) for row in sorted(changed, key=lambda row: row.identity)]
    tx.execute(_save(tx.dialect.name), rows)


@cache
def _save(dialect: str) -> Any:
    statement = insert(dialect, alerts)
    kept = {
        column.name: statement.excluded[column.name]
        for column in alerts.c
        if column.name not in ("id", "identity", "first_seen")
    }
    return statement.on_conflict_do_update(index_elements=["identity"], set_=kept)


def counts(tx: Connection) -> Mapping[str, int]:
    """Deliveries that wait, dead letters and firing alerts, for the metrics."""

    def count(statement: Any) -> int:
        return int(tx.execute(statement).scalar_one())

    return {
        "deliveries_waiting": count(
            select(func.count()).select_from(deliveries).where(deliveries.c.done_at.is_(None))
        ),
        "dead_letters": count(select(func.count()).select_from(dead_letters)),
        "alerts_firing": count(select(func.count()).select_from(alerts).where(alerts.c.firing)),
    }


def last_received(tx: Connection, name: str, *, source: str) -> datetime | None:
    """When an alert of this name was last told by the source, of those that fire; None without one.

    One that was only ever found by asking does not count: it says nothing of the way of deliveries.
    """
    told = select(alerts.c.labels, alerts.c.last_seen).where(
        alerts.c.firing,
        alerts.c.source == source,
        alerts.c.seen > 0,
        # As the text is written; one store's LIKE takes small letters for large ones.
        alerts.c.labels.contains(canonical({"alertname": name})[1:-1], autoescape=True),
    )
    found = [row.last_seen for row in tx.execute(told) if json.loads(row.labels)["alertname"] == name]
    return moment(max(found)) if found else None


def prune_deliveries(tx: Connection, *, before: datetime, limit: int) -> int:
    """Drop read deliveries older than that, a bounded number at a time."""
    doomed = select(deliveries.c.id).where(_old(before)).order_by(deliveries.c.id).limit(limit)
    return tx.execute(delete(deliveries).where(deliveries.c.id.in_(doomed))).rowcount


def count_old(tx: Connection, *, before: datetime) -> int:
    """How many there are of these."""
    return int(tx.execute(select(func.count()).select_from(deliveries).where(_old(before))).scalar_one())


def _old(before: datetime) -> ColumnElement[bool]:
    return deliveries.c.done_at < seconds(before)


def delivery_bytes(tx: Connection) -> int:
    """How many bytes of bodies are kept."""
    total = tx.execute(select(func.coalesce(func.sum(func.length(deliveries.c.body)), 0))).scalar_one()
    return int(total)


def oldest_done(tx: Connection, *, limit: int) -> list[int]:
    """The oldest read deliveries."""
    rows = tx.execute(
        select(deliveries.c.id)
        .where(deliveries.c.done_at.is_not(None))
        .order_by(deliveries.c.id)
        .limit(limit)
    )
    return [row.id for row in rows]


def drop_deliveries(tx: Connection, ids: Sequence[int]) -> None:
    """Drop these."""
    if ids:
        tx.execute(delete(deliveries).where(deliveries.c.id.in_(ids)))


def alert_row(row: Row[Any]) -> AlertRow:
    """A row of the alerts table."""
    return AlertRow(
        identity=row.identity,
        source=row.source,
        labels=json.loads(row.labels),
        annotations=json.loads(row.annotations),
        fingerprint=row.fingerprint,
        facts=_read_facts(row.facts),
        origin=row.origin,
        first_seen=moment(row.first_seen),
        last_seen=moment(row.last_seen),
        seen=row.seen,
        incident_id=row.incident_id,
        listed=row.listed,
        absent_rounds=row.absent_rounds,
        doubted_at=None if row.doubted_at is None else moment(row.doubted_at),
        id=row.id,
    )


def _columns(row: AlertRow) -> dict[str, Any]:
    told = occurrences_of(row.facts)
    last = told[-1] if told else None
    return {
        "identity": row.identity,
        "source": row.source,
        "fingerprint": row.fingerprint,
        "labels": canonical(dict(row.labels)),
        "annotations": canonical(dict(row.annotations)),
        "facts": _facts_text(row.facts),
        "firing": last is not None and last.ends_at is None,
        "starts_at": seconds(last.starts_at if last is not None else row.first_seen),
        "ends_at": None if last is None or last.ends_at is None else seconds(last.ends_at),
        "how": last.how.value if last is not None and last.how is not None else None,
        "incident_id": row.incident_id,
        "origin": row.origin,
        "listed": row.listed,
        "absent_rounds": row.absent_rounds,
        "doubted_at": None if row.doubted_at is None else seconds(row.doubted_at),
        "first_seen": seconds(row.first_seen),
        "last_seen": seconds(row.last_seen),
        "seen": row.seen,
    }


def _facts_text(facts: Facts) -> str:
    return canonical(
        {
            "firings": [
                [_micros(fact.starts_at), None if fact.witnessed_at is None else _micros(fact.witnessed_at)]
                for fact in sorted(
                    facts.firings, key=lambda fact: (fact.starts_at, fact.witnessed_at or fact.starts_at)
                )
            ],
            "endings": [
                [_micros(fact.starts_at), _micros(fact.ends_at), fact.how.value]
                for fact in sorted(facts.endings)
            ],
        }
    )


def _read_facts(text: str) -> Facts:
    document = json.loads(text)
    return Facts(
        firings=frozenset(
            Firing(_from_micros(starts), None if witnessed is None else _from_micros(witnessed))
            for starts, witnessed in document["firings"]
        ),
        endings=frozenset(
            Ended(_from_micros(starts), _from_micros(ends), Ending(how))
            for starts, ends, how in document["endings"]
        ),
    )


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _micros(at: datetime) -> int:
    """Whole microseconds: a float would not come back as the same moment."""
    elapsed = at - _EPOCH
    return (elapsed.days * 86400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds


def _from_micros(value: int) -> datetime:
    return datetime.fromtimestamp(value // 1_000_000, UTC).replace(microsecond=value % 1_000_000)
