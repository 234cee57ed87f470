"""Every change of an incident is written here: events, snapshot, due time, and what people are told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from receiver.announce.messages import as_json, messages
from receiver.domain import events as ev
from receiver.domain.incidents import OVER, WAITING, PlanProgress, PlanState
from receiver.domain.locks import RESTRICTED
from receiver.domain.outcomes import Outcome, outcome_of
from receiver.domain.plans import Plan
from receiver.pipeline.world import World
from receiver.policy.next_step import cancelled
from receiver.store import effects, locks, mitigations, outbox, timeline
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
    events = [_with_those_in_flight(tx, event) for event in events]
    first = held.incident.last_seq + 1
    before = held.incident.plan
    held = timeline.append(tx, held, events, at=now, actor=actor, due_at=due_at, release=release)
    for event in events:
        if isinstance(event, _FREES_TARGET):
            effects.free_target(tx, event.plan_id)
    progress = held.incident.plan
    if progress is not None:
        _keep_score(tx, progress, events, now)
        _keep_expiry(tx, before, progress, events, now)
    if events and progress is not None and progress.state in OVER:
        # Settled by a person, closed, or over for any other reason: nothing of it is under way.
        effects.free_target(tx, progress.plan_id)
    for event in events:
        if isinstance(event, ev.TurnedSecurity):
            _lock_down(world, tx, held, event)
        elif isinstance(event, ev.SecurityReleased):
            locks.lift(tx, held.incident.id, at=now)
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


def _with_those_in_flight(tx: Connection, event: ev.Event) -> ev.Event:
    """A lock names the writes that were under way when it was set; the gate holds back new ones meanwhile."""
    if not isinstance(event, ev.TurnedSecurity):
        return event
    return replace(event, in_flight=locks.in_flight(tx, event.scopes))


def _lock_down(world: World, tx: Connection, held: Locked, event: ev.TurnedSecurity) -> None:
    """No write to its scopes begins from here on, and what waited to be one is cancelled with the reason."""
    now = world.clock.now()
    mine = held.incident.id
    locks.lock(tx, mine, event.scopes, reason=event.reason, at=now)
    for stored in locks.waiting(tx, event.scopes):
        if stored.plan.incident_id == mine:
            continue
        other = timeline.lock(tx, stored.plan.incident_id)
        progress = other.incident.plan
        if progress is not None and progress.plan_id == stored.plan_id and progress.state in WAITING:
            reason = f"a security lock covers {stored.plan.target}: {RESTRICTED} {mine}"
            record(world, tx, other, (cancelled(progress, reason),), actor=world.owner, due_at=now)


def tell(world: World, tx: Connection, body: Mapping[str, object], *, key: str) -> None:
    """Post something that is about no incident to every destination that wants it."""
    now = world.clock.now()
    for place in world.destinations:
        if place.wants(body):
            outbox.post(
                tx, key=f"{key}/{place.name}", destination=place.name, incident_id=None, body=body, at=now
            )


def _keep_score(tx: Connection, plan: PlanProgress, events: Sequence[ev.Event], now: datetime) -> None:
    """What the events say of the plan's worth; most say nothing."""
    outcome: Outcome | None = None
    approved_at: datetime | None = None
    executed_at: datetime | None = None
    for event in events:
        outcome = outcome_of(event, plan) or outcome
        if isinstance(event, ev.Approved):
            approved_at = now
        elif isinstance(event, ev.Executed) or (isinstance(event, ev.EffectSettled) and _was_made(event)):
            executed_at = now
    effects.note_outcome(tx, plan.plan_id, approved_at=approved_at, executed_at=executed_at, outcome=outcome)


def _was_made(event: ev.EffectSettled) -> bool:
    """Whether a person found the plan's own change there; an undo that was settled has no receipt."""
    return event.done and event.receipt is not None


def _keep_expiry(
    tx: Connection,
    before: PlanProgress | None,
    plan: PlanProgress,
    events: Sequence[ev.Event],
    now: datetime,
) -> None:
    """A change that expires does so from when all of it is there until it is put back or kept.

    By the plan's state and not by one event: its last step may have been found done, by us or by a person.
    """
    was = before.state if before is not None and before.plan_id == plan.plan_id else None
    if plan.state is PlanState.EXECUTED and was is not PlanState.EXECUTED:
        expires = effects.load_plan(tx, plan.plan_id).plan.expires
        if expires is not None:
            mitigations.set_expiry(tx, plan.plan_id, now + expires)
    elif (plan.state is PlanState.UNDONE and was is not PlanState.UNDONE) or any(
        isinstance(event, ev.MitigationKept) for event in events
    ):
        mitigations.set_expiry(tx, plan.plan_id, None)
