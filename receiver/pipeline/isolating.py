"""Isolate, by the one door that can: plan and ask, write once under a condition, look whether it still talks.

Nothing of a cure comes here: what is carried out is an `ApprovedIsolation`, through `World.isolator`. Every
write leads to the same state however often it is sent, so after a lost answer we look, and where it is not
there the same state is asked for again, from what is there then and under its version.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, assert_never

import structlog
from sqlalchemy import Connection

from receiver.clients.answers import Answer, Applied, Rejected, Unanswered
from receiver.domain import events as ev
from receiver.domain.approved_isolation import ApprovedIsolation
from receiver.domain.errors import PermanentError, TemporaryError
from receiver.domain.isolation import (
    STANDING,
    Block,
    Deny,
    Held,
    Hold,
    Isolating,
    IsolationPlan,
    IsolationState,
    IsolationStep,
    Relabel,
    Shun,
    Wanted,
    all_but,
    deny_all,
)
from receiver.domain.plans import NotApplicable
from receiver.pipeline.claim import Claim
from receiver.pipeline.entitling import why_not_isolate
from receiver.pipeline.measuring import ONE_STEP, latest, measure
from receiver.pipeline.recording import record
from receiver.pipeline.steps import Result, sign_values
from receiver.pipeline.world import World
from receiver.policy import isolating as rules
from receiver.policy.matching import applicable
from receiver.policy.signs import present
from receiver.store import claims, isolations, locks, switches, timeline
from receiver.store.claims import Fenced
from receiver.store.engine import pass_gate

log = structlog.get_logger(__name__)

TRY_AGAIN = timedelta(seconds=2)
# Playbook line 871: contained within five minutes; then a person hears that it is not.
LATE = timedelta(minutes=5)


async def consider_step(world: World, claim: Claim) -> Result:
    """Plan what the sign asks for, and ask whoever has to say yes; what cannot be planned is told."""
    incident, now = claim.incident, world.clock.now()
    lockdown = incident.lockdown
    assert lockdown is not None
    found = applicable(world.loaded.policies, incident, now)
    signs = present(found, await sign_values(world, found, {}, now), incident)
    wanted, left_out = rules.wishes(found, {*signs, lockdown.reason, *lockdown.reasons}, incident)
    plans: list[IsolationPlan] = []
    reasons = list(left_out)
    waits = False
    for wish in wanted:
        try:
            plan = await plan_of(world, incident.id, wish)
        except (TemporaryError, PermanentError) as error:
            waits |= isinstance(error, TemporaryError) and now - lockdown.since < LATE
            plan = NotApplicable(f"{wish}: {error}")
        if isinstance(plan, IsolationPlan):
            plans.append(plan.asked_for("policy", lockdown.reason))
        else:
            reasons.append(plan.reason)
    standing = await world.standing() if plans else ""

    def body(tx: Connection) -> None:
        held = claims.reclaim(tx, claim.held)
        claim.held = held
        if held.incident.lockdown is None or held.incident.lockdown.since != lockdown.since:
            # Turned once more, or released meanwhile: look again.
            return
        events: list[ev.Event] = []
        for plan in rules.not_known(plans, held.incident.isolations):
            number = isolations.add(tx, plan, at=now)
            events += [rules.planned(number, plan), rules.first_answer(number, plan, standing, now)]
        if not waits:
            events.append(ev.IsolationConsidered(tuple(reasons)))
        if reasons and not waits:
            events.append(ev.Escalated("not isolated: " + "; ".join(reasons)))
        claim.held = record(world, tx, held, events, actor=world.owner, due_at=now)

    await world.store.write(body)
    # What ails the cluster for a moment must not keep anything from being isolated at all.
    return Result((), again_at=now + TRY_AGAIN) if waits else Result()


async def plan_of(world: World, incident_id: int, wanted: Wanted) -> IsolationPlan | NotApplicable:
    """The plan from what is there now. Raises TemporaryError and PermanentError where that is not seen."""
    isolation = world.isolations.get(wanted.act)
    if isolation is None:
        return NotApplicable(f"{wanted}: nothing is isolated from here")
    return isolation.plan(await isolation.observe(wanted), wanted, incident_id=incident_id)


async def isolate_step(world: World, claim: Claim) -> Result:
    """The next write of the first isolation that can go on; one that cannot holds up no other."""
    incident = claim.incident
    released = incident.lockdown is not None and incident.lockdown.may_lift
    late: list[ev.Event] = []
    again = rules.LEAKING_EVERY
    for one in incident.isolations:
        # Ten that are not answered take longer than a step that hangs is given.
        claim.began = world.steady()
        if one.state is IsolationState.STARTED or (one.state is IsolationState.APPROVED and not released):
            result = await _forward(world, claim, one)
        elif one.state is IsolationState.LIFTING or (one.state in STANDING and _is_wanted_back(claim, one)):
            result = await _back(world, claim, one)
        else:
            continue
        if result.events:
            return Result((*late, *result.events))
        late += _late(world, claim, one)
        if _is_urgent(one, world.clock.now()):
            again = TRY_AGAIN
    return Result(tuple(late), again_at=world.clock.now() + again)


def _is_urgent(one: Isolating, now: datetime) -> bool:
    """Whether it is tried again at once: each try is written down, and people hear of what takes longer."""
    forward = one.state in (IsolationState.APPROVED, IsolationState.STARTED)
    return not forward or now - (one.approved_at or one.since) < LATE


def _is_wanted_back(claim: Claim, one: Isolating) -> bool:
    lockdown = claim.incident.lockdown
    return lockdown is not None and lockdown.may_undo and not one.stays


def _late(world: World, claim: Claim, one: Isolating) -> list[ev.Event]:
    reason = f"{one.id} is not carried out {int(LATE.total_seconds() // 60)} minutes after it was approved"
    if _is_urgent(one, world.clock.now()) or reason in claim.incident.escalated:
        return []
    return [ev.Escalated(reason)]


async def _forward(world: World, claim: Claim, one: Isolating) -> Result:
    plan = await _stored(world, one)
    step = plan.steps[one.step]
    try:
        fresh = await plan_of(world, claim.incident.id, plan.wanted)
        # In this order: what lands in between is seen as done, and never kept as what was there before it.
        current = await world.cluster.get(step.target)
    except (TemporaryError, PermanentError) as error:
        return _later(claim, one, str(error))
    if (how := _is_done(step, current)) is not None:
        return Result((_done(one, plan, how),))
    if isinstance(fresh, NotApplicable):
        return _failed(one, fresh.reason)
    if _is_over(plan, world.clock.now()):
        return _failed(one, "its time was over before it was carried out")
    fresh = fresh.asked_for(plan.asked_by, plan.why)
    try:
        asked = await _no_more(world, one, fresh)
    except (TemporaryError, PermanentError) as error:
        return _later(claim, one, str(error))
    if asked is not None:
        return Result((asked,))
    approved = rules.approved(one, fresh)
    if approved is None:
        return _failed(one, f"{plan.target} is another one now than was approved")
    return await _carry_out(world, claim, approved, fresh.steps[one.step], one, current, lifting=False)


async def _no_more(world: World, one: Isolating, plan: IsolationPlan) -> ev.IsolationAsked | None:
    """The question anew where the yes no longer counts: it must at this moment, too.

    A standing approval may have ended or been taken back, and a person may have lost the right.
    """
    if not one.standing:
        why = await why_not_isolate(world, one)
        return None if why is None else ev.IsolationAsked(one.id, 1, f"the yes no longer holds: {why}")
    answer = rules.first_answer(one.id, plan, await world.standing(), world.clock.now())
    return answer if isinstance(answer, ev.IsolationAsked) else None


async def _back(world: World, claim: Claim, one: Isolating) -> Result:
    """Take it back: what we wrote must still stand, else it is left as it is."""
    plan = await _stored(world, one)
    isolation = world.isolations[plan.act]
    lockdown = claim.incident.lockdown
    assert lockdown is not None
    try:
        step = isolation.lift(plan, await isolation.observe(plan.wanted))
        current = await world.cluster.get(plan.target)
    except (TemporaryError, PermanentError) as error:
        return _later(claim, one, str(error))
    if one.state is IsolationState.LIFTING and not _stands(plan, current):
        return Result((ev.IsolationStepDone(one.id, one.step, True, "found", lifting=True),))
    if isinstance(step, NotApplicable):
        return _stays(one, step.reason)
    if (other := await world.store.read(lambda tx: _also_wanted_by(tx, plan))) is not None:
        return _stays(one, f"incident {other} keeps it isolated, too")
    if (approved := rules.lifted(one, plan, lockdown)) is None:
        return _stays(one, "more was locked before it was taken back")
    return await _carry_out(world, claim, approved, step, one, current, lifting=True)


def _also_wanted_by(tx: Connection, plan: IsolationPlan) -> int | None:
    """Another incident that keeps this very object isolated in the same way."""
    for number in isolations.others(tx, plan):
        for one in timeline.load(tx, number).isolations:
            same = (one.act, one.target.uid) == (plan.act, plan.target.uid)
            if same and not one.stays and (one.state in STANDING or one.state is IsolationState.STARTED):
                return number
    return None


def _stands(plan: IsolationPlan, current: Mapping[str, Any] | None) -> bool:
    """Whether anything of the plan's last write is still on the object."""
    if current is None or current["metadata"]["uid"] != plan.target.uid:
        return False
    match plan.steps[-1]:
        case Relabel(after=after):
            return bool(after.keys() & (current["metadata"].get("labels") or {}).keys())
        case Shun(taints=taints):
            return taints[-1]["key"] in {one.get("key") for one in current["spec"].get("taints") or []}
        case Deny() | Block():
            return True
        case _:
            assert_never(plan.steps[-1])


async def _carry_out(
    world: World,
    claim: Claim,
    approved: ApprovedIsolation,
    step: IsolationStep,
    one: Isolating,
    current: Mapping[str, Any] | None,
    *,
    lifting: bool,
) -> Result:
    intent = str(uuid.uuid4())
    opened = await world.store.write(
        lambda tx: _begin(tx, world, claim, approved, one, intent=intent, lifting=lifting)
    )
    if opened is not None:
        return _later(claim, one, opened)
    if not claim.may_send():
        raise Fenced(f"incident {claim.incident.id}: too little is left of the lease to send")
    log.info(
        "isolating",
        event_code="isolation_sent",
        incident=claim.incident.id,
        isolation=one.id,
        intent=intent,
    )
    # The metrics do not tell that there is an attack.
    claim.counters.writes["other"] += 1
    with world.tracer.span("write"):
        answer = await world.isolator.carry_out(step, current, intent=intent)
    return await asyncio.shield(_note(claim, approved.plan, step, one, answer, lifting=lifting))


def _begin(
    tx: Connection,
    world: World,
    claim: Claim,
    approved: ApprovedIsolation,
    one: Isolating,
    *,
    intent: str,
    lifting: bool,
) -> str | None:
    """In one transaction: it is still locked and approved, its evidence is kept, nobody pulled the switch.

    Why not, where it may not be.
    """
    pass_gate(tx)
    held = claims.reclaim(tx, claim.held)
    claim.held = held
    if paused := switches.paused(tx):
        return f"paused: {'; '.join(paused)}"
    if (why := rules.not_now(held.incident, one, lifting=lifting)) is not None:
        return why
    at = world.clock.now()
    if not lifting:
        isolations.keep(tx, one.id, approved.plan)
        # A node lies in no namespace: what is isolated is locked itself, so that no cure takes it back.
        target = approved.plan.target.key
        locks.lock(tx, held.incident.id, (target,), reason=approved.plan.why, at=at)
    started = ev.IsolationStarted(one.id, one.step, intent, lifting=lifting)
    claim.held = record(world, tx, held, [started], actor=world.owner, due_at=at)
    return None


async def _note(
    claim: Claim,
    plan: IsolationPlan,
    step: IsolationStep,
    one: Isolating,
    answer: Answer,
    *,
    lifting: bool,
) -> Result:
    match answer:
        case Applied() if lifting:
            return Result((ev.IsolationStepDone(one.id, one.step, True, "answered", lifting=True),))
        case Applied():
            return Result((_done(one, plan, "answered"),))
        case Unanswered(sentence=sentence):
            return _later(claim, one, sentence)
        case Rejected() if answer.status in (409, 429):
            # Somebody else wrote in between, or it is there already: look, and go on from there.
            return _later(claim, one, answer.sentence)
        case Rejected() if lifting:
            return _stays(one, answer.sentence)
        case Rejected():
            return _failed(one, answer.sentence)


async def check_step(world: World, claim: Claim) -> Result:
    """Look at everything that is isolated: what holds may be undone by others at any time."""
    now = world.clock.now()
    events: list[ev.Event] = []
    soonest = now + rules.HOLDING_EVERY
    for one in claim.incident.isolations:
        if one.state not in STANDING:
            continue
        plan = await _stored(world, one)
        if _is_over(plan, now):
            continue
        isolation = world.isolations[plan.act]
        try:
            state = await isolation.observe(plan.wanted)
        except (TemporaryError, PermanentError) as error:
            held = Held(Hold.CANNOT_TELL, str(error))
        else:
            held = isolation.judge(plan, state, await _traffic(world, isolation.traffic(plan), now))
        if one.state is IsolationState.HOLDS:
            if held.hold is Hold.NOT_YET:
                events += _leaks(one, held)
        elif held.hold is Hold.HOLDS:
            events.append(ev.IsolationHolds(one.id, held.sentence))
        elif one.state is IsolationState.DONE and now - (one.done_at or now) < rules.QUIET_WITHIN:
            soonest = min(soonest, now + rules.LOOK_EVERY)
        elif one.state is IsolationState.DONE:
            events += _leaks(one, held)
    return Result(tuple(events), again_at=soonest)


def _is_over(plan: IsolationPlan, now: datetime) -> bool:
    """Whether it was asked for until a moment that has come; taking it away is a person's then."""
    return plan.wanted.until is not None and plan.wanted.until <= now


def _leaks(one: Isolating, held: Held) -> list[ev.Event]:
    words = f"{one.id} is not known to hold: {held.sentence}"
    return [ev.IsolationLeaks(one.id, held.sentence), ev.Escalated(words)]


async def _traffic(world: World, query: str | None, now: datetime) -> float | None:
    """The bytes per second that the query finds; None where nobody measures them."""
    if query is None:
        return None
    measured = await measure(world.prometheus, {"sent": query}, start=now, end=now, step=ONE_STEP)
    return latest(measured, now).get("sent")


def _is_done(step: IsolationStep, current: Mapping[str, Any] | None) -> str | None:
    """How it is known that this step's state is there; None where it is not."""
    if current is None:
        return None
    match step:
        case Deny():
            return "it was there" if current.get("spec") == deny_all() else None
        case Block():
            return "found" if current.get("spec") == all_but(step.pods, step.blocked) else None
        case Relabel():
            same = current["metadata"]["uid"] == step.target.uid
            labels = current["metadata"].get("labels") or {}
            # With the mark it is ours, also where somebody has added labels since: that is judged afterwards.
            return "found" if same and step.after.items() <= labels.items() else None
        case Shun():
            same = current["metadata"]["uid"] == step.target.uid
            there = current["spec"].get("taints") or []
            wanted = step.taints[-1]
            is_there = any(all(one.get(key) == value for key, value in wanted.items()) for one in there)
            return "found" if same and current["spec"].get("unschedulable") and is_there else None
        case _:
            assert_never(step)


def _done(one: Isolating, plan: IsolationPlan, how: str) -> ev.IsolationStepDone:
    return ev.IsolationStepDone(one.id, one.step, one.step + 1 == len(plan.steps), how)


def _failed(one: Isolating, reason: str) -> Result:
    words = f"{one.id} was not isolated: {reason}"
    return Result((ev.IsolationFailed(one.id, reason), ev.Escalated(words)))


def _stays(one: Isolating, reason: str) -> Result:
    return Result((ev.IsolationStays(one.id, reason), ev.Escalated(f"{one.id} stays: {reason}")))


def _later(claim: Claim, one: Isolating, why: str) -> Result:
    """Nothing came of it now; when it is tried again, the step says for all of them."""
    log.warning(
        "an isolation waits",
        event_code="isolation_waits",
        incident=claim.incident.id,
        isolation=one.id,
        why=why,
    )
    return Result()


async def _stored(world: World, one: Isolating) -> IsolationPlan:
    return await world.store.read(lambda tx: isolations.load(tx, one.id))
