"""Whoever must know is told: through an outage of the receiver, and across a crash between send and mark."""

from __future__ import annotations

from datetime import timedelta

import pytest
from builders import CAROL
from harness import Harness, Told, harness
from stories import noticed

from receiver.domain.errors import PermanentError, TemporaryError
from receiver.pipeline import people
from receiver.pipeline.telling import deliver
from receiver.pipeline.world import World
from receiver.store import audit, outbox, reading
from receiver.store.engine import Store


async def deliver_all(h: Harness, world: World | None = None) -> None:
    while await deliver(world or h.world, h.counters):
        pass


async def test_a_request_for_approval_says_what_who_until_when_and_how(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        await deliver_all(h)
        asked = next(body for body in h.told.bodies if body["kind"] == "ApprovalRequested")
        assert asked["plan"] == "P-1"
        assert asked["pages"]
        assert "waits for oncall until 2026-03-01T12:22:00" in asked["text"]
        assert "stanch approve P-1" in asked["text"]
        assert asked["link"].endswith("/api/v1/incidents/1")


async def test_a_receiver_that_is_down_for_five_minutes_is_told_once_afterwards(store: Store) -> None:
    async with harness(store) as h:
        h.told.failing = TemporaryError("it is down")
        await noticed(h)
        for _ in range(20):
            await deliver_all(h)
            await h.clock.advance(timedelta(seconds=15))
        assert h.told.bodies == []
        h.told.failing = None
        await h.clock.advance(timedelta(minutes=16))
        await deliver_all(h)
        assert [body["kind"] for body in h.told.bodies].count("ApprovalRequested") == 1


async def test_a_crash_between_sending_and_marking_sends_at_most_one_duplicate_with_the_same_key(
    store: Store,
) -> None:
    async with harness(store) as h:
        await noticed(h)
        now = h.clock.now()
        taken = await store.write(
            lambda tx: outbox.take(tx, owner="dead", now=now, lease=timedelta(seconds=0), limit=50)
        )
        for letter in taken:
            await h.told.send(letter.body, key=letter.key)
        await deliver_all(h)
        for key in set(h.told.keys):
            assert h.told.keys.count(key) <= 2


async def test_what_cannot_be_delivered_is_given_up_and_does_not_hold_up_what_follows(store: Store) -> None:
    async with harness(store) as h:
        h.told.failing = PermanentError("answered 404")
        await noticed(h)
        await deliver_all(h)
        assert (await store.read(outbox.depth))[1] >= 1
        h.told.failing = None
        await people.deny_plan(h.world, "P-1", CAROL, reason="no")
        await h.pass_time(timedelta(minutes=6))
        await deliver_all(h)
        assert any(body["kind"] == "Escalated" for body in h.told.bodies)


async def test_messages_of_one_incident_keep_their_order_at_each_destination(store: Store) -> None:
    async with harness(store) as h:
        pager = Told(name="pager", pages_only=True)
        h.world.destinations.append(pager)  # type: ignore[attr-defined]
        h.told.failing = TemporaryError("down")
        await noticed(h)
        await people.deny_plan(h.world, "P-1", CAROL, reason="no")
        await h.pass_time(timedelta(minutes=6))
        await deliver_all(h)
        # The post is stuck at its first message; the pages are not behind it.
        assert [body["kind"] for body in pager.bodies] == ["ApprovalRequested", "Escalated"]
        h.told.failing = None
        await h.clock.advance(timedelta(minutes=16))
        await deliver_all(h)
        assert [body["kind"] for body in h.told.bodies] == ["ApprovalRequested", "Escalated"]


async def test_what_waits_to_be_told_or_approved_or_sealed_is_a_figure(store: Store) -> None:
    async with harness(store) as h:
        before = await store.read(reading.figures)
        assert (before["plans_current"], before["outbox_oldest"], before["events_unsealed"]) == ({}, None, 0)
        h.told.failing = TemporaryError("it is down")
        await noticed(h)
        asked_at = h.clock.now().timestamp()
        await deliver_all(h)
        waiting = await store.read(reading.figures)
        assert waiting["plans_current"] == {"awaiting-approval": 1}
        assert waiting["outbox_oldest"] == pytest.approx(asked_at, abs=60)
        assert waiting["events_unsealed"] > 3
        await store.write(audit.seal)
        await people.deny_plan(h.world, "P-1", CAROL, reason="no")
        h.told.failing = None
        await h.pass_time(timedelta(minutes=16))
        await deliver_all(h)
        after = await store.read(reading.figures)
        assert (after["plans_current"], after["outbox_oldest"]) == ({"denied": 1}, None)
        assert 0 < after["events_unsealed"] < waiting["events_unsealed"]
