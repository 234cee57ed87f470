"""INC-001 through the whole pipeline, on both stores."""

from __future__ import annotations

from datetime import timedelta

from builders import CAROL, alert, notification
from harness import harness

from receiver.domain.incidents import Status
from receiver.domain.severity import Severity
from receiver.pipeline import people
from receiver.store.engine import Store


async def test_a_bad_release_is_rolled_back_once_verified_and_closed(store: Store) -> None:
    async with harness(store) as h:
        await h.fall_ill()
        await h.deliver(notification(alert(starts_at=h.clock.now())))
        await h.work()
        incident = await h.incident()
        assert incident.severity is Severity.P1
        assert incident.plan is not None
        assert h.demo.real_writes == 0
        await people.approve_plan(h.world, incident.plan.plan_id, CAROL, digest=None, reason="bad release")
        await h.pass_time(timedelta(minutes=12))
        assert h.demo.real_writes == 1
        await h.deliver(
            notification(alert(status="resolved", starts_at=h.clock.now(), ends_at=h.clock.now()))
        )
        await h.pass_time(timedelta(minutes=75))
        incident = await h.incident()
        assert incident.ready_to_resolve
        await people.close(h.world, 1, CAROL, cause="bad release")
        assert (await h.incident()).status is Status.RESOLVED
        kinds = await h.kinds()
        assert [kind for kind in kinds if kind != "Classified"] == [
            "Opened",
            "AlertFired",
            "Diagnosed",
            "Planned",
            "ApprovalRequested",
            "ApprovalGiven",
            "Approved",
            "ExecutionStarted",
            "Executed",
            "InPlace",
            "Verified",
            "AlertResolved",
            "MonitoringStarted",
            "ReadyToResolve",
            "Resolved",
        ]
