"""A mitigation is no cure: when its time is over, or its condition has come, a person is asked to undo it.

They are asked again each day. It is never put back by itself: what it held off may still be there. That its
incident was resolved meanwhile is the usual case and does not matter.

Addresses that were shut out have a time as well. Nothing of ours can take that back, so it is told once how a
person does, also where the incident was released long ago.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

from receiver.announce.messages import mitigation_left
from receiver.domain import events as ev
from receiver.domain.durations import in_words
from receiver.domain.incidents import Incident, PlanState
from receiver.domain.isolation import LONGEST_BLOCK, STANDING, IsolationPlan
from receiver.domain.plans import Ends
from receiver.pipeline.measuring import measure, points_of
from receiver.pipeline.recording import record, tell
from receiver.pipeline.world import World
from receiver.policy.verification import no_longer_needed
from receiver.store import isolations, mitigations, timeline
from receiver.store.effects import StoredPlan
from receiver.store.engine import pass_gate

ASK_AGAIN = timedelta(hours=24)
# Its verdict, or a decision about it, is about to come.
LOOK_AGAIN = timedelta(minutes=5)
AT_ONCE = 50
# What it changed is there, and nobody is doing anything about it.
_UNASKED = (PlanState.VERIFIED, PlanState.STILL_SICK, PlanState.INCONCLUSIVE)
_STANDS = (*_UNASKED, PlanState.UNDO_ASKED)


async def expire(world: World) -> int:
    """Ask about every mitigation whose time is over or whose condition has come; how many."""
    now = world.clock.now()
    over = await world.store.read(lambda tx: mitigations.due(tx, now=now, limit=AT_ONCE))
    for stored in over:
        await world.store.write(lambda tx, stored=stored: _ask_in_time(tx, world, stored))  # type: ignore[misc]
    early = 0
    for stored in await world.store.read(lambda tx: mitigations.standing(tx, limit=AT_ONCE)):
        ends = stored.plan.ends
        if ends is not None and await _came(world, ends, now):
            early += await world.store.write(lambda tx, stored=stored: _ask_early(tx, world, stored))  # type: ignore[misc]
    return len(over) + early


async def end_blocks(world: World) -> int:
    """Tell of everything that was isolated until a moment that has come; of how many."""
    now = world.clock.now()

    def over(tx: Connection) -> list[tuple[str, IsolationPlan]]:
        # Twice: between asking and the end lie at most that long, and we may have been away.
        known = isolations.by_hand(tx, since=now - 2 * LONGEST_BLOCK)
        return [
            (number, plan)
            for number, plan in known
            if plan.wanted.until is not None
            and plan.wanted.until <= now
            and _is_untold(timeline.load(tx, plan.incident_id), number, plan)
        ]

    told = await world.store.read(over)
    for number, plan in told:
        await world.store.write(
            lambda tx, number=number, plan=plan: _tell_of_its_end(tx, world, number, plan)  # type: ignore[misc]
        )
    return len(told)


def _is_untold(incident: Incident, number: str, plan: IsolationPlan) -> bool:
    standing = any(one.id == number and one.state in STANDING for one in incident.isolations)
    return standing and _its_end(number, plan) not in incident.escalated


def _its_end(number: str, plan: IsolationPlan) -> str:
    return f"{number} is over its time; where it is still there, {plan.undo_sentence}"


def _tell_of_its_end(tx: Connection, world: World, number: str, plan: IsolationPlan) -> None:
    pass_gate(tx)
    held = timeline.lock(tx, plan.incident_id)
    # Another replica may have told it meanwhile.
    if _is_untold(held.incident, number, plan):
        events = (ev.Escalated(_its_end(number, plan)),)
        record(world, tx, held, events, actor=world.owner, due_at=world.clock.now())


async def _came(world: World, ends: Ends, now: datetime) -> bool:
    start = now - ends.held_for
    measured = await measure(world.prometheus, ends.queries, start=start, end=now, step=ends.every)
    points = points_of(measured, start=start, end=now, step=ends.every)
    return no_longer_needed(ends, points, now)


def _ask_in_time(tx: Connection, world: World, stored: StoredPlan) -> None:
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
        _ask(tx, world, held, stored, f"{lasted} are over")
    else:
        mitigations.set_expiry(tx, stored.plan_id, now + LOOK_AGAIN)


def _ask_early(tx: Connection, world: World, stored: StoredPlan) -> int:
    """1 where somebody was asked: only about the incident's own plan, and not while that question waits."""
    pass_gate(tx)
    held = timeline.lock(tx, stored.plan.incident_id)
    progress, ends = held.incident.plan, stored.plan.ends
    if ends is None or mitigations.expiry_of(tx, stored.plan_id) is None:
        return 0
    if progress is None or progress.plan_id != stored.plan_id or progress.state not in _UNASKED:
        return 0
    _ask(tx, world, held, stored, str(ends))
    return 1


def _ask(tx: Connection, world: World, held: timeline.Locked, stored: StoredPlan, because: str) -> None:
    now = world.clock.now()
    mitigations.set_expiry(tx, stored.plan_id, now + ASK_AGAIN)
    event = ev.MitigationExpired(stored.plan_id, f"{because}: {stored.plan.summary}")
    record(world, tx, held, (event,), actor=world.owner, due_at=now)
