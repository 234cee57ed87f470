"""What goes on beside the incidents, each chore by itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

from builders import CAROL, alert, notification
from hand_clock import HandClock
from harness import Harness, Told, harness
from sqlalchemy import select
from stories import noticed

from receiver.domain.errors import PermanentError
from receiver.domain.events import Diagnosed
from receiver.domain.incidents import replay
from receiver.pipeline import people
from receiver.pipeline.duties import PRUNE, Duties, Retention
from receiver.pipeline.telling import deliver
from receiver.store import audit, timeline
from receiver.store import duties as chores
from receiver.store import outbox as letters
from receiver.store.engine import Store
from receiver.store.schema import facts, outbox

TEN_MINUTES = timedelta(minutes=10)


def duties_of(h: Harness) -> Duties:
    return Duties(h.world, h.counters, on_joined=lambda: None, retention=Retention())


async def told_anchors(h: Harness) -> list[dict[str, Any]]:
    """Every anchor that a person was told of, after another round of the duty."""
    duties = duties_of(h)
    await duties.seal()
    await h.clock.advance(TEN_MINUTES)
    await duties.anchor()
    while await deliver(h.world, h.counters):
        pass
    return [body for body in h.told.bodies if body["kind"] == "AuditAnchor"]


async def test_the_chains_head_is_told_once_for_each_time_that_it_moved(store: Store) -> None:
    async with harness(store) as h:
        assert await told_anchors(h) == []
        await h.deliver(notification(alert(starts_at=h.clock.now())))
        (told,) = await told_anchors(h)
        assert await told_anchors(h) == [told]
        await people.note(h.world, 1, CAROL, text="looking")
        _, second = await told_anchors(h)
        head = await store.read(audit.head)
        assert (second["seal"], second["hash"]) == (head.seal, head.hash)
        assert f"stanch audit verify FILE --anchor {head.seal}:{head.hash}" in second["text"]
        assert second["seal"] > told["seal"]


async def test_nobody_is_paged_by_an_anchor(store: Store) -> None:
    async with harness(store) as h:
        pager = Told(name="pager", pages_only=True)
        h.world.destinations.append(pager)  # type: ignore[attr-defined]
        await h.deliver(notification(alert(starts_at=h.clock.now())))
        assert len(await told_anchors(h)) == 1
        assert "AuditAnchor" not in [body["kind"] for body in pager.bodies]


async def test_an_anchor_waits_for_its_time(store: Store) -> None:
    async with harness(store) as h:
        await h.deliver(notification(alert(starts_at=h.clock.now())))
        await told_anchors(h)
        await people.note(h.world, 1, CAROL, text="looking")
        duties = duties_of(h)
        await duties.seal()
        await duties.anchor()
        assert await deliver(h.world, h.counters) == 0


DAY = timedelta(days=1)


async def prune(h: Harness, *, after: timedelta) -> None:
    """So much later everything older than a day is pruned; the world need not live through it."""
    await h.world.store.write(lambda tx: chores.make_due(tx, PRUNE))
    later = replace(h.world, clock=HandClock(h.clock.now() + after))
    await Duties(later, h.counters, on_joined=lambda: None, retention=Retention(age=DAY)).prune()


async def keys(h: Harness) -> set[str]:
    """What is in the outbox."""
    return await h.world.store.read(lambda tx: {row.key for row in tx.execute(select(outbox.c.key))})


async def facts_kept(h: Harness) -> set[str]:
    """The names of all facts."""
    return await h.world.store.read(lambda tx: {row.hash for row in tx.execute(select(facts.c.hash))})


async def keep_facts(h: Harness, *found: object) -> list[str]:
    """Facts that no timeline names."""
    at = h.clock.now()
    return await h.world.store.write(lambda tx: [timeline.store_facts(tx, one, at=at) for one in found])


async def test_messages_that_were_delivered_are_pruned_and_no_others(store: Store) -> None:
    async with harness(store) as h:
        post = partial(letters.post, destination="told", incident_id=None, at=h.clock.now())
        await store.write(lambda tx: post(tx, key="delivered", body={"pages": False}))
        assert await deliver(h.world, h.counters) == 1
        h.told.failing = PermanentError("answered 404")
        await store.write(lambda tx: post(tx, key="dead", body={"pages": False}))
        assert await deliver(h.world, h.counters) == 1
        await store.write(lambda tx: post(tx, key="waiting", body={"pages": False}))
        await prune(h, after=DAY - timedelta(minutes=1))
        assert await keys(h) == {"delivered", "dead", "waiting"}
        await prune(h, after=timedelta(days=30))
        assert await keys(h) == {"dead", "waiting"}


async def test_facts_outlive_the_incident_that_found_them_and_not_for_ever(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        named = {event.facts_hash for event in await h.events() if isinstance(event, Diagnosed)}
        (unnamed,) = await keep_facts(h, {"found": "by nobody"})
        await prune(h, after=timedelta(days=30))
        assert await facts_kept(h) == named
        assert unnamed not in named
        await people.close(h.world, 1, CAROL, cause="bad release")
        await prune(h, after=DAY - timedelta(minutes=1))
        assert await facts_kept(h) == named
        await prune(h, after=DAY + timedelta(minutes=1))
        assert await facts_kept(h) == set()


async def test_an_open_incident_keeps_what_was_too_large_for_its_timeline(store: Store) -> None:
    async with harness(store) as h:
        entry = alert(starts_at=h.clock.now())
        entry["annotations"] = {"summary": "s" * 100_000}
        await h.deliver(notification(entry))
        await prune(h, after=timedelta(days=30))
        recorded = await store.read(lambda tx: timeline.timeline(tx, 1))
        assert replay(1, recorded) == await h.incident()


async def test_facts_that_are_found_again_are_young(store: Store) -> None:
    async with harness(store) as h:
        one, other = await keep_facts(h, {"found": 1}, {"found": 2})
        await h.clock.advance(timedelta(minutes=2))
        await keep_facts(h, {"found": 2})
        await prune(h, after=DAY - timedelta(minutes=1))
        assert await facts_kept(h) == {other}
        assert one != other


async def test_more_facts_than_go_at_once_are_all_pruned_around_those_that_stay(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        named = await facts_kept(h)
        await keep_facts(h, *range(1200))
        await prune(h, after=timedelta(days=2))
        assert await facts_kept(h) == named
