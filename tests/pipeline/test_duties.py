"""What goes on beside the incidents, each chore by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from builders import CAROL, alert, notification
from harness import Harness, Told, harness

from receiver.pipeline import people
from receiver.pipeline.duties import Duties, Retention
from receiver.pipeline.telling import deliver
from receiver.store import audit
from receiver.store.engine import Store

TEN_MINUTES = timedelta(minutes=10)


def duties_of(h: Harness, **retention: Any) -> Duties:
    return Duties(h.world, h.counters, on_joined=lambda: None, retention=Retention(**retention))


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
