"""Two transactions that each look first and write then: only one of them may be right."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

from builders import CAROL, DAVE, alert, labels, notification, policies, policy
from harness import harness
from sqlalchemy import Connection, insert
from stories import approve, approved, noticed

from receiver.domain.plans import ApprovalRule, Risk
from receiver.pipeline import people
from receiver.store import claims, effects
from receiver.store.engine import Store, pass_gate
from receiver.store.schema import security_locks


async def test_two_approvers_at_a_quorum_of_two_approve_together(store: Store) -> None:
    rule = ApprovalRule(groups=("sre",), count=2)
    async with harness(store, policies=policies(policy(approve={Risk.DISRUPTIVE: rule}))) as h:
        await noticed(h)
        await asyncio.gather(
            people.approve_plan(h.world, "P-1", CAROL, digest=None, reason=""),
            people.approve_plan(h.world, "P-1", DAVE, digest=None, reason=""),
        )
        incident = await h.incident()
        assert incident.plan is not None
        assert incident.plan.state.value == "approved"
        assert set(incident.plan.approvals) == {"carol", "dave"}


async def test_a_lock_and_an_execution_cannot_both_be_first(store: Store) -> None:
    async with harness(store) as h:
        await approved(h)

        def lock(tx: Connection) -> None:
            pass_gate(tx)
            tx.execute(insert(security_locks).values(scope="namespace/greenlang", reason="INC-007", at=0.0))

        await asyncio.gather(h.work(), h.world.store.write(lock))
        started = (await h.kinds()).count("ExecutionStarted")
        refused = [event for event in await h.events() if event.event == "Refused"]
        # Whichever was first: sent before the lock, or refused because of it; never both, never neither.
        assert started + len(refused) == 1
        assert h.demo.real_writes == started


async def test_two_workers_start_one_execution(store: Store) -> None:
    async with harness(store) as h:
        await approved(h)
        rivals = [h, *(h.rival() for _ in range(4))]
        await asyncio.gather(*(one.work() for one in rivals))
        assert (await h.kinds()).count("ExecutionStarted") == 1
        assert h.demo.real_writes == 1


async def test_a_signal_on_a_leased_incident_starts_no_second_worker_and_is_not_lost(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        await approve(h)
        now = h.clock.now()
        taken = await h.world.store.write(
            lambda tx: claims.claim(tx, owner="first", now=now, lease=timedelta(seconds=5), limit=5)
        )
        assert len(taken) == 1
        await h.world.store.write(lambda tx: claims.make_due(tx, [1], now=now))
        second = await h.world.store.write(
            lambda tx: claims.claim(tx, owner="second", now=now, lease=timedelta(seconds=5), limit=5)
        )
        assert second == []
        await people.note(h.world, 1, CAROL, text="looking")
        due = now + timedelta(hours=1)
        token = taken[0].lease_token
        await h.world.store.write(lambda tx: claims.give_back(tx, 1, token=token + 1, due_at=due))
        still = await h.world.store.read(claims.owners_alive)
        assert still == ["first"]


async def test_one_target_takes_one_change_at_a_time(store: Store) -> None:
    async with harness(store) as h:
        now = h.clock.now()

        def take(plan: str) -> Callable[[Connection], str | None]:
            return lambda tx: effects.take_target(
                tx, target="Deployment/greenlang/greenlang-api", plan_id=plan, incident_id=1, at=now
            )

        holders = await asyncio.gather(*(h.world.store.write(take(f"P-{n}")) for n in range(8)))
        assert list(holders).count(None) == 1
        assert len({holder for holder in holders if holder is not None}) == 1


async def test_labels_of_another_cluster_are_not_acted_on(store: Store) -> None:
    async with harness(store) as h:
        await h.fall_ill()
        body = notification(alert(starts_at=h.clock.now(), with_labels=labels(cluster="other")))
        await h.deliver(body)
        await h.work()
        nothing = [event for event in await h.events() if event.event == "NothingApplies"]
        assert "G0 not_ours" in str(nothing[0])
