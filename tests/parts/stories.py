"""Beginnings that many tests share: a bad release that is noticed, planned for, approved, rolled back."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from builders import CAROL, alert, notification
from harness import Harness
from sqlalchemy import Connection

from receiver.demo.kubernetes import Fault
from receiver.domain.incidents import Incident
from receiver.pipeline import people
from receiver.store import claims


async def noticed(h: Harness) -> datetime:
    """The bad release is out, its alert arrived and was worked on; when the alert started."""
    await h.fall_ill()
    started = h.clock.now()
    await h.deliver(notification(alert(starts_at=started)))
    await h.work()
    return started


async def approve(h: Harness, plan_id: str = "P-1") -> None:
    """Carol says yes; nothing was carried out yet."""
    await people.approve_plan(h.world, plan_id, CAROL, digest=None, reason="the release is bad")


async def approved(h: Harness) -> datetime:
    """Noticed, and approved; the execution is due."""
    started = await noticed(h)
    await approve(h)
    return started


async def rolled_back(h: Harness) -> datetime:
    """Approved and carried out; the rollout has begun."""
    started = await approved(h)
    await h.work()
    return started


async def resolved(h: Harness, started: datetime) -> None:
    """Alertmanager says that the alert ended."""
    await h.deliver(notification(alert(status="resolved", starts_at=started, ends_at=h.clock.now())))
    await h.work()


async def end_leases(h: Harness) -> None:
    """As if the owner had died a lease ago."""

    def body(tx: Connection) -> None:
        claims.expire_leases_of(tx, claims.owners_alive(tx))
        claims.make_due(tx, None, now=h.clock.now())

    await h.world.store.write(body)


async def die_sending(h: Harness, fault: Fault) -> None:
    """Send what is approved into this fault, and vanish before its outcome is known."""
    h.demo.api.faults.add(fault)
    working = asyncio.create_task(h.work())
    await h.demo.api.calls.until(lambda call: call.method == "PATCH" and not call.dry_run)
    for task in list(h.worker._tasks):
        task.cancel()
    await asyncio.gather(working, *h.worker._tasks, return_exceptions=True)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    await end_leases(h)


async def until_state(h: Harness, state: str, *, within: timedelta = timedelta(minutes=40)) -> Incident:
    """Let time pass until the plan is in this state."""
    end = h.clock.now() + within
    while h.clock.now() < end:
        incident = await h.incident()
        if incident.plan is not None and incident.plan.state.value == state:
            return incident
        await h.pass_time(timedelta(seconds=15))
    raise AssertionError(f"never {state}; the timeline is {await h.kinds()}")
