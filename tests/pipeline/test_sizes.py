"""However large what arrives is: the timeline stays small, and replayed it still is the incident."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from builders import CAROL, alert, labels, notification, policies, policy
from harness import Harness, harness
from sqlalchemy import Connection, select

from receiver.domain.events import MAX_BODY_BYTES, AlertFired, Planned, Recorded
from receiver.domain.incidents import replay
from receiver.pipeline import people
from receiver.policy.model import Candidate
from receiver.store import timeline
from receiver.store.engine import Store
from receiver.store.schema import incident_events
from receiver.web.views import recorded_view


async def recorded(h: Harness, *, whole: bool = True) -> Sequence[Recorded]:
    return await h.world.store.read(lambda tx: timeline.timeline(tx, 1, whole=whole))


async def largest_body(h: Harness) -> int:
    def body(tx: Connection) -> int:
        return max(len(row.body.encode()) for row in tx.execute(select(incident_events.c.body)))

    return await h.world.store.read(body)


async def test_enormous_labels_and_annotations_make_no_enormous_events(store: Store) -> None:
    async with harness(store) as h:
        enormous = labels(trace="é" * 40_000, **{f"label_{number}": "x" * 999 for number in range(99)})
        entry = alert(starts_at=h.clock.now(), with_labels=enormous)
        entry["annotations"] = {"summary": "s" * 300_000, "description": "\t" * 50_000}
        await h.deliver(notification(entry))
        await h.work()
        assert await largest_body(h) <= MAX_BODY_BYTES
        assert replay(1, await recorded(h)) == await h.incident()
        (fired,) = [one for one in await recorded(h) if isinstance(one.event, AlertFired)]
        assert isinstance(fired.event, AlertFired)
        assert fired.event.labels == enormous


async def test_a_person_sees_an_excerpt_that_names_the_whole(store: Store) -> None:
    async with harness(store) as h:
        entry = alert(starts_at=h.clock.now())
        entry["annotations"] = {"summary": "s" * 300_000}
        await h.deliver(notification(entry))
        shown = [recorded_view(one)["event"] for one in await recorded(h, whole=False)]
        (fired,) = [event for event in shown if event["event"] == "AlertFired"]
        assert fired["annotations"]["summary"].endswith("… (298000 characters more)")
        assert len(fired["whole"]) == 64
        assert "whole" not in shown[0]


async def test_closing_while_a_thousand_alerts_fire_remembers_each_of_them(store: Store) -> None:
    async with harness(store) as h:
        since = h.clock.now()
        entries = [alert(starts_at=since, with_labels=labels(pod=f"api-{number}")) for number in range(1000)]
        await h.deliver(notification(*entries))
        await people.close(h.world, 1, CAROL, cause="known")
        assert await largest_body(h) <= MAX_BODY_BYTES
        assert len((await h.incident()).held) == 1000
        assert replay(1, await recorded(h)) == await h.incident()


async def test_a_plan_says_of_many_rejected_candidates_how_many_are_left_out(store: Store) -> None:
    never = Candidate("deployment.rollback", "never", f"rollout.revisions > 99 && {'!' * 400}false", {})
    rejecting = [policy(name=f"a{number:02}", candidates=(never,)) for number in range(40)]
    async with harness(store, policies=policies(*rejecting, policy())) as h:
        await h.fall_ill(after=timedelta(minutes=7))
        await h.deliver(notification(alert(starts_at=h.clock.now())))
        await h.work()
        (planned,) = [event for event in await h.events() if isinstance(event, Planned)]
        assert len(planned.rejected) == 21
        assert planned.rejected[-1] == "… and 20 more"
        assert max(len(reason) for reason in planned.rejected) < 400
