"""From kept bodies to alerts and incidents: read, merge what is told, open, join, end.

Every delivery is joined, repeats included: what it tells is added to a set, and only a change of the
occurrences becomes an event. So copies, retries and stale snapshots change nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

import structlog
from sqlalchemy import Connection

from receiver.domain import events as ev
from receiver.domain.alerts import Alert, Notification, Unreadable, identity_of, read_notification
from receiver.domain.errors import NewerWords, Unavailable
from receiver.domain.incidents import Incident, apply
from receiver.domain.occurrences import Facts, Occurrence, is_doubtful, with_alert
from receiver.pipeline.counters import Counters
from receiver.pipeline.recording import record
from receiver.pipeline.world import World
from receiver.policy.joining import Joins, Opens, attached, ended, takes_end
from receiver.policy.matching import CorrelationKey, correlate
from receiver.store import claims, engine, intake, timeline
from receiver.store.intake import AlertRow, Repeats, Waiting
from receiver.store.timeline import Locked

log = structlog.get_logger(__name__)

BATCH = 200
TRIES = 3
# For a replica of the newer release to read it; after that, somebody went back for good.
NEWER_WAITS = timedelta(minutes=10)


@dataclass
class Joined:
    """What one batch did; ``doubtful`` asks for the sources to be looked at now."""

    deliveries: int = 0
    alerts: int = 0
    doubtful: bool = False
    incidents: set[int] = field(default_factory=set)
    # Those incidents, as they are now, and the bodies that told of each.
    read: list[tuple[Incident, list[bytes]]] = field(default_factory=list)

    def add(self, other: Joined) -> None:
        """What another did, too."""
        self.deliveries += other.deliveries
        self.incidents |= other.incidents
        self.doubtful |= other.doubtful
        self.read += other.read


async def join_waiting(world: World, counters: Counters) -> Joined:
    """Read and join one batch of deliveries; the same again later where the store is away."""
    began = time.time_ns()
    try:
        joined = await world.store.write(lambda tx: _join_batch(world, counters, tx))
    except Unavailable:
        raise
    except NewerWords:
        joined = await _join_singly(world, counters)
    except Exception:
        log.exception("a batch of deliveries could not be joined; one by one", event_code="join_failed")
        joined = await _join_singly(world, counters)
    for incident, bodies in joined.read:
        # Said afterwards: a transaction may be tried again, and which incidents it is about it finds out.
        with world.tracer.of_incident("join", partial(_same, incident), bodies=bodies, began_ns=began):
            pass
    return joined


def _same(incident: Incident) -> Incident:
    return incident


async def _join_singly(world: World, counters: Counters) -> Joined:
    """One delivery a transaction, so that the one that raises harms no other; three times and it is kept
    as a dead letter. One about an incident that a newer release wrote waits for a replica of that release.
    """
    total = Joined()
    for waiting in await world.store.read(lambda tx: intake.waiting(tx, limit=BATCH, lock=False)):
        try:
            joined = await world.store.write(_single(world, counters, waiting))
        except Unavailable:
            raise
        except NewerWords as error:
            if not waiting.fail_count:
                log.warning(
                    "a delivery waits", event_code="delivery_waits", delivery=waiting.id, why=str(error)
                )
            over = world.clock.now() - waiting.received_at > NEWER_WAITS
            counters.dead_letters += await world.store.write(_failing(world, waiting, error, last=over))
        except Exception as error:
            log.exception("a delivery could not be joined", event_code="join_failed", delivery=waiting.id)
            last = waiting.fail_count + 1 >= TRIES
            counters.dead_letters += await world.store.write(_failing(world, waiting, error, last=last))
        else:
            total.add(joined)
    return total


def _single(world: World, counters: Counters, waiting: Waiting) -> Callable[[Connection], Joined]:
    return lambda tx: _join(world, counters, tx, [waiting])


def _failing(world: World, waiting: Waiting, error: Exception, *, last: bool) -> Callable[[Connection], bool]:
    """Note that it failed; a dead letter where that was its ``last`` try, which is what it answers."""

    def body(tx: Connection) -> bool:
        if not last:
            intake.failed(tx, waiting.id)
            return False
        reason = f"reading it failed {waiting.fail_count + 1} times: {type(error).__name__}"
        intake.bury(
            tx, received_at=waiting.received_at, source=waiting.source, reason=reason, body=waiting.body
        )
        intake.done(tx, [waiting.id], at=world.clock.now())
        return True

    return body


def _join_batch(world: World, counters: Counters, tx: Connection) -> Joined:
    return _join(world, counters, tx, intake.waiting(tx, limit=BATCH))


def _join(world: World, counters: Counters, tx: Connection, batch: list[Waiting]) -> Joined:
    joined = Joined(deliveries=len(batch))
    told: list[tuple[Alert, Waiting]] = []
    for waiting in batch:
        read = read_notification(waiting.body, received_at=waiting.received_at)
        told += [(alert, waiting) for alert in _readable(counters, tx, waiting, read)]
    counters.alerts_joined += len(told)
    joined.alerts = len(told)
    news = _news(tx, told)
    known = intake.load_alerts(tx, [identity for identity, _, _ in news])
    changed: dict[str, AlertRow] = {}
    book = Book(world, tx, "intake")
    bodies: dict[int, dict[int, bytes]] = {}
    for identity, alert, waiting in news:
        row = known.get(identity)
        if row is None:
            row = known[identity] = _new_row(identity, alert, waiting)
        joined.doubtful |= tell(
            world, tx, row, alert, at=waiting.received_at, incidents=joined.incidents, book=book
        )
        changed[identity] = row
        if row.incident_id in joined.incidents:
            bodies.setdefault(row.incident_id, {})[waiting.id] = waiting.body
    book.write()
    joined.read = [(book.incident(number), [*some.values()]) for number, some in bodies.items()]
    intake.save_alerts(tx, list(changed.values()))
    intake.done(tx, [waiting.id for waiting in batch], at=world.clock.now())
    return joined


def _news(tx: Connection, told: Sequence[tuple[Alert, Waiting]]) -> list[tuple[str, Alert, Waiting]]:
    """What says more than that nothing changed; the rest, nearly everything on a usual day, is only counted.

    From its first news on, everything told of an identity is news: it is judged by what came before it.
    """
    identities = [identity_of(waiting.source, alert.labels) for alert, waiting in told]
    standings = intake.standings(tx, identities)
    repeats: dict[int, Repeats] = {}
    news: list[tuple[str, Alert, Waiting]] = []
    for identity, (alert, waiting) in zip(identities, told, strict=True):
        standing = standings.get(identity)
        if standing is None or not standing.knows(alert):
            standings.pop(identity, None)
            news.append((identity, alert, waiting))
            continue
        repeat = repeats.setdefault(standing.id, Repeats(0, waiting.received_at))
        repeat.count += 1
        repeat.last_seen = max(repeat.last_seen, waiting.received_at)
    intake.repeated(tx, repeats)
    return news


def _readable(
    counters: Counters, tx: Connection, waiting: Waiting, read: Notification | Unreadable
) -> Iterable[Alert]:
    """The alerts of a body; what could not be read goes to the dead letters, its neighbours do not."""
    bury = intake.bury
    if isinstance(read, Unreadable):
        counters.dead_letters += 1
        log.warning("a delivery is no notification", event_code="dead_letter", reason=read.reason)
        bury(
            tx, received_at=waiting.received_at, source=waiting.source, reason=read.reason, body=waiting.body
        )
        return ()
    for bad in read.bad:
        counters.dead_letters += 1
        log.warning("an alert could not be read", event_code="dead_letter", reason=bad.reason)
        bury(
            tx,
            received_at=waiting.received_at,
            source=waiting.source,
            reason=bad.reason,
            body=bad.text.encode(errors="replace"),
        )
    if read.truncated_alerts:
        counters.truncated_alerts += read.truncated_alerts
        log.warning(
            "Alertmanager left alerts out; set max_alerts: 0",
            event_code="truncated",
            left_out=read.truncated_alerts,
        )
    return read.alerts


def _new_row(identity: str, alert: Alert, waiting: Waiting) -> AlertRow:
    return AlertRow(
        identity=identity,
        source=waiting.source,
        labels=alert.labels,
        annotations=alert.annotations,
        fingerprint=alert.fingerprint,
        facts=Facts(),
        origin="webhook",
        first_seen=waiting.received_at,
        last_seen=waiting.received_at,
    )


def tell(
    world: World,
    tx: Connection,
    row: AlertRow,
    alert: Alert,
    *,
    at: datetime,
    incidents: set[int],
    book: Book | None = None,
) -> bool:
    """Add what this alert says to its row, with the events that follow; True where it is doubtful."""
    before = row.open
    row.seen += 1
    row.last_seen = max(row.last_seen, at)
    row.annotations = alert.annotations
    row.fingerprint = alert.fingerprint or row.fingerprint
    doubtful = alert.status == "firing" and is_doubtful(row.facts, alert.starts_at)
    row.doubted_at = at if doubtful else row.doubted_at
    row.facts = with_alert(row.facts, alert, at=at)
    follow(world, tx, row, before, incidents=incidents, book=book)
    return doubtful


def follow(
    world: World,
    tx: Connection,
    row: AlertRow,
    before: Occurrence | None,
    *,
    incidents: set[int],
    actor: str = "intake",
    book: Book | None = None,
) -> None:
    """Bring the incident to what the row's facts say now, where that changed.

    With a book the caller writes it, once for all that it tells.
    """
    after = row.open
    name = row.labels.get("alertname")
    if after == before or name == world.place.watchdog or name in world.loaded.policies.heartbeats:
        return
    pages = book or Book(world, tx, actor)
    if after is not None:
        fired = ev.AlertFired(
            identity=row.identity,
            labels=row.labels,
            annotations=row.annotations,
            starts_at=after.starts_at,
            source=row.origin,
            fingerprint=row.fingerprint,
        )
        row.incident_id = _attach(world, row, fired, pages)
    elif row.incident_id is not None and before is not None:
        _end(pages, row.incident_id, row)
    if row.incident_id is not None:
        incidents.add(row.incident_id)
    if book is None:
        pages.write()


class Book:
    """The incidents that one transaction changes: each is read once and written once, however many alerts
    of it are told. Decisions in between are made from what it will be.
    """

    def __init__(self, world: World, tx: Connection, actor: str) -> None:
        self._world = world
        self._tx = tx
        self._actor = actor
        self._held: dict[int, Locked] = {}
        self._becoming: dict[int, Incident] = {}
        self._events: dict[int, list[ev.Event]] = {}
        self._newest: dict[str, int | None] = {}

    def newest_of_key(self, key: str) -> int | None:
        """The newest incident of this key, which stays the newest until the transaction ends."""
        if key not in self._newest:
            engine.lock_key(self._tx, key)
            self._newest[key] = timeline.newest_of_key(self._tx, key)
        return self._newest[key]

    def incident(self, number: int) -> Incident:
        """The incident with everything added so far, its row locked."""
        if number not in self._held:
            held = timeline.lock(self._tx, number)
            self._held[number], self._becoming[number] = held, held.incident
        return self._becoming[number]

    def add(self, number: int, *events: ev.Event) -> None:
        """These happened to it."""
        incident, now = self.incident(number), self._world.clock.now()
        for event in events:
            incident = apply(incident, ev.Recorded(incident.last_seq + 1, now, self._actor, event))
        self._becoming[number] = incident
        self._events.setdefault(number, []).extend(events)

    def open(self, key: CorrelationKey) -> int:
        """A new incident of this key, which has none that is open."""
        held = timeline.open_incident(self._tx, key=key.key, title=key.title, at=self._world.clock.now())
        if held is None:
            raise RuntimeError("an incident of this key opened meanwhile, although its key was locked")
        opened = held.incident.id
        self._held[opened], self._becoming[opened] = held, held.incident
        self._newest[key.key] = opened
        return opened

    def write(self) -> None:
        """Record what was added."""
        now = self._world.clock.now()
        for number, events in self._events.items():
            held = self._held[number]
            held = record(self._world, self._tx, held, events, actor=self._actor, due_at=now)
            # As it is stored: when something happened is the moment that it is written.
            self._held[number], self._becoming[number] = held, held.incident


def _attach(world: World, row: AlertRow, fired: ev.AlertFired, book: Book) -> int:
    """Join the open incident of its key, reopen one that ended lately, or open a new one."""
    key = correlate(row.labels, row.identity, world.loaded.policies.correlation)
    newest = book.newest_of_key(key.key)
    incident = None if newest is None else book.incident(newest)
    match attached(incident, key, fired, now=world.clock.now()):
        case Joins(events):
            assert newest is not None
            joined = newest
        case Opens(events):
            joined = book.open(key)
    if events:
        book.add(joined, *events)
    return joined


def _end(book: Book, incident_id: int, row: AlertRow) -> None:
    if takes_end(book.incident(incident_id), row.identity):
        book.add(incident_id, ended(row.identity, row.facts))


def make_all_due(world: World) -> Callable[[Connection], None]:
    """Signal to every open incident: policies or switches changed."""
    return lambda tx: claims.make_due(tx, None, now=world.clock.now())
