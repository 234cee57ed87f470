"""What people say: approve, deny, settle, undo, acknowledge, close, note, pause, resume.

Each is one transaction that passes the gate first, so that two answers, an answer and a kill switch, or an
answer and an execution cannot both be first. Raises Conflict, NotAllowed and NotFound with words that say
what to do.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import structlog
from sqlalchemy import Connection

from receiver.clients.cluster import marker_of
from receiver.domain import events as ev
from receiver.domain.errors import AnotherPlan, Conflict, NotAllowed, Unavailable
from receiver.domain.incidents import IN_FLIGHT, Incident, PlanProgress, PlanState
from receiver.domain.locks import widest
from receiver.domain.persons import person_of
from receiver.domain.plans import Receipt
from receiver.domain.severity import Severity
from receiver.pipeline.entitling import Entitled, must, must_approve, must_break_glass, must_have
from receiver.pipeline.recording import record
from receiver.pipeline.world import World
from receiver.policy.approval import (
    BREAK_GLASS,
    Answer,
    Identity,
    KnownBy,
    approve,
    may_approve,
    why_not_break_glass,
)
from receiver.policy.approval import break_glass as glass_broken
from receiver.policy.rights import Verb, to_deny
from receiver.store import claims, effects, switches, timeline
from receiver.store.effects import StoredPlan, Vote
from receiver.store.engine import pass_gate
from receiver.store.timeline import Locked

log = structlog.get_logger(__name__)

# Who may do what beside approving, where a plan's own rule does not say it.
RESPONDERS = frozenset({"oncall", "sre", "sre-lead", "incident-commander"})
# The names in Approvers files of who leads security incidents, and of who does where no lead answers.
SECURITY_LEAD = "security-lead"
SECURITY_DEPUTY = "security-deputy"
# How many refused answers one incident's timeline keeps; the log has them all.
MOST_REFUSALS = 20


@dataclass(frozen=True)
class Answered:
    """What an answer led to."""

    incident: Incident
    plan_id: str
    state: str
    approvals: int
    needed: int
    # What the approver could not do by hand, and the policy lets pass.
    waived: tuple[str, ...] = ()


async def approve_plan(
    world: World, plan_id: str, who: Identity, *, digest: str | None, reason: str
) -> Answered:
    """One person's yes to exactly this plan. ``digest`` None means the one that is shown now."""
    async with _answered_to(world, plan_id, who) as stored:
        entitled = await must_approve(world, who, stored.plan)
        return await world.store.write(
            _answering(world, stored.plan_id, who, digest, reason, "approve", entitled)
        )


async def deny_plan(world: World, plan_id: str, who: Identity, *, reason: str) -> Answered:
    """One person's no; it wins until the execution has begun."""
    if not reason.strip():
        raise Conflict("a denial needs a reason")
    async with _answered_to(world, plan_id, who) as stored:
        await must_have(world, who, to_deny(stored.plan))
        return await world.store.write(
            _answering(world, stored.plan_id, who, None, reason, "deny", Entitled())
        )


@asynccontextmanager
async def _answered_to(world: World, plan_id: str, who: Identity) -> AsyncIterator[StoredPlan]:
    """Around somebody's answer to this plan: a refusal of it is noted before it goes on."""
    stored = await world.store.read(lambda tx: effects.load_plan(tx, plan_id))
    try:
        yield stored
    except (NotAllowed, AnotherPlan) as refusal:
        await _note_refusal(world, stored, who, str(refusal))
        raise


async def _note_refusal(world: World, stored: StoredPlan, who: Identity, why: str) -> None:
    """Write down who tried; a store that is away takes nothing from the answer."""
    log.warning(
        "an answer was refused",
        event_code="answer_refused",
        plan=stored.plan_id,
        by=who.name,
        known_by=who.known_by.value,
        why=why,
    )

    def body(tx: Connection) -> None:
        held = timeline.lock(tx, stored.plan.incident_id)
        record(world, tx, held, (event,), actor=who.name, due_at=world.clock.now())

    event = ev.AnswerRefused(stored.plan_id, who.name, who.known_by.value, why)
    try:
        noted = await world.store.read(
            lambda tx: timeline.events_of(tx, stored.plan.incident_id, "AnswerRefused")
        )
        known = {(one.plan_id, one.by) for one in noted if isinstance(one, ev.AnswerRefused)}
        # Once for each person and plan: somebody who tries again and again must not hide the others.
        if len(known) < MOST_REFUSALS and (event.plan_id, event.by) not in known:
            await world.store.write(body)
    except Unavailable:
        return


def _answering(
    world: World,
    plan_id: str,
    who: Identity,
    digest: str | None,
    reason: str,
    decision: str,
    entitled: Entitled,
) -> Callable[[Connection], Answered]:
    def body(tx: Connection) -> Answered:
        stored, held = _held_plan(tx, plan_id)
        progress = _current(held.incident, stored)
        now = world.clock.now()
        deniable = (
            PlanState.PLANNED,
            PlanState.AWAITING,
            PlanState.SUSPENDED,
            PlanState.APPROVED,
            PlanState.EXPIRED,
        )
        if decision == "deny" and progress.state in deniable:
            _must_respond(who, stored, "deny")
            return _answered(world, tx, held, stored, (ev.Denied(stored.plan_id, who.name, reason),), who)
        if progress.state is not PlanState.AWAITING:
            hint = f"; to put it back: stanch plans undo {stored.plan_id}" if progress.receipts else ""
            raise Conflict(f"{stored.plan_id} is {progress.state.value}, not waiting for an approval{hint}")
        if progress.expires_at is not None and now >= progress.expires_at:
            raise Conflict(
                f"the request for {stored.plan_id} expired; it is asked again while the alert fires"
            )
        wanted = stored.plan.digest
        if digest is not None and digest != wanted:
            raise AnotherPlan(
                f"{stored.plan_id} is another plan now ({wanted[:12]}); look at it and approve that one"
            )
        if (refusal := may_approve(stored.plan.approval, who, stored.plan, reason=reason)) is not None:
            raise NotAllowed(refusal)
        if paused := switches.paused(tx, stored.plan.policy):
            raise Conflict(f"paused: {'; '.join(paused)}; resume first")
        effects.add_vote(
            tx,
            stored.plan_id,
            round_=progress.round,
            digest=wanted,
            vote=Vote(who.name, who.groups, "approve", reason, now, who.known_by.value, who.uid),
        )
        answers = [
            Answer(vote.subject, vote.groups, vote.decision, vote.uid)
            for vote in effects.votes(tx, stored.plan_id, round_=progress.round)
        ]
        given = ev.ApprovalGiven(
            stored.plan_id,
            wanted,
            who.name,
            reason,
            known_by=who.known_by.value,
            right=entitled.right,
            waived=entitled.waived,
        )
        events: tuple[ev.Event, ...] = (given,)
        approved = approve(
            stored.plan_id, stored.plan, answers, digest=wanted, now=now, expires_at=progress.expires_at
        )
        if approved is not None:
            events += (ev.Approved(stored.plan_id, wanted, approved.approved_by, approved.execute_before),)
        return replace(_answered(world, tx, held, stored, events, who), waived=entitled.waived)

    return body


async def break_glass(world: World, plan_id: str, who: Identity, *, digest: str, reason: str) -> Answered:
    """One person has this plan carried out on their own word, at once, and everybody is told."""
    async with _answered_to(world, plan_id, who) as stored:
        entitled = await must_break_glass(world, who, stored.plan)
        return await world.store.write(_breaking(world, stored.plan_id, who, digest, reason, entitled))


def _breaking(
    world: World, plan_id: str, who: Identity, digest: str, reason: str, entitled: Entitled
) -> Callable[[Connection], Answered]:
    def body(tx: Connection) -> Answered:
        stored, held = _held_plan(tx, plan_id)
        progress, plan, now = _current(held.incident, stored), stored.plan, world.clock.now()
        if held.incident.lockdown is not None:
            raise Conflict(f"incident {held.incident.id} is a security incident: nothing is healed in it")
        if progress.state is not PlanState.AWAITING:
            raise Conflict(f"{stored.plan_id} is {progress.state.value}, not waiting for an approval")
        if digest != plan.digest:
            raise AnotherPlan(f"{stored.plan_id} is another plan now ({plan.digest[:12]}); look at it first")
        if (refusal := why_not_break_glass(plan, held.incident.severity, reason=reason)) is not None:
            raise NotAllowed(refusal)
        if paused := switches.paused(tx, plan.policy):
            raise Conflict(f"paused: {'; '.join(paused)}; resume first")
        approved = glass_broken(stored.plan_id, plan, who, digest=digest, now=now)
        vote = Vote(who.name, who.groups, BREAK_GLASS, reason, now, who.known_by.value, who.uid)
        effects.add_vote(tx, stored.plan_id, round_=progress.round, digest=digest, vote=vote)
        instead = f"{plan.approval.count} of {', '.join(plan.approval.groups) or 'nobody'}"
        broken = ev.GlassBroken(
            stored.plan_id, digest, who.name, reason, who.known_by.value, instead, entitled.waived
        )
        told = ev.Approved(stored.plan_id, digest, approved.approved_by, approved.execute_before)
        return replace(_answered(world, tx, held, stored, (broken, told), who), waived=entitled.waived)

    return body


def _answered(
    world: World,
    tx: Connection,
    held: Locked,
    stored: StoredPlan,
    events: tuple[ev.Event, ...],
    who: Identity,
) -> Answered:
    held = record(world, tx, held, events, actor=who.name, due_at=world.clock.now())
    progress = held.incident.plan
    return Answered(
        incident=held.incident,
        plan_id=stored.plan_id,
        state=progress.state.value if progress is not None else "",
        approvals=len(progress.approvals) if progress is not None else 0,
        needed=stored.plan.approval.count,
    )


async def settle_effect(world: World, plan_id: str, who: Identity, *, done: bool, reason: str) -> Incident:
    """A person looked at the object and says whether the write happened; the target is free again then."""
    if not reason.strip():
        raise Conflict("settling needs a reason: what did you see?")
    plan = (await world.store.read(lambda tx: effects.load_plan(tx, plan_id))).plan
    await must_approve(world, who, plan)

    def body(tx: Connection) -> Incident:
        pass_gate(tx)
        stored = effects.load_plan(tx, plan_id)
        held = timeline.lock(tx, stored.plan.incident_id)
        progress = _current(held.incident, stored)
        if progress.state is not PlanState.UNKNOWN or progress.intent is None:
            raise Conflict(
                f"{stored.plan_id} is {progress.state.value}; only an unknown effect can be settled"
            )
        _must_respond(who, stored, "settle")
        intent = effects.load_intent(tx, progress.intent)
        now = world.clock.now()
        receipt = None
        if done:
            step = intent.request
            receipt = Receipt(
                intent.id, step.target, step.changes, intent.generation, now, f"settled by {who.name}"
            )
        effects.end_intent(
            tx,
            intent.id,
            state="confirmed" if done else "refused",
            outcome=f"settled by {who.name}: {reason}",
            at=now,
        )
        event = ev.EffectSettled(stored.plan_id, intent.id, done, who.name, reason, receipt)
        return record(world, tx, held, (event,), actor=who.name, due_at=now).incident

    return await world.store.write(body)


async def decide_undo(world: World, plan_id: str, who: Identity, *, undo: bool, reason: str) -> Incident:
    """A person's yes or no to putting a plan back."""
    if not reason.strip():
        raise Conflict("deciding about an undo needs a reason")
    plan = (await world.store.read(lambda tx: effects.load_plan(tx, plan_id))).plan
    await must_approve(world, who, plan)

    def body(tx: Connection) -> Incident:
        pass_gate(tx)
        stored = effects.load_plan(tx, plan_id)
        held = timeline.lock(tx, stored.plan.incident_id)
        progress = _current(held.incident, stored)
        undoable = (
            PlanState.UNDO_ASKED,
            PlanState.VERIFIED,
            PlanState.STILL_SICK,
            PlanState.INCONCLUSIVE,
            PlanState.WATCHED,
        )
        if not undo and progress.state is not PlanState.UNDO_ASKED:
            raise Conflict(f"{stored.plan_id} is {progress.state.value}; nobody asked about an undo")
        if progress.state not in undoable or not progress.receipts:
            raise Conflict(f"{stored.plan_id} is {progress.state.value}; there is nothing to undo")
        if (refusal := may_approve(stored.plan.approval, who, stored.plan, reason=reason)) is not None:
            raise NotAllowed(refusal)
        now = world.clock.now()
        event: ev.Event
        if undo:
            event = ev.UndoApproved(stored.plan_id, who.name, reason)
        elif progress.expired:
            event = ev.MitigationKept(stored.plan_id, who.name, reason)
        else:
            event = ev.StillSick(stored.plan_id, f"{who.name} leaves it as it is: {reason}")
        return record(world, tx, held, (event,), actor=who.name, due_at=now).incident

    return await world.store.write(body)


async def show_target(world: World, plan_id: str) -> dict[str, object]:
    """The object of a plan as it is now, for the person who settles: its version, marker and revision."""
    stored = await world.store.read(lambda tx: effects.load_plan(tx, plan_id))
    found = await world.cluster.get(stored.plan.target)
    if found is None:
        return {"target": str(stored.plan.target), "exists": False}
    metadata = found["metadata"]
    annotations = metadata.get("annotations", {})
    return {
        "target": str(stored.plan.target),
        "exists": True,
        "uid": metadata["uid"],
        "generation": metadata.get("generation"),
        "marker": marker_of(found),
        "revision": annotations.get("deployment.kubernetes.io/revision"),
    }


async def acknowledge(world: World, incident_id: int, who: Identity) -> Incident:
    """Somebody has it."""
    await must(world, who, Verb.RESPOND)
    return await _say(world, incident_id, who, lambda held: (ev.Acknowledged(who.name),))


async def note(world: World, incident_id: int, who: Identity, *, text: str) -> Incident:
    """Write something into the timeline."""
    if not text.strip():
        raise Conflict("a note needs a text")
    await must(world, who, Verb.RESPOND)
    return await _say(world, incident_id, who, lambda held: (ev.Noted(who.name, text[:4000]),))


async def set_severity(
    world: World, incident_id: int, who: Identity, *, severity: Severity, reason: str
) -> Incident:
    """A person's word on how bad it is: the way down that a proposed downgrade asks for."""
    if not reason.strip():
        raise Conflict("changing the severity needs a reason")
    await must(world, who, Verb.RESPOND)

    def events(held: Locked) -> tuple[ev.Event, ...]:
        if held.incident.lockdown is not None:
            # Playbook S-7: a security incident is a P1 at least, and only its lead lowers it.
            if not security_leads(world) & set(who.groups):
                raise NotAllowed("only a security lead changes the severity of a security incident")
            if Severity.P1.worse_than(severity):
                raise Conflict("a security incident is a P1 at least")
            owed = held.incident.security
            lowers = severity is not Severity.P0
            if lowers and owed is not None and owed.unanswered:
                left = ", ".join(owed.unanswered)
                raise Conflict(f"answer first: {left} (stanch incidents assess {incident_id})")
        return (ev.SeveritySet(severity, who.name, reason[:2000]),)

    return await _say(world, incident_id, who, events)


async def close(world: World, incident_id: int, who: Identity, *, cause: str) -> Incident:
    """Resolve with a cause; while alerts fire, hold until these very occurrences end."""
    if not cause.strip():
        raise Conflict("closing needs the cause, in a sentence")
    await must(world, who, Verb.RESOLVE)

    def events(held: Locked) -> tuple[ev.Event, ...]:
        incident = held.incident
        if incident.lockdown is not None:
            raise Conflict(f"it is a security incident: stanch incidents release {incident_id} comes first")
        if incident.security is not None and incident.security.missing_to_close:
            left = "; ".join(incident.security.missing_to_close)
            raise Conflict(f"it was a security incident; still missing: {left}")
        progress = incident.plan
        if progress is not None and progress.state in IN_FLIGHT:
            raise Conflict(f"{progress.plan_id} is {progress.state.value}; its verdict comes first")
        if incident.firing:
            holding = {alert.identity: alert.starts_at for alert in incident.alerts.values() if alert.firing}
            return (ev.ClosedByHand(who.name, cause, holding),)
        return (ev.Resolved(who.name, cause),)

    return await _say(world, incident_id, who, events)


def security_leads(world: World) -> frozenset[str]:
    """The groups behind the approver `security-lead`, or the group of that name."""
    return frozenset(world.loaded.policies.groups.get(SECURITY_LEAD, (SECURITY_LEAD,)))


def security_deputies(world: World) -> frozenset[str]:
    """The groups behind the approver `security-deputy`, or the group of that name."""
    return frozenset(world.loaded.policies.groups.get(SECURITY_DEPUTY, (SECURITY_DEPUTY,)))


def security_readers(world: World) -> frozenset[str]:
    """The groups that may read what it is about: leads, deputies, and the approver `security`."""
    named = frozenset(world.loaded.policies.groups.get("security", ("security",)))
    return security_leads(world) | security_deputies(world) | named


async def secure(
    world: World, incident_id: int, who: Identity, *, reason: str, scopes: tuple[str, ...] = ()
) -> Incident:
    """Turn an incident into a security incident; without scopes the namespaces of its alerts are locked."""
    if not reason.strip():
        raise Conflict("turning it into a security incident needs a reason")
    await must(world, who, Verb.RESPOND)

    def body(tx: Connection) -> Incident:
        pass_gate(tx)
        held = timeline.lock(tx, incident_id)
        incident = held.incident
        _must_act(world, who)
        if not incident.open:
            raise Conflict(f"incident {incident_id} is resolved")
        if incident.lockdown is not None and not set(scopes) - set(incident.lockdown.scopes):
            raise Conflict(f"incident {incident_id} is a security incident already")
        wanted = scopes or widest([alert.labels for alert in incident.alerts.values()])
        event = ev.TurnedSecurity(reason[:2000], wanted, who.name)
        return record(world, tx, held, (event,), actor=who.name, due_at=world.clock.now()).incident

    return await world.store.write(body)


async def open_security(
    world: World, who: Identity, *, title: str, reason: str, scopes: tuple[str, ...]
) -> Incident:
    """A security incident that no alert tells of."""
    if not title.strip() or not reason.strip():
        raise Conflict("a security incident needs a title and a reason")
    if not scopes:
        raise Conflict("say what is locked: namespace/NAME, node/NAME, Deployment/NAMESPACE/NAME or cluster")
    await must(world, who, Verb.RESPOND)

    def body(tx: Connection) -> Incident:
        pass_gate(tx)
        _must_act(world, who)
        now = world.clock.now()
        key = f"hand/{uuid.uuid4()}"
        held = timeline.open_incident(tx, key=key, title=title[:200], at=now)
        assert held is not None
        opened = ev.Opened(key, title[:200], {})
        locked = ev.TurnedSecurity(reason[:2000], scopes, who.name)
        return record(world, tx, held, (opened, locked), actor=who.name, due_at=now).incident

    return await world.store.write(body)


async def release(
    world: World, incident_id: int, who: Identity, *, reason: str, undo: bool = False
) -> Incident:
    """One person's yes to lifting a security lock: it takes two, one of them a security lead.

    What was isolated is taken back where both want ``undo``, else it stays as it is.
    """
    if not reason.strip():
        raise Conflict("releasing needs a reason")
    leads = bool(security_leads(world) & set(who.groups))
    await must(world, who, Verb.APPROVE_SECURITY if leads else Verb.RESPOND)

    def body(tx: Connection) -> Incident:
        pass_gate(tx)
        held = timeline.lock(tx, incident_id)
        lockdown = held.incident.lockdown
        _must_act(world, who)
        if lockdown is None:
            raise Conflict(f"incident {incident_id} is no security incident")
        if person_of(who.name, who.uid) in lockdown.released_by:
            raise Conflict(f"{who.name} said so already; it takes a second person")
        lead = bool(security_leads(world) & set(who.groups))
        if not lead and lockdown.releases and not any(lead for _, lead in lockdown.releases):
            raise NotAllowed("one of the two must be a security lead")
        event = ev.ReleaseGiven(who.name, lead, reason[:2000], undo=undo, uid=who.uid)
        return record(world, tx, held, (event,), actor=who.name, due_at=world.clock.now()).incident

    return await world.store.write(body)


def _must_act(world: World, who: Identity) -> None:
    allowed = RESPONDERS | security_leads(world)
    if not responds(who, allowed):
        raise NotAllowed(f"{who.name} is in none of {', '.join(sorted(allowed))}")


def responds(who: Identity, groups: frozenset[str]) -> bool:
    """Whether they are in one of these groups, or the cluster was asked about them before."""
    return who.known_by is not KnownBy.FILE or bool(groups & set(who.groups))


async def _say(
    world: World, incident_id: int, who: Identity, events: Callable[[Locked], tuple[ev.Event, ...]]
) -> Incident:
    def body(tx: Connection) -> Incident:
        pass_gate(tx)
        held = timeline.lock(tx, incident_id)
        if not held.incident.open:
            raise Conflict(f"incident {incident_id} is resolved")
        _must_act(world, who)
        return record(world, tx, held, events(held), actor=who.name, due_at=world.clock.now()).incident

    return await world.store.write(body)


async def set_pause(
    world: World, who: Identity, *, on: bool, policy: str | None, reason: str
) -> tuple[str, ...]:
    """The kill switch: from its commit on no replica sends anything new. Gives the switches that are on."""
    if on and not reason.strip():
        raise Conflict("pausing needs a reason")
    await must(world, who, Verb.PAUSE if on else Verb.RESUME, policy or "")
    if not responds(who, RESPONDERS):
        raise NotAllowed(f"{who.name} is in none of {', '.join(sorted(RESPONDERS))}")

    def body(tx: Connection) -> tuple[str, ...]:
        change = switches.pause if on else switches.resume
        change(tx, policy=policy, by=who.name, reason=reason, at=world.clock.now())
        return switches.paused(tx)

    left = await world.store.write(body)
    try:
        # Apart from the switch, which no incident's row may hold up: whoever is due meanwhile sees it anyway.
        await world.store.write(lambda tx: claims.make_due(tx, None, now=world.clock.now()))
    except Unavailable:
        return left
    return left


def _held_plan(tx: Connection, plan_id: str) -> tuple[StoredPlan, Locked]:
    """A plan and its incident, both locked."""
    pass_gate(tx)
    stored = effects.load_plan(tx, plan_id)
    held = timeline.lock(tx, stored.plan.incident_id)
    return effects.load_plan(tx, plan_id, for_update=True), held


def _current(incident: Incident, stored: StoredPlan) -> PlanProgress:
    progress = incident.plan
    if progress is None or progress.plan_id != stored.plan_id:
        raise Conflict(f"{stored.plan_id} is no longer the plan of incident {incident.id}")
    return progress


def _must_respond(who: Identity, stored: StoredPlan, doing: str) -> None:
    allowed = RESPONDERS | set(stored.plan.approval.groups)
    if not responds(who, allowed):
        raise NotAllowed(
            f"{who.name} may not {doing} {stored.plan_id}: it takes one of {', '.join(sorted(allowed))}"
        )
