"""What people say about isolating: this pod, that node, yes, no. Raises Conflict, NotAllowed and NotFound.

Whoever responds may ask for an isolation; a yes is a security lead's, after five minutes a deputy's too. One
who asks has not said yes: what it changes, and what it does not do, is shown first.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection

from receiver.domain import events as ev
from receiver.domain.errors import Conflict, NotAllowed, NotFound
from receiver.domain.incidents import Incident
from receiver.domain.isolation import BY_HAND, STANDING, Isolating, IsolationState, Wanted
from receiver.domain.plans import NotApplicable
from receiver.pipeline.entitling import must
from receiver.pipeline.isolating import plan_of
from receiver.pipeline.people import (
    RESPONDERS,
    responds,
    security_deputies,
    security_leads,
    security_readers,
)
from receiver.pipeline.recording import record
from receiver.pipeline.world import World
from receiver.policy import isolating as rules
from receiver.policy.approval import Identity
from receiver.policy.rights import Verb
from receiver.store import isolations, timeline
from receiver.store.engine import pass_gate
from receiver.store.timeline import Locked

# Whoever may not read it does not learn from a refusal what is isolated, or which pods there are.
UNTOLD = "it cannot be asked for; those with the right see why"
_OVER = (
    IsolationState.DENIED,
    IsolationState.FAILED,
    IsolationState.LIFTED,
    IsolationState.RELEASED,
)


async def isolate(world: World, incident_id: int, who: Identity, wanted: Wanted, *, reason: str) -> Incident:
    """Plan this isolation for a security incident, and ask for a yes to it.

    Raises TemporaryError and PermanentError as well, where what it is about cannot be read.
    """
    if not reason.strip():
        raise Conflict("isolating needs a reason")
    await must(world, who, Verb.RESPOND)
    if not responds(who, RESPONDERS | security_readers(world)):
        raise NotAllowed(f"{who.name} may not ask for an isolation")
    reads = bool(security_readers(world) & set(who.groups))
    await world.store.read(lambda tx: _must_be_locked(timeline.load(tx, incident_id)))
    plan = await plan_of(world, incident_id, wanted)
    if isinstance(plan, NotApplicable):
        raise Conflict(plan.reason if reads else UNTOLD)
    plan = plan.asked_for(who.name, reason[:2000])

    def body(tx: Connection) -> Incident:
        held = _locked(tx, incident_id)
        if (why := rules.outside(held.incident, plan)) is not None:
            raise Conflict(why if reads else UNTOLD)
        for one in held.incident.isolations:
            same = (one.act, one.target.uid) == (plan.act, plan.target.uid)
            # What stands of these is a person's to take away, and whether it is gone the cluster tells.
            done = (*_OVER, *STANDING) if one.act in BY_HAND else _OVER
            if same and one.state not in done:
                said = f"{one.id} does that already; its state: {one.state.value}"
                raise Conflict(said if reads else UNTOLD)
        now = world.clock.now()
        number = isolations.add(tx, plan, at=now)
        events = (rules.planned(number, plan), ev.IsolationAsked(number, round=1))
        return record(world, tx, held, events, actor=who.name, due_at=now).incident

    return await world.store.write(body)


async def approve_isolation(
    world: World, isolation_id: str, who: Identity, *, digest: str | None, reason: str
) -> Incident:
    """A yes to exactly this isolation; ``digest`` None means the one that is shown now."""
    await must(world, who, Verb.APPROVE_SECURITY)

    def answer(one: Isolating) -> ev.Event:
        if one.state is not IsolationState.ASKED:
            raise Conflict(f"{one.id} is not waiting for an approval; its state: {one.state.value}")
        refusal = rules.may_answer(
            one, who.groups, leads=security_leads(world), deputies=security_deputies(world)
        )
        if refusal is not None:
            raise NotAllowed(refusal)
        if digest is not None and digest != one.digest:
            raise Conflict(
                f"{one.id} is {one.digest[:12]}, not {digest[:12]}; look at it and approve that one"
            )
        return ev.IsolationApproved(
            one.id,
            one.digest,
            who.name,
            reason[:2000],
            groups=who.groups,
            known_by=who.known_by.value,
            uid=who.uid,
        )

    return await world.store.write(_answering(world, isolation_id, who, answer))


async def deny_isolation(world: World, isolation_id: str, who: Identity, *, reason: str) -> Incident:
    """A no; it wins until the write was sent."""
    if not reason.strip():
        raise Conflict("a denial needs a reason")
    await must(world, who, Verb.DENY)

    def answer(one: Isolating) -> ev.Event:
        if not (security_leads(world) | security_deputies(world)) & set(who.groups):
            raise NotAllowed(f"{one.id} takes a security lead or a deputy")
        if one.state in STANDING:
            raise Conflict(f"{one.id} is done; it is taken back on release, if both people ask for it")
        if one.state not in (IsolationState.ASKED, IsolationState.APPROVED):
            raise Conflict(f"{one.id} is {one.state.value}")
        return ev.IsolationDenied(one.id, who.name, reason[:2000])

    return await world.store.write(_answering(world, isolation_id, who, answer))


def _answering(
    world: World, isolation_id: str, who: Identity, answer: Callable[[Isolating], ev.Event]
) -> Callable[[Connection], Incident]:
    def body(tx: Connection) -> Incident:
        held = _locked(tx, isolations.load(tx, isolation_id).incident_id)
        number = isolations.number_of(isolation_id)
        one = next((each for each in held.incident.isolations if each.id == f"S-{number}"), None)
        if one is None:
            raise NotFound(f"there is no isolation {isolation_id}")
        event = answer(one)
        return record(world, tx, held, (event,), actor=who.name, due_at=world.clock.now()).incident

    return body


def _locked(tx: Connection, incident_id: int) -> Locked:
    pass_gate(tx)
    held = timeline.lock(tx, incident_id)
    _must_be_locked(held.incident)
    return held


def _must_be_locked(incident: Incident) -> None:
    if incident.lockdown is None:
        raise Conflict(f"incident {incident.id} is no security incident; stanch incidents secure comes first")
