"""`mode: auto`: a reversible cure acts without a person, but never while many incidents open."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from builders import CAROL, alert, notification
from cures import APP, CURES, NAMESPACE
from harness import Harness, harness

from receiver.domain.incidents import Incident, PlanState
from receiver.pipeline import people
from receiver.policy.model import Budget, Mode, PolicySet
from receiver.store.engine import Store

SCALE = next(
    cure for cure in CURES if cure.remediation == "deployment.scale" and cure.resource == "deployments"
)
STORM = Budget(3, timedelta(minutes=10))


def automatic() -> PolicySet:
    return replace(SCALE.policies(mode=Mode.AUTO), storm=STORM)


def replicas(h: Harness) -> int:
    return int(h.demo.api.get("deployments", NAMESPACE, APP)["spec"]["replicas"])


async def others(h: Harness, count: int) -> None:
    """So many incidents of other teams, which no policy is about."""
    alerts = [
        alert(
            starts_at=h.clock.now(),
            with_labels={"alertname": "DiskFillsUp", "namespace": f"team-{number}", "cluster": "demo"},
        )
        for number in range(count)
    ]
    await h.deliver(notification(*alerts))
    await h.work()


async def noticed(h: Harness) -> Incident:
    await h.fall_ill()
    await h.deliver(notification(alert(starts_at=h.clock.now())))
    await h.work()
    found = await h.incidents()
    return next(one for one in found if one.plan is not None)


async def test_a_reversible_cure_is_carried_out_without_a_person(store: Store) -> None:
    async with harness(store, policies=automatic()) as h:
        incident = await noticed(h)
        assert "Approved" in await h.kinds(incident.id)
        assert replicas(h) == 5


async def test_in_a_storm_a_person_is_asked_and_told_why(store: Store) -> None:
    async with harness(store, policies=automatic()) as h:
        await others(h, STORM.count - 1)
        incident = await noticed(h)
        assert incident.plan is not None and incident.plan.state is PlanState.AWAITING
        assert replicas(h) == 4
        await h.tell()
        (asked,) = [body for body in h.told.bodies if body["kind"] == "ApprovalRequested"]
        assert "3 incidents or more within 10 min: nothing is automatic in a storm" in asked["text"]
        await people.approve_plan(h.world, incident.plan.plan_id, CAROL, digest=None, reason="more of it")
        await h.work()
        assert replicas(h) == 5


async def test_incidents_of_long_ago_are_no_storm(store: Store) -> None:
    async with harness(store, policies=automatic()) as h:
        await others(h, 20)
        await h.clock.advance(STORM.per + timedelta(seconds=1))
        await noticed(h)
        assert replicas(h) == 5


async def test_a_disruptive_cure_is_never_automatic(store: Store) -> None:
    rollback = next(cure for cure in CURES if cure.remediation == "deployment.rollback")
    async with harness(store, policies=rollback.policies(mode=Mode.AUTO)) as h:
        incident = await noticed(h)
        assert incident.plan is not None and incident.plan.state is PlanState.AWAITING
        assert h.demo.real_writes == 0
