"""A security incident: its scope is locked, what waited there is cancelled, and two people release it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from builders import CAROL, DAVE, alert, labels, notification, policies, policy
from harness import Harness, harness
from sqlalchemy import Connection
from stories import approve, approved, die_sending, noticed, resolved

from receiver.demo.kubernetes import Fault
from receiver.domain import events as ev
from receiver.domain.errors import Conflict, NotAllowed
from receiver.domain.incidents import Incident, PlanState, Status
from receiver.domain.severity import Severity
from receiver.pipeline import people
from receiver.policy.approval import Identity
from receiver.policy.model import Scope, SecuritySign
from receiver.store import locks
from receiver.store.engine import Store

LEAD = Identity("lena", ("security-lead",))
NAMESPACE = "namespace/greenlang"
PATCH = r"/deployments/greenlang-api$"
MINER = SecuritySign("a miner runs in it", 'labels.rule == "miner"')


async def locked(h: Harness, number: int = 1) -> Incident:
    """Turned by hand, and its lock in force."""
    await people.secure(h.world, number, CAROL, reason="a miner runs in it")
    await h.work()
    return await h.incident(number)


async def test_what_waits_for_approval_is_cancelled_and_nothing_is_proposed_again(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        incident = await locked(h)
        assert incident.plan is not None and incident.plan.state is PlanState.VOID
        assert incident.severity is Severity.P0
        assert incident.lockdown is not None and incident.lockdown.in_force_at is not None
        await h.pass_time(timedelta(minutes=30))
        kinds = await h.kinds()
        assert kinds.count("Planned") == 1
        assert h.demo.real_writes == 0


async def test_the_plans_of_other_incidents_in_its_scope_are_cancelled_too(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        found = await people.open_security(
            h.world, LEAD, title="strange logins", reason="audit log", scopes=(NAMESPACE,)
        )
        await h.work()
        other = await h.incident(1)
        assert other.plan is not None and other.plan.state is PlanState.VOID
        voided = next(event for event in await h.events() if isinstance(event, ev.PlanVoided))
        assert voided.reason.endswith(f"restricted incident {found.id}")
        with pytest.raises(Conflict):
            await approve(h)
        await h.pass_time(timedelta(minutes=5))
        told = [event for event in await h.events() if isinstance(event, ev.NothingApplies)]
        assert f"restricted incident {found.id}" in str(told)
        assert "strange logins" not in str(await h.events())
        assert h.demo.real_writes == 0


async def test_other_namespaces_go_on(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        await people.open_security(h.world, LEAD, title="x", reason="y", scopes=("namespace/elsewhere",))
        await approve(h)
        await h.work()
        assert h.demo.real_writes == 1


async def test_approved_and_not_begun_is_cancelled(store: Store) -> None:
    async with harness(store) as h:
        await approved(h)
        await people.secure(h.world, 1, LEAD, reason="a miner runs in it")
        await h.work()
        assert h.demo.real_writes == 0
        assert "PlanVoided" in await h.kinds()


async def test_a_lock_alone_holds_back_what_nobody_cancelled(store: Store) -> None:
    """Cancelling what waits is one guarantee, the look in the transaction that begins a write another."""
    async with harness(store) as h:
        await approved(h)

        def lock(tx: Connection) -> None:
            locks.lock(tx, 1, (NAMESPACE,), reason="a miner", at=h.clock.now())

        await h.world.store.write(lock)
        await h.pass_time(timedelta(minutes=1))
        refused = [event for event in await h.events() if isinstance(event, ev.Refused)]
        assert "G5 security_lock" in str(refused)
        assert "ExecutionStarted" not in await h.kinds()
        assert h.demo.real_writes == 0


async def test_a_write_under_way_is_told_and_the_lock_is_in_force_once_it_has_ended(store: Store) -> None:
    async with harness(store) as h:
        await approved(h)
        await die_sending(h, Fault(kind="drop", method="PATCH", path=PATCH, dry_run=False))
        incident = await people.secure(h.world, 1, LEAD, reason="a miner runs in it")
        turned = next(event for event in await h.events() if isinstance(event, ev.TurnedSecurity))
        assert turned.in_flight == ("P-1",)
        assert incident.lockdown is not None and incident.lockdown.in_force_at is None
        rival = h.rival()
        await rival.work()
        assert "LockInForce" not in await h.kinds()
        await rival.pass_time(timedelta(seconds=120))
        kinds = await h.kinds()
        assert kinds.index("NotDone") < kinds.index("LockInForce")
        # The one that was under way; nothing was sent after it.
        assert h.demo.real_writes == 1


async def test_a_lock_of_another_incident_is_in_force_once_what_was_under_way_there_has_ended(
    store: Store,
) -> None:
    async with harness(store) as h:
        await approved(h)
        await die_sending(h, Fault(kind="drop", method="PATCH", path=PATCH, dry_run=False))
        other = await people.open_security(h.world, LEAD, title="x", reason="y", scopes=(NAMESPACE,))
        rival = h.rival()
        await rival.work()
        assert "LockInForce" not in await h.kinds(other.id)
        await rival.pass_time(timedelta(seconds=120))
        assert "LockInForce" in await h.kinds(other.id)
        assert h.demo.real_writes == 1


async def test_a_no_that_comes_while_the_guards_are_asked_is_in_time(store: Store) -> None:
    async with harness(store) as h:
        await approved(h)
        h.demo.api.faults.add(Fault(kind="delay", seconds=2, method="PATCH", path=PATCH, dry_run=True))
        working = asyncio.create_task(h.work())
        await h.demo.api.calls.until(lambda call: not h.demo.api.faults.pending)
        await people.deny_plan(h.world, "P-1", CAROL, reason="not now")
        await h.clock.advance(timedelta(seconds=5))
        await working
        assert h.demo.real_writes == 0


async def test_what_was_carried_out_is_still_judged_and_never_undone_by_itself(store: Store) -> None:
    async with harness(store, with_scenario="inc-001-not-helping") as h:
        await approved(h)
        await h.work()
        assert h.demo.real_writes == 1
        await people.secure(h.world, 1, LEAD, reason="a miner runs in it")
        await h.pass_time(timedelta(minutes=40), step=timedelta(minutes=1))
        assert "StillSick" in await h.kinds()
        assert h.demo.real_writes == 1


async def test_an_alert_of_its_kind_turns_the_incident_by_its_policy(store: Store) -> None:
    async with harness(store, policies=policies(policy(security=(MINER,)))) as h:
        await h.fall_ill()
        await h.deliver(notification(alert(starts_at=h.clock.now(), with_labels=labels(rule="miner"))))
        await h.work()
        turned = next(event for event in await h.events() if isinstance(event, ev.TurnedSecurity))
        assert (turned.reason, turned.scopes) == (MINER.sign, (NAMESPACE,))
        assert "Planned" not in await h.kinds()


async def test_a_sign_that_is_not_there_turns_nothing(store: Store) -> None:
    async with harness(store, policies=policies(policy(security=(MINER,)))) as h:
        await noticed(h)
        assert "TurnedSecurity" not in await h.kinds()
        assert "Planned" in await h.kinds()


async def test_an_alert_that_joins_later_turns_it_and_once_released_turns_it_no_more(store: Store) -> None:
    async with harness(store, policies=policies(policy(security=(MINER,)))) as h:
        await noticed(h)
        await h.deliver(notification(alert(starts_at=h.clock.now(), with_labels=labels(rule="miner"))))
        await h.work()
        incident = await h.incident()
        assert incident.lockdown is not None and incident.lockdown.reason == MINER.sign
        assert incident.plan is not None and incident.plan.state is PlanState.VOID
        for who in (CAROL, LEAD):
            await people.release(h.world, 1, who, reason="a test of ours")
        await h.pass_time(timedelta(minutes=2))
        await h.deliver(notification(alert(starts_at=h.clock.now(), with_labels=labels(instance="two"))))
        await h.pass_time(timedelta(minutes=2))
        assert (await h.incident()).lockdown is None


async def test_it_is_not_resolved_when_nothing_fires_any_more_and_not_closed(store: Store) -> None:
    async with harness(store) as h:
        started = await noticed(h)
        await locked(h)
        await resolved(h, started)
        await h.pass_time(timedelta(hours=2), step=timedelta(minutes=5))
        assert (await h.incident()).status is not Status.RESOLVED
        with pytest.raises(Conflict, match="release 1 comes first"):
            await people.close(h.world, 1, CAROL, cause="over")


async def test_two_different_people_release_it_one_of_them_a_security_lead(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        await locked(h)
        await people.release(h.world, 1, CAROL, reason="rebuilt")
        with pytest.raises(Conflict, match="a second person"):
            await people.release(h.world, 1, CAROL, reason="rebuilt")
        with pytest.raises(NotAllowed, match="must be a security lead"):
            await people.release(h.world, 1, DAVE, reason="rebuilt")
        await h.work()
        assert (await h.incident()).lockdown is not None
        await people.release(h.world, 1, LEAD, reason="seen")
        await h.work()
        assert (await h.incident()).lockdown is None
        await h.pass_time(timedelta(minutes=2))
        await approve(h, "P-2")
        await h.work()
        assert h.demo.real_writes == 1


async def test_one_account_under_two_names_releases_once(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        await locked(h)
        await people.release(h.world, 1, replace(LEAD, uid="u-1"), reason="seen")
        with pytest.raises(Conflict, match="a second person"):
            await people.release(h.world, 1, replace(LEAD, name="l.new", uid="u-1"), reason="seen")
        await h.work()
        assert (await h.incident()).lockdown is not None


async def test_two_who_release_at_once_both_count(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        await locked(h)
        await asyncio.gather(
            people.release(h.world, 1, CAROL, reason="rebuilt"),
            people.release(h.world, 1, LEAD, reason="rebuilt"),
        )
        await h.work()
        assert (await h.incident()).lockdown is None


async def test_the_lock_of_another_incident_stays(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        await locked(h)
        await people.open_security(h.world, LEAD, title="x", reason="y", scopes=("cluster",))
        for who in (CAROL, LEAD):
            await people.release(h.world, 1, who, reason="rebuilt")
        await h.work()
        await h.pass_time(timedelta(minutes=5))
        assert (await h.kinds()).count("Planned") == 1


async def test_only_its_lead_lowers_it_and_never_below_p1(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        await locked(h)
        with pytest.raises(NotAllowed, match="security lead"):
            await people.set_severity(h.world, 1, CAROL, severity=Severity.P1, reason="small")
        with pytest.raises(Conflict, match="P1 at least"):
            await people.set_severity(h.world, 1, LEAD, severity=Severity.P2, reason="small")


async def test_people_are_told_that_they_are_needed_and_nothing_else(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        await h.tell()
        before = len(h.told.bodies)
        await people.secure(h.world, 1, CAROL, reason="the-secret-sign")
        await h.work()
        await h.tell()
        told = h.told.bodies[before:]
        assert [(body["kind"], body["pages"]) for body in told] == [
            ("TurnedSecurity", True),
            # This service has no folder for it.
            ("EvidenceSealed", False),
        ]
        assert all("restricted incident" in body["text"] for body in told)
        assert "the-secret-sign" not in str(told)
        assert "greenlang" not in str(told)


@pytest.mark.parametrize("scope", list(Scope))
async def test_without_a_namespace_everything_is_locked(store: Store, scope: Scope) -> None:
    sign = SecuritySign("a miner runs in it", None, scope)
    anywhere = policies(policy(security=(sign,)))
    async with harness(store, policies=anywhere) as h:
        await h.fall_ill()
        await h.deliver(notification(alert(starts_at=h.clock.now(), with_labels=labels(namespace=""))))
        await h.work()
        turned = next(event for event in await h.events() if isinstance(event, ev.TurnedSecurity))
        assert turned.scopes == ("cluster",)
