"""A yes is for exactly what was shown, by those who may, in time; nothing approves itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from builders import CAROL, DAVE, MALLORY, alert, notification, policies, policy
from harness import Harness, harness
from stories import approve, noticed, resolved

from receiver.domain.errors import Conflict, NotAllowed, NotFound
from receiver.domain.events import ApprovalRequested
from receiver.domain.incidents import PlanState
from receiver.domain.plans import ApprovalRule, Risk
from receiver.pipeline import people
from receiver.pipeline.telling import deliver
from receiver.store import effects, timeline
from receiver.store.engine import Store


def with_rule(**changes: object) -> object:
    rule = replace(ApprovalRule(groups=("oncall", "sre")), **changes)  # type: ignore[arg-type]
    return policies(policy(approve={Risk.DISRUPTIVE: rule}))


async def state(h: Harness) -> PlanState:
    incident = await h.incident()
    assert incident.plan is not None
    return incident.plan.state


async def test_a_plan_shows_everything_that_its_approver_must_see(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        stored = await h.world.store.read(lambda tx: effects.load_plan(tx, "P-1"))
        plan = stored.plan
        assert plan.summary.startswith("roll Deployment greenlang/greenlang-api back to greenlang/api:1.8.1")
        assert plan.diff.splitlines() == [
            "- /spec/template/spec/containers/api/image: greenlang/api:1.8.2-bad",
            "+ /spec/template/spec/containers/api/image: greenlang/api:1.8.1",
        ]
        assert "before the first bad sample" in plan.why
        assert "4 pods restart" in plan.blast_radius
        assert plan.risk is Risk.DISRUPTIVE
        assert len(plan.digest) == 64
        assert any(guard.startswith("G8") for guard in stored.guards)


async def test_somebody_without_the_group_may_not_approve(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        with pytest.raises(NotAllowed, match="it takes one of oncall, sre"):
            await people.approve_plan(h.world, "P-1", MALLORY, digest=None, reason="me")
        assert await state(h) is PlanState.AWAITING


async def test_another_digest_than_the_one_shown_is_a_conflict(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        with pytest.raises(Conflict, match="another plan now"):
            await people.approve_plan(h.world, "P-1", CAROL, digest="0" * 64, reason="")


async def test_a_quorum_takes_different_people(store: Store) -> None:
    async with harness(store, policies=with_rule(count=2)) as h:  # type: ignore[arg-type]
        await noticed(h)
        await people.approve_plan(h.world, "P-1", CAROL, digest=None, reason="")
        with pytest.raises(Conflict, match="answered P-1 already"):
            await people.approve_plan(h.world, "P-1", CAROL, digest=None, reason="")
        assert await state(h) is PlanState.AWAITING
        answered = await people.approve_plan(h.world, "P-1", DAVE, digest=None, reason="")
        assert answered.state == "approved"


async def test_a_reason_is_asked_for_where_the_rule_says_so(store: Store) -> None:
    async with harness(store, policies=with_rule(reason_required=True)) as h:  # type: ignore[arg-type]
        await noticed(h)
        with pytest.raises(NotAllowed, match="needs a reason"):
            await people.approve_plan(h.world, "P-1", CAROL, digest=None, reason=" ")


async def test_a_denial_wins_over_an_approval_that_was_not_carried_out(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        await approve(h)
        await people.deny_plan(h.world, "P-1", DAVE, reason="wait for the database team")
        await h.work()
        assert h.demo.real_writes == 0
        assert await state(h) is PlanState.DENIED


async def test_a_denied_remedy_is_not_offered_again_and_a_person_is_told(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        await people.deny_plan(h.world, "P-1", DAVE, reason="no")
        await h.pass_time(timedelta(minutes=12))
        kinds = await h.kinds()
        assert kinds.count("Planned") == 1
        assert "Escalated" in kinds


async def test_nobody_answers_and_it_is_asked_again_later_then_handed_over(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        await h.pass_time(timedelta(hours=4), step=timedelta(minutes=1))
        kinds = await h.kinds()
        # The last request ends with the plan: two hours on, the release is no longer the likely cause.
        assert kinds.count("ApprovalRequested") == kinds.count("ApprovalExpired") + kinds.count("PlanVoided")
        assert kinds.count("ApprovalRequested") >= 3
        assert kinds.index("Escalated") > kinds.index("ApprovalExpired")
        assert h.demo.real_writes == 0
        assert "Approved" not in kinds


async def test_an_expired_request_cannot_be_approved(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        await h.clock.advance(timedelta(minutes=16))
        with pytest.raises(Conflict, match="expired"):
            await people.approve_plan(h.world, "P-1", CAROL, digest=None, reason="")


async def test_a_flapping_alert_suspends_the_request_and_brings_it_back(store: Store) -> None:
    async with harness(store) as h:
        started = await noticed(h)
        for _ in range(2):
            await resolved(h, started)
            assert await state(h) is PlanState.SUSPENDED
            await h.pass_time(timedelta(seconds=30))
            started = h.clock.now()
            await h.deliver(notification(alert(starts_at=started)))
            await h.work()
            assert await state(h) is PlanState.AWAITING
        await approve(h)
        await h.work()
        assert h.demo.real_writes == 1


async def asked(h: Harness) -> list[tuple[str, int, tuple[str, ...]]]:
    """Every request so far: which plan, in which round, whom."""
    events = [event for event in await h.events() if isinstance(event, ApprovalRequested)]
    return [(event.plan_id, event.round, event.groups) for event in events]


async def test_each_unanswered_round_asks_the_next_group_a_quarter_half_and_one_hour_later(
    store: Store,
) -> None:
    async with harness(store) as h:
        await noticed(h)
        begin = h.clock.now()
        await h.pass_time(timedelta(minutes=80), step=timedelta(minutes=1))
        assert await asked(h) == [
            ("P-1", 1, ("oncall",)),
            ("P-1", 2, ("sre",)),
            ("P-1", 3, ("oncall", "sre")),
        ]
        recorded = await h.world.store.read(lambda tx: timeline.timeline(tx, 1))
        at = [one.at - begin for one in recorded if isinstance(one.event, ApprovalRequested)]
        assert [round(each.total_seconds() / 60) for each in at] == [0, 30, 75]


async def test_a_flapping_alert_uses_up_no_round_and_keeps_what_was_said(store: Store) -> None:
    async with harness(store, policies=with_rule(count=2)) as h:  # type: ignore[arg-type]
        started = await noticed(h)
        await people.approve_plan(h.world, "P-1", CAROL, digest=None, reason="")
        for _ in range(5):
            await resolved(h, started)
            await h.pass_time(timedelta(seconds=30))
            started = h.clock.now()
            await h.deliver(notification(alert(starts_at=started)))
            await h.work()
        assert {round_ for _, round_, _ in await asked(h)} == {1}
        answered = await people.approve_plan(h.world, "P-1", DAVE, digest=None, reason="")
        assert (answered.state, answered.approvals) == ("approved", 2)


async def test_an_edited_policy_is_asked_about_in_the_round_that_was_left_open(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        await h.pass_time(timedelta(minutes=31), step=timedelta(minutes=1))
        h.reload(policies(policy(hash="h2"), hash="set2"))
        await h.pass_time(timedelta(minutes=2))
        assert await asked(h) == [
            ("P-1", 1, ("oncall",)),
            ("P-1", 2, ("sre",)),
            ("P-2", 2, ("sre",)),
        ]


async def test_nobody_is_asked_about_a_plan_whose_policy_was_edited_since(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        await h.pass_time(timedelta(minutes=16), step=timedelta(minutes=1))
        assert await state(h) is PlanState.EXPIRED
        h.reload(policies(policy(hash="h2"), hash="set2"))
        await h.pass_time(timedelta(minutes=20), step=timedelta(minutes=1))
        assert await asked(h) == [("P-1", 1, ("oncall",)), ("P-2", 2, ("sre",))]


async def test_an_autoscaler_that_moves_replicas_leaves_a_waiting_rollback_approvable(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        for replicas in range(4, 12):
            h.demo.api.change("deployments", "greenlang", "greenlang-api", {"spec": {"replicas": replicas}})
            await h.pass_time(timedelta(seconds=30))
        assert await state(h) is PlanState.AWAITING
        await approve(h)
        await h.work()
        assert h.demo.real_writes == 1


async def test_a_changed_target_voids_the_request(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        template = {"spec": {"template": {"metadata": {"annotations": {"by": "somebody"}}}}}
        h.demo.api.change("deployments", "greenlang", "greenlang-api", template)
        await h.pass_time(timedelta(minutes=2))
        kinds = await h.kinds()
        assert kinds.index("PlanVoided") > kinds.index("ApprovalRequested")


async def test_a_changed_policy_voids_the_request_and_another_policys_change_does_not(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        other = policy(name="zz-other", hash="other")
        h.reload(policies(policy(), other, hash="set2"))
        await h.pass_time(timedelta(minutes=2))
        assert await state(h) is PlanState.AWAITING
        h.reload(policies(policy(hash="h2"), other, hash="set3"))
        await h.pass_time(timedelta(minutes=2))
        assert "PlanVoided" in await h.kinds()
        assert (await h.kinds()).count("Planned") == 2


async def test_an_unknown_plan_is_named_as_such(store: Store) -> None:
    async with harness(store) as h:
        with pytest.raises(NotFound, match="there is no plan P-9"):
            await people.approve_plan(h.world, "P-9", CAROL, digest=None, reason="")
        with pytest.raises(NotFound, match="plans are named like P-17"):
            await people.approve_plan(h.world, "'; DROP TABLE plans", CAROL, digest=None, reason="")


async def test_closing_while_it_fires_holds_until_that_occurrence_ends(store: Store) -> None:
    async with harness(store) as h:
        started = await noticed(h)
        await people.close(h.world, 1, CAROL, cause="known, the vendor is on it")
        await h.deliver(notification(alert(starts_at=started)))
        await h.work()
        assert not (await h.incident()).open
        await resolved(h, started)
        await h.pass_time(timedelta(minutes=1))
        await h.deliver(notification(alert(starts_at=h.clock.now())))
        assert (await h.incident()).open
        assert "Reopened" in await h.kinds()


async def test_a_reopened_incident_pages_again(store: Store) -> None:
    async with harness(store) as h:
        started = await noticed(h)
        await resolved(h, started)
        await people.close(h.world, 1, CAROL, cause="it went away")
        await h.pass_time(timedelta(minutes=1))
        await h.deliver(notification(alert(starts_at=h.clock.now())))
        await h.pass_time(timedelta(minutes=1))
        kinds = await h.kinds()
        assert kinds.count("ApprovalRequested") == 2
        while await deliver(h.world, h.counters):
            pass
        asked = [key for key in h.told.keys if "ApprovalRequested" in key]
        assert len(asked) == len(set(asked)) == 2
