"""INC-001 through the whole pipeline, on both stores."""

from __future__ import annotations

from datetime import timedelta

from builders import CAROL, alert, labels, notification, policies, policy
from harness import Harness, harness
from stories import noticed, resolved, rolled_back, until_state

from receiver.domain.incidents import Status
from receiver.domain.outcomes import Outcome, Tally
from receiver.domain.severity import Severity
from receiver.pipeline import people
from receiver.policy.model import Candidate, Mode
from receiver.store import statistics
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


async def test_a_relapse_that_nobody_saw_begins_the_window_anew(store: Store) -> None:
    """The service was down while it happened, and no alert of it arrived."""
    async with harness(store) as h:
        started = h.clock.now()
        await h.deliver(notification(alert(starts_at=started, with_labels=labels(severity="warning"))))
        await h.work()
        ended = alert(
            status="resolved",
            starts_at=started,
            ends_at=h.clock.now(),
            with_labels=labels(severity="warning"),
        )
        await h.deliver(notification(ended))
        await h.work()
        assert (await h.incident()).monitoring_until == h.clock.now() + timedelta(minutes=15)
        h.demo.release_bad()
        await unattended(h, timedelta(minutes=4))
        good = h.demo.scenario.manifest(h.demo.scenario.good)["spec"]["template"]
        h.demo.api.change("deployments", "greenlang", "greenlang-api", {"spec": {"template": good}})
        await unattended(h, timedelta(minutes=12))
        await h.work()
        assert (await h.kinds())[-1] == "MonitoringInterrupted"
        await h.pass_time(timedelta(minutes=16))
        assert (await h.kinds())[-2:] == ["MonitoringStarted", "Resolved"]


async def unattended(h: Harness, duration: timedelta) -> None:
    """Time passes for the world and not for the service."""
    for _ in range(int(duration.total_seconds() / 15)):
        await h.clock.advance(timedelta(seconds=15))
        h.demo.api.reconcile()


async def test_a_disabled_candidate_is_named_to_a_person_and_never_offered(store: Store) -> None:
    asked_for = Candidate("deployment.dance", "nobody has taught it yet", None, {}, disabled=True)
    async with harness(store, policies=policies(policy(candidates=(asked_for,)))) as h:
        await noticed(h)
        incident = await h.incident()
        assert incident.plan is None
        (reason,) = incident.escalated
        assert "deployment.dance: disabled in the policy: nobody has taught it yet" in reason


def roll_back_by_hand(h: Harness) -> None:
    scenario = h.demo.scenario
    patch = {"spec": {"template": scenario.manifest(scenario.good)["spec"]["template"]}}
    h.demo.api.change("deployments", scenario.namespace, scenario.app, patch, manager="kubectl")
    h.demo.api.reconcile()


async def score(h: Harness) -> Tally:
    (found,) = await h.world.store.read(statistics.tallies)
    return found


async def test_what_helped_counts_for_its_policy(store: Store) -> None:
    async with harness(store) as h:
        await rolled_back(h)
        await until_state(h, "verified")
        found = await score(h)
        assert (found.proposed, found.approved, found.executed) == (1, 1, 1)
        assert found.outcomes == {Outcome.HELPED: 1}


async def test_what_a_shadowed_policy_would_have_done_was_needless_where_it_healed_alone(
    store: Store,
) -> None:
    async with harness(store, policies=policies(policy(mode=Mode.SHADOW))) as h:
        started = await noticed(h)
        assert (await score(h)).outcomes == {}
        roll_back_by_hand(h)
        await h.pass_time(timedelta(minutes=10))
        await resolved(h, started)
        await h.pass_time(timedelta(minutes=5))
        found = await score(h)
        assert (found.shadowed, found.executed, found.outcomes) == (1, 0, {Outcome.NEEDLESS: 1})
