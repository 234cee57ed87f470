"""The stored chain is walked while the service serves: what is changed in it is found, and nothing else."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
import structlog
from builders import CAROL
from hand_clock import HandClock
from harness import Harness, harness
from sqlalchemy import Connection, insert, text, update
from stories import noticed

from receiver.domain.events import Noted, event_text
from receiver.pipeline import people
from receiver.pipeline.duties import AUDIT_EVERY, PRUNE, Duties, Retention
from receiver.store import audit, reading
from receiver.store import duties as chores
from receiver.store.audit_rounds import REST
from receiver.store.engine import Store
from receiver.store.schema import incident_events
from receiver.web.measures import MEASURES, Told, Values

DAY = timedelta(days=1)


def duties_of(h: Harness, clock: HandClock) -> Duties:
    """A process of its own, on this clock: the world need not live through the hours."""
    world = replace(h.world, clock=clock, owner=f"replica-{uuid.uuid4().hex[:6]}")
    return Duties(world, h.counters, on_joined=lambda: None, retention=Retention(age=DAY))


def measured(h: Harness, figures: dict[str, object], stem: str) -> Values | None:
    (measure,) = [one for one in MEASURES if one.stem == stem]
    return measure.read(Told(h.counters, figures, 0, refused=False))


async def broken(h: Harness) -> bool:
    """What the metric says."""
    figures = dict(await h.world.store.read(reading.figures))
    values = measured(h, figures, "stanch_audit_broken")
    assert values is not None
    return values == {(): 1.0}


async def verified_at(h: Harness) -> float | None:
    figures = dict(await h.world.store.read(reading.figures))
    values = measured(h, figures, "stanch_audit_verified_timestamp_seconds")
    return None if values is None else values[()]


async def noted(h: Harness, count: int, *, first: int = 1) -> None:
    """So many events of an incident of their own, sealed."""

    def body(tx: Connection) -> None:
        rows = []
        for number in range(first, first + count):
            told = event_text(Noted(by="carol", text=f"n{number}"))
            hashed = hashlib.sha256(told.encode()).hexdigest()
            at = h.clock.now().timestamp() + number
            rows.append({"incident_id": 700, "seq": number, "at": at, "actor": "carol", "kind": "Noted"})
            rows[-1] |= {"body": told, "body_hash": hashed}
        tx.execute(insert(incident_events), rows)

    await h.world.store.write(body)
    while await h.world.store.write(lambda tx: audit.seal(tx)):
        pass


def unguarded(statement: str) -> Callable[[Connection], None]:
    """Somebody who owns the database takes the triggers away and does this."""

    def body(tx: Connection) -> None:
        if tx.dialect.name == "postgresql":
            tx.execute(text("ALTER TABLE incident_events DISABLE TRIGGER USER"))
        else:
            for name in ("keep", "content", "body", "seal"):
                tx.execute(text(f"DROP TRIGGER incident_events_{name}"))
        for one in statement.split(";"):
            tx.execute(text(one))

    return body


@pytest.mark.parametrize(
    ("statement", "row"),
    [
        pytest.param(
            "UPDATE incident_events SET body = replace(body, 'n7', 'n8') WHERE seal = 7", 7, id="byte"
        ),
        pytest.param("UPDATE incident_events SET actor = 'mallory' WHERE seal = 7", 7, id="actor"),
        pytest.param("DELETE FROM incident_events WHERE seal = 7", 7, id="removed"),
        pytest.param("DELETE FROM incident_events WHERE seal > 800", 801, id="tail"),
        pytest.param("DELETE FROM incident_events", 1, id="all"),
        pytest.param(
            "UPDATE incident_events SET seal = -1 WHERE seal = 7;"
            "UPDATE incident_events SET seal = 7 WHERE seal = 8;"
            "UPDATE incident_events SET seal = 8 WHERE seal = -1",
            7,
            id="swapped",
        ),
        pytest.param("UPDATE incident_events SET seal = NULL WHERE seal = 7", 7, id="unsealed"),
    ],
)
async def test_what_is_changed_in_the_store_is_found_within_a_round_and_named(
    store: Store, statement: str, row: int
) -> None:
    async with harness(store) as h:
        clock = HandClock(h.clock.now())
        await noted(h, 900)
        duties = duties_of(h, clock)
        await duties.audit()
        assert not await broken(h)
        sound = await verified_at(h)
        assert sound == clock.now().timestamp()
        await store.write(unguarded(statement))
        with structlog.testing.capture_logs() as lines:
            for _ in range(2):
                await clock.advance(REST + AUDIT_EVERY)
                await duties.audit()
        told = [line for line in lines if line.get("event_code") == "audit_broken"]
        assert [(line["row"], line["log_level"]) for line in told] == [(row, "error")]
        assert await broken(h)
        assert await verified_at(h) == sound


async def test_a_tail_that_is_cut_is_found_before_the_next_round_even_where_the_store_forgot_it(
    store: Store,
) -> None:
    async with harness(store) as h:
        clock = HandClock(h.clock.now())
        await noted(h, 30)
        duties = duties_of(h, clock)
        await duties.audit()
        await store.write(unguarded("DELETE FROM incident_events WHERE seal > 20; DELETE FROM duties"))
        await clock.advance(AUDIT_EVERY)
        await duties.audit()
        assert await broken(h)


async def test_a_long_chain_is_verified_while_more_is_sealed_and_old_things_are_pruned(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        await people.close(h.world, 1, CAROL, cause="bad release")
        await noted(h, 6000)
        clock = HandClock(h.clock.now())
        duties = duties_of(h, clock)
        sealed = 6000

        async def more(body: Callable[[Connection], object]) -> object:
            # Between two parts of a round others write.
            nonlocal sealed
            sealed += 40
            await noted(h, 40, first=sealed - 39)
            return await read(body)

        read = store.read
        for _ in range(3):
            await store.write(lambda tx: chores.make_due(tx, PRUNE))
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(store, "read", more)
                await duties.audit()
            await duties.prune()
            assert not await broken(h)
            assert await verified_at(h) == clock.now().timestamp()
            await clock.advance(2 * DAY)
        assert sealed > 7000


async def test_a_body_that_was_emptied_is_no_break(store: Store) -> None:
    async with harness(store) as h:
        clock = HandClock(h.clock.now())
        await noted(h, 30)
        await store.write(lambda tx: tx.execute(update(incident_events).values(body=None)))
        await duties_of(h, clock).audit()
        assert not await broken(h)


async def test_the_work_of_one_turn_is_bounded_and_the_next_goes_on_where_it_ended(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.pipeline.duties.AUDIT_STEPS", 2)
    async with harness(store) as h:
        clock = HandClock(h.clock.now())
        await noted(h, 1100)
        for _ in range(3):
            # Another process each time: where it is stands in the store.
            assert await verified_at(h) is None
            await duties_of(h, clock).audit()
            await clock.advance(AUDIT_EVERY)
        assert await verified_at(h) is not None


async def test_a_chain_that_is_broken_keeps_nobody_from_being_healed(store: Store) -> None:
    async with harness(store) as h:
        clock = HandClock(h.clock.now())
        await noted(h, 30)
        await store.write(unguarded("UPDATE incident_events SET actor = 'mallory' WHERE seal = 7"))
        await duties_of(h, clock).audit()
        assert await broken(h)
        await noticed(h)
        assert (await h.incident()).plan is not None


async def test_two_replicas_do_not_walk_it_both(store: Store) -> None:
    async with harness(store) as h:
        clock = HandClock(h.clock.now())
        await noted(h, 30)
        await duties_of(h, clock).audit()
        await noted(h, 30, first=31)
        before = await store.read(lambda tx: chores.left_by(tx, "audit"))
        await duties_of(h, clock).audit()
        assert await store.read(lambda tx: chores.left_by(tx, "audit")) == before
