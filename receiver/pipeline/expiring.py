"""A mitigation is no cure: when its time is over, somebody is asked to put it back, and asked again each day.

It is never put back by itself: what it held off may still be there. That its incident was resolved
meanwhile is the usual case and does not matter.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection

from receiver.announce.messages import mitigation_left
from receiver.domain import events as ev
from receiver.domain.durations import in_words
from receiver.domain.incidents import PlanState
from receiver.pipeline.recording import record, tell
from receiver.pipeline.world import World
from receiver.store import mitigations, timeline
from receiver.store.effects import StoredPlan
from receiver.store.engine import pass_gate

ASK_AGAIN = timedelta(hours=24)
# Its verdict, or a decision about it, is about to come.
LOOK_AGAIN = timedelta(minutes=5)
AT_ONCE = 50
# What it changed is there, and nobody is doing anything about it.
_STANDS = (PlanState.VERIFIED, PlanState.STILL_SICK, PlanState.INCONCLUSIVE, PlanState.UNDO_ASKED)


async def expire(world: World) -> int:
    """Ask about every mitigation whose time is over; how many."""
    now = world.clock.now()
    over = await world.store.read(lambda tx: mitigations.due(tx, now=now, limit=AT_ONCE))
    for stored in over:
        await world.store.write(lambda tx, stored=stored: _ask(tx, world, stored))  # type: ignore[misc]
    return len(over)


def _ask(tx: Connection, world: World, stored: StoredPlan) -> None:
    pass_gate(tx)
    now = world.clock.now()
    held = timeline.lock(tx, stored.plan.incident_id)
    due = mitigations.expiry_of(tx, stored.plan_id)
    if due is None or due > now:
        return
    progress = held.incident.plan
    lasted = in_words(stored.plan.expires) if stored.plan.expires is not None else "its time"
    if progress is None or progress.plan_id != stored.plan_id:
        mitigations.set_expiry(tx, stored.plan_id, now + ASK_AGAIN)
        # The incident has another plan, so this one cannot be undone through it any more.
        key = f"mitigation/{stored.plan_id}/{int(now.timestamp())}"
        tell(world, tx, mitigation_left(stored.plan_id, stored.plan), key=key)
    elif progress.state in _STANDS:
        mitigations.set_expiry(tx, stored.plan_id, now + ASK_AGAIN)
        event = ev.MitigationExpired(stored.plan_id, f"{lasted} are over: {stored.plan.summary}")
        record(world, tx, held, (event,), actor=world.owner, due_at=now)
    else:
        mitigations.set_expiry(tx, stored.plan_id, now + LOOK_AGAIN)
