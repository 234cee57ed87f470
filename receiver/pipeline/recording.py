"""Every change of an incident is written here: events, snapshot, due time, and what people are told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection

from receiver.announce.messages import as_json, messages
from receiver.domain import events as ev
from receiver.domain.incidents import OVER, PlanProgress
from receiver.domain.outcomes import Outcome, outcome_of
from receiver.domain.plans import Plan
from receiver.pipeline.world import World
from receiver.store import effects, mitigations, outbox, timeline
from receiver.store.timeline import Locked

# After these the target is free for the next candidate; an unknown effect keeps it.
_FREES_TARGET = (
    ev.Verified,
    ev.StillSick,
    ev.Inconclusive,
    ev.Undone,
    ev.NotDone,
    ev.AlreadySo,
    ev.Denied,
    ev.PlanVoided,
)


def record(
    world: World,
    tx: Connection,
    held: Locked,
    events: Sequence[ev.Event],
    *,
    actor: str,
    due_at: datetime | None,
    release: bool = False,
    plan: Plan | None = None,
) -> Locked:
    """Append the events with everything that follows from them, in this transaction."""
    now = world.clock.now()
    first = held.incident.last_seq + 1
    held = timeline.append(tx, held, events, at=now, actor=actor, due_at=due_at, release=release)
    for event in events:
        if isinstance(event, _FREES_TARGET):
            effects.free_target(tx, event.plan_id)
    progress = held.incident.plan
    _keep_score(tx, progress, events, now)
    if events and progress is not None and progress.state in OVER:
        # Settled by a person, closed, or over for any other reason: nothing of it is under way.
        effects.free_target(tx, progress.plan_id)
    incident = held.incident
    if (
        plan is None
        and incident.plan is not None
        and any(isinstance(event, ev.ApprovalRequested) for event in events)
    ):
        plan = effects.load_plan(tx, incident.plan.plan_id).plan
    for seq, event in enumerate(events, start=first):
        for message in messages(incident, [event], plan, base_url=world.place.base_url):
            body = as_json(message)
            cause = f"inc-{incident.id}/e{incident.epoch}/{event.event}/{seq}"
            for destination in world.destinations:
                if destination.wants(body):
                    name = destination.name
                    key = f"{cause}/{name}"
                    outbox.post(tx, key=key, destination=name, incident_id=incident.id, body=body, at=now)
    return held


def tell(world: World, tx: Connection, body: Mapping[str, object], *, key: str) -> None:
    """Post something that is about no incident to every destination that wants it."""
    now = world.clock.now()
    for place in world.destinations:
        if place.wants(body):
            outbox.post(
                tx, key=f"{key}/{place.name}", destination=place.name, incident_id=None, body=body, at=now
            )


def _keep_score(tx: Connection, plan: PlanProgress | None, events: Sequence[ev.Event], now: datetime) -> None:
    """What the events say of the plan's worth; most say nothing."""
    if plan is None:
        return
    outcome: Outcome | None = None
    approved_at: datetime | None = None
    executed_at: datetime | None = None
    for event in events:
        outcome = outcome_of(event, plan) or outcome
        if isinstance(event, ev.Approved):
            approved_at = now
        elif isinstance(event, ev.Executed):
            executed_at = now
        if isinstance(event, ev.Executed) and event.last:
            expires = effects.load_plan(tx, event.plan_id).plan.expires
            if expires is not None:
                mitigations.set_expiry(tx, event.plan_id, now + expires)
        elif isinstance(event, ev.Undone | ev.MitigationKept):
            mitigations.set_expiry(tx, event.plan_id, None)
    effects.note_outcome(tx, plan.plan_id, approved_at=approved_at, executed_at=executed_at, outcome=outcome)
