"""Act once. The intent is written down first, the write goes out once under a condition, and what happened
is settled by looking, never by sending again on a guess.

Order of things (design, section 6): gather anew, ask every guard and write the intent in one transaction,
send one conditional patch with the marker in it, note the outcome under a shield. After a crash or a lost
answer: look for the marker. Before each repeated send the guards are asked again and the new version is
committed. Where acting is no longer allowed, "not done" is only said once the old request cannot land.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

import structlog
from sqlalchemy import Connection

from receiver.clients.answers import Answer, Applied, Rejected, Unanswered
from receiver.domain import events as ev
from receiver.domain.approved import ApprovedPlan
from receiver.domain.errors import PermanentError, TemporaryError
from receiver.domain.incidents import Incident
from receiver.domain.plans import NotApplicable, Objection, PatchStep, Plan, Receipt, Step, told_version
from receiver.pipeline import doors
from receiver.pipeline.claim import Claim
from receiver.pipeline.entitling import no_longer
from receiver.pipeline.facts import Gathered, gather
from receiver.pipeline.measuring import before_acting, measure, points_of
from receiver.pipeline.proposal import ask, rebuild
from receiver.pipeline.recording import record
from receiver.pipeline.steps import Result
from receiver.pipeline.world import World
from receiver.policy.approval import approve_again
from receiver.policy.next_step import cancelled
from receiver.policy.recovery import CannotTell, Happened, NotYet, what_happened
from receiver.store import claims, effects, locks, timeline
from receiver.store.claims import Fenced
from receiver.store.effects import Intent
from receiver.store.engine import pass_gate

log = structlog.get_logger(__name__)

Kind = Literal["execute", "undo"]

# Status writes move the version under us; after this many a person is better than another try.
MAX_SENDS = 5
ASK_GUARDS_AGAIN = timedelta(seconds=5)
LOOK_AGAIN = timedelta(seconds=5)
UNDO_TOLD_AFTER = timedelta(minutes=2)
# The request carries a timeout of twelve seconds for the server; a minute more for clocks and queues.
SURELY_DEAD = timedelta(seconds=72)


@dataclass(frozen=True)
class _Open:
    """A write that may be sent now: the intent is committed with these versions."""

    intent: Intent
    current: Mapping[str, Any]


async def execute_step(world: World, claim: Claim, plan: Plan) -> Result:
    """Carry out the next step of the approved plan."""
    incident = claim.incident
    progress = incident.plan
    assert progress is not None and progress.execute_before is not None
    approved = approve_again(
        progress.plan_id,
        plan,
        digest=progress.digest,
        by=progress.approvals,
        execute_before=progress.execute_before,
    )
    if progress.step == 0:
        # What was approved must still be what would be done.
        try:
            again = await rebuild(world, incident, plan)
        except (TemporaryError, PermanentError) as error:
            return _refuse(world, incident, (f"G11 blind: {error}",))
        if isinstance(again, NotApplicable):
            return await _perhaps_already_so(world, incident, plan, again.reason)
        if again.digest != plan.digest:
            return Result((ev.PlanVoided(approved.plan_id, "the target changed since it was approved"),))
    try:
        withdrawn = await no_longer(world, progress.plan_id, plan, round_=progress.round)
    except (TemporaryError, PermanentError) as error:
        return _refuse(world, incident, (f"G11 blind: {error}",))
    if withdrawn:
        # Their yes counted on a right that is gone; whoever has it now is asked.
        return Result((cancelled(progress, f"an approval no longer holds: {withdrawn[0]}"),))
    return await _carry_out(world, claim, approved, plan.steps[progress.step], kind="execute")


async def undo_step(world: World, claim: Claim, plan: Plan) -> Result:
    """Put the receipts back: the captured fields, if what we wrote still stands."""
    incident = claim.incident
    progress = incident.plan
    assert progress is not None
    remediation = world.remediations[plan.remediation]
    try:
        state = await remediation.observe(plan.target, plan.parameters)
    except (TemporaryError, PermanentError) as error:
        log.warning(
            "the target of an undo cannot be read",
            event_code="undo_waits",
            incident=incident.id,
            why=str(error),
        )
        return await _undo_waits(world, incident, progress.plan_id, str(error))
    steps = remediation.undo_plan(progress.receipts, state)
    if isinstance(steps, NotApplicable):
        reason = f"{progress.plan_id} was not undone: {steps.reason}"
        return Result((ev.UndoImpossible(progress.plan_id, steps.reason), ev.Escalated(reason)))
    far = world.clock.now() + timedelta(days=3650)
    approved = approve_again(
        progress.plan_id, plan, digest=progress.digest, by=progress.approvals, execute_before=far
    )
    return await _carry_out(world, claim, approved, steps[0], kind="undo")


async def _undo_waits(world: World, incident: Incident, plan_id: str, why: str) -> Result:
    """Try again soon; somebody is told once it takes long, since what was done stands meanwhile."""
    now = world.clock.now()
    since = await world.store.read(lambda tx: timeline.newest_of(tx, incident.id, "UndoApproved"))
    told = f"{plan_id} is not put back yet, its target cannot be read"
    late = since is not None and now - since >= UNDO_TOLD_AFTER
    untold = not any(one.startswith(told) for one in incident.escalated)
    events = (ev.Escalated(f"{told}: {why}"),) if late and untold else ()
    return Result(events, again_at=now + ASK_GUARDS_AGAIN)


async def recover_step(world: World, claim: Claim, plan: Plan) -> Result:
    """An intent without an outcome: look, and go on from what is there."""
    incident = claim.incident
    progress = incident.plan
    assert progress is not None and progress.intent is not None
    intent_id = progress.intent
    intent = await world.store.read(lambda tx: effects.load_intent(tx, intent_id))
    return await _look(world, claim, plan, intent)


async def _carry_out(world: World, claim: Claim, approved: ApprovedPlan, step: Step, *, kind: Kind) -> Result:
    incident, plan = claim.incident, approved.plan
    policy = world.loaded.policies.named(plan.policy)
    gathered = await gather(world, incident, replace(plan, steps=(step,)), step, policy)
    if gathered.outside.target_seen and (over := _nothing_to_do(claim, approved, step, gathered, kind)):
        return Result((over,))
    baseline: Mapping[str, float | None] = {}
    if kind == "execute":
        baseline = await _baseline(world, plan)
    intent_id = str(uuid.uuid4())
    opened = await world.store.write(
        lambda tx: _begin(tx, world, claim, approved, step, gathered, intent_id, kind, baseline)
    )
    if not isinstance(opened, _Open):
        claim.counters.objections.update(objection.code for objection in opened)
        return _on_objections(world, claim.incident, approved.plan_id, opened, kind)
    return await _send(world, claim, plan, opened)


def _nothing_to_do(
    claim: Claim, approved: ApprovedPlan, step: Step, gathered: Gathered, kind: Kind
) -> ev.Event | None:
    """The step is done by others, or no longer meant; the plan's other steps are not concerned."""
    progress = claim.incident.plan
    if (why := doors.already_so(step, gathered.current)) is not None and len(approved.plan.steps) == 1:
        return ev.AlreadySo(approved.plan_id, why)
    if kind == "undo" or progress is None or (why := doors.left_out(step, gathered.current)) is None:
        return None
    last = progress.step + 1 >= len(approved.plan.steps)
    return ev.StepPassedOver(approved.plan_id, progress.step, why, last)


def _begin(
    tx: Connection,
    world: World,
    claim: Claim,
    approved: ApprovedPlan,
    step: Step,
    gathered: Gathered,
    intent_id: str,
    kind: Kind,
    baseline: Mapping[str, float | None],
) -> _Open | tuple[Objection, ...]:
    """In one transaction: every guard, the target, the intent. From its commit on we may have acted."""
    pass_gate(tx)
    held = claims.reclaim(tx, claim.held)
    claim.held = held
    plan, now = approved.plan, world.clock.now()
    objections, _ = ask(
        tx,
        world,
        replace(plan, steps=(step,)),
        gathered,
        plan_id=approved.plan_id,
        undoing=kind == "undo",
    )
    objections += _approval_objections(held.incident, approved, kind, now)
    if objections or gathered.current is None:
        return tuple(objections)
    holder = effects.take_target(
        tx, target=plan.target.key, plan_id=approved.plan_id, incident_id=held.incident.id, at=now
    )
    if holder is not None:
        return (Objection("G6", "target_busy", f"{holder} is changing {plan.target}"),)
    version = doors.version_of(gathered.current)
    progress = held.incident.plan
    number = progress.step if progress is not None else 0
    effects.start_intent(
        tx,
        intent_id=intent_id,
        plan_id=approved.plan_id,
        incident_id=held.incident.id,
        policy=plan.policy,
        kind=kind,
        step_number=number,
        step=step,
        target=plan.target,
        resource_version=version.resource_version,
        generation=version.generation,
        token=claim.token,
        at=now,
    )
    started = ev.ExecutionStarted(
        plan_id=approved.plan_id,
        intent=intent_id,
        kind=kind,
        step=number,
        target=plan.target,
        digest=approved.digest,
        baseline=baseline,
    )
    claim.held = record(world, tx, held, [started], actor=world.owner, due_at=now)
    return _Open(effects.load_intent(tx, intent_id), gathered.current)


def _approval_objections(
    incident: Incident, approved: ApprovedPlan, kind: Kind, now: datetime
) -> tuple[Objection, ...]:
    """The approval must still stand in the incident as it is now."""
    progress = incident.plan
    if progress is None or progress.plan_id != approved.plan_id or progress.digest != approved.digest:
        return (Objection("approval", "replaced", "another plan has taken its place"),)
    wanted = "undo-approved" if kind == "undo" else "approved"
    if progress.state.value not in (wanted, "executing", "undoing"):
        return (Objection("approval", "withdrawn", f"the plan is {progress.state.value} now"),)
    if now >= approved.execute_before:
        return (Objection("approval", "expired", "the time to start it is over"),)
    return ()


async def _baseline(world: World, plan: Plan) -> Mapping[str, float | None]:
    now, rules = world.clock.now(), plan.verification
    start = now - rules.baseline
    measured = await measure(world.prometheus, rules.queries, start=start, end=now, step=rules.every)
    points = points_of(measured, start=start, end=now, step=rules.every)
    return before_acting(points, settle=rules.settle)


async def _send(world: World, claim: Claim, plan: Plan, opened: _Open) -> Result:
    """One request, and its outcome noted whatever becomes of this task meanwhile."""
    intent, current = opened.intent, opened.current
    if not claim.may_send():
        # The commit took too long for the lease: nothing was sent, and whoever takes over looks first.
        raise Fenced(f"incident {claim.incident.id}: too little is left of the lease to send")
    log.info(
        "sending one write",
        event_code="write_sent",
        incident=claim.incident.id,
        remediation=plan.remediation,
        target=intent.target,
        intent=intent.id,
    )
    claim.counters.writes["sent"] += 1
    answer = await doors.send(world, intent.request, current, intent=intent.id)
    return await asyncio.shield(_note(world, claim, plan, intent, answer))


async def _note(world: World, claim: Claim, plan: Plan, intent: Intent, answer: Answer) -> Result:
    match answer:
        case Applied(object=found, told=told):
            return await _settle(world, claim, plan, intent, found["metadata"].get("generation"), told)
        case Unanswered(sentence=sentence):
            log.warning(
                "a write has no answer; looking",
                event_code="write_unanswered",
                intent=intent.id,
                why=sentence,
            )
            return await _look(world, claim, plan, intent)
        case Rejected() if answer.status in (404, 409) and not isinstance(intent.request, PatchStep):
            if intent.sends > 1 and answer.status == 409:
                # It went or woke up: of itself, or because the request before this one did arrive.
                return await _look(world, claim, plan, intent)
            return await _passed_over(world, claim, plan, intent, answer.sentence)
        case Rejected() if answer.status == 409 or answer.status == 429:
            return await _look(world, claim, plan, replace(intent, unanswered=intent.sends > 1))
        case Rejected():
            if intent.sends > 1:
                return await _look(world, claim, plan, intent)
            stale = (answer.status == 422 and "metadata.uid" in answer.fields) or answer.status == 404
            return await _not_done(world, claim, intent, answer.sentence, look_again=stale)


async def _look(world: World, claim: Claim, plan: Plan, intent: Intent) -> Result:
    """Read the object and settle what its state proves."""
    try:
        found = await doors.read(world, intent.request)
    except (TemporaryError, PermanentError) as error:
        log.warning(
            "cannot look whether a write happened", event_code="look_waits", intent=intent.id, why=str(error)
        )
        return Result((), again_at=world.clock.now() + LOOK_AGAIN)
    seen = what_happened(
        intent.request,
        intent=intent.id,
        sent_version=intent.resource_version,
        sent_generation=intent.generation,
        since=intent.created_at,
        found=found,
    )
    match seen:
        case Happened(generation=generation):
            how = "found by its marker" if isinstance(intent.request, PatchStep) else "found gone"
            return await _settle(world, claim, plan, intent, generation, how)
        case CannotTell(reason=reason):
            if not intent.unanswered:
                return await _not_done(world, claim, intent, reason, look_again=True)
            return await _unknown(world, claim, intent, reason)
        case NotYet(impossible=impossible):
            assert found is not None
            return await _send_again_or_fence(world, claim, plan, intent, found, impossible)


async def _send_again_or_fence(
    world: World, claim: Claim, plan: Plan, intent: Intent, found: Mapping[str, Any], impossible: bool
) -> Result:
    """It did not happen so far: send it again if everything still allows it, else make it impossible."""
    policy = world.loaded.policies.named(plan.policy)
    step = intent.request
    gathered = await gather(world, claim.incident, replace(plan, steps=(step,)), step, policy)
    if impossible and gathered.outside.target_seen and (over := doors.left_out(step, gathered.current)):
        return await _passed_over(world, claim, plan, intent, over)
    reason = "sent too often" if intent.sends >= MAX_SENDS else ""
    if not reason and gathered.current is not None:
        opened = await world.store.write(lambda tx: _begin_again(tx, world, claim, plan, intent, gathered))
        if isinstance(opened, _Open):
            return await _send(world, claim, plan, opened)
        reason = "; ".join(str(objection) for objection in opened)
    if impossible or not intent.unanswered:
        return await _not_done(
            world, claim, intent, reason or "the target could not be read", look_again=not reason
        )
    return await _fence(world, claim, plan, intent, found, reason)


def _begin_again(
    tx: Connection, world: World, claim: Claim, plan: Plan, intent: Intent, gathered: Gathered
) -> _Open | tuple[Objection, ...]:
    """Before a repeated send: every guard, switch, lock and expiry once more, and the versions it carries."""
    pass_gate(tx)
    held = claims.reclaim(tx, claim.held)
    claim.held = held
    progress = held.incident.plan
    assert gathered.current is not None
    if progress is None or progress.intent != intent.id:
        return (Objection("approval", "replaced", "another intent has taken its place"),)
    undoing = intent.kind == "undo"
    objections, _ = ask(
        tx,
        world,
        replace(plan, steps=(intent.request,)),
        gathered,
        plan_id=intent.plan_id,
        undoing=undoing,
    )
    before = progress.execute_before
    if not undoing and before is not None and world.clock.now() >= before:
        objections = (*objections, Objection("approval", "expired", "the time to start it is over"))
    version = doors.version_of(gathered.current)
    if version.generation != intent.generation:
        objections = (*objections, Objection("G2", "spec_changed", "somebody changed the spec meanwhile"))
    if objections:
        return tuple(objections)
    effects.resend_intent(
        tx,
        intent.id,
        resource_version=version.resource_version,
        generation=version.generation,
        token=claim.token,
        at=world.clock.now(),
    )
    return _Open(effects.load_intent(tx, intent.id), gathered.current)


async def _fence(
    world: World, claim: Claim, plan: Plan, intent: Intent, found: Mapping[str, Any], reason: str
) -> Result:
    """Move the version ourselves, so that the request that may still be under way can never land."""
    now = world.clock.now()
    if now - intent.sent_at >= SURELY_DEAD:
        # The server drops a request after its own timeout: what was not seen by now will not come.
        return await _not_done(
            world, claim, intent, f"not seen since it was sent; {reason}", look_again=False
        )
    locked = await world.store.read(lambda tx: locks.over(tx, plan))
    step = intent.request
    if locked or not isinstance(step, PatchStep):
        # Not even an annotation may be written there, or nothing can carry one: look again once the request
        # must be dead.
        return Result((), again_at=intent.sent_at + SURELY_DEAD)
    answer = await doors.fence(world, step, found, intent=intent.id)
    if isinstance(answer, Applied):
        return await _not_done(world, claim, intent, reason, look_again=False)
    return Result((), again_at=now + timedelta(seconds=1))


async def _settle(
    world: World, claim: Claim, plan: Plan, intent: Intent, generation: int | None, how: str
) -> Result:
    now = world.clock.now()
    step = intent.request
    receipt = Receipt(intent.id, step.target, step.changes, generation, now, how, told_version(step))
    last = intent.kind == "undo" or intent.step + 1 >= len(plan.steps)
    event: ev.Event = ev.Executed(intent.plan_id, receipt, intent.step, last)
    if intent.kind == "undo":
        event = ev.Undone(intent.plan_id, receipt)
    claim.counters.writes["confirmed"] += 1
    return await _end(world, claim, intent, "confirmed", how, (event,))


async def _passed_over(world: World, claim: Claim, plan: Plan, intent: Intent, reason: str) -> Result:
    """This very pod or backend is no longer what was planned on: nothing was told, the others may be."""
    last = intent.step + 1 >= len(plan.steps)
    event = ev.StepPassedOver(intent.plan_id, intent.step, reason, last)
    claim.counters.writes["refused"] += 1
    return await _end(world, claim, intent, "refused", reason, (event,))


async def _not_done(world: World, claim: Claim, intent: Intent, reason: str, *, look_again: bool) -> Result:
    kind = intent.kind
    events: tuple[ev.Event, ...] = (ev.NotDone(intent.plan_id, intent.id, kind, reason, look_again),)
    if kind == "undo":
        events += (ev.Escalated(f"{intent.plan_id} was not undone: {reason}"),)
    claim.counters.writes["refused"] += 1
    return await _end(world, claim, intent, "refused", reason, events)


async def _unknown(world: World, claim: Claim, intent: Intent, reason: str) -> Result:
    claim.counters.writes["unknown"] += 1
    event = ev.EffectUnknown(intent.plan_id, intent.id, intent.kind, reason)
    return await _end(world, claim, intent, "unknown", reason, (event,))


async def _end(
    world: World, claim: Claim, intent: Intent, state: str, outcome: str, events: tuple[ev.Event, ...]
) -> Result:
    """Write the outcome under the claim's token; without it, beside the timeline."""

    def body(tx: Connection) -> None:
        held = claims.reclaim(tx, claim.held)
        effects.end_intent(tx, intent.id, state=state, outcome=outcome, at=world.clock.now())
        claim.held = record(world, tx, held, events, actor=world.owner, due_at=world.clock.now())

    try:
        await world.store.write(body)
    except Fenced:
        claim.counters.fenced += 1
        late = f"{state}: {outcome}"
        log.warning(
            "an outcome came after the lease was lost", event_code="fenced", intent=intent.id, outcome=late
        )
        await world.store.write(lambda tx: effects.note_late_outcome(tx, intent.id, late))
        raise
    return Result()


def _on_objections(
    world: World, incident: Incident, plan_id: str, objections: tuple[Objection, ...], kind: Kind
) -> Result:
    """Stale plans end; everything else is asked again until the approval's time is over."""
    said = tuple(str(objection) for objection in objections) or (
        "G2 target_unseen: the target could not be read",
    )
    stale = [objection for objection in objections if objection.code in ("other_object", "fields_changed")]
    if stale and kind == "execute":
        return Result((ev.PlanVoided(plan_id, stale[0].sentence),))
    return _refuse(world, incident, said)


def _refuse(world: World, incident: Incident, said: tuple[str, ...]) -> Result:
    progress = incident.plan
    assert progress is not None
    again = world.clock.now() + ASK_GUARDS_AGAIN
    if said == progress.objections:
        return Result((), again_at=again)
    return Result((ev.Refused(progress.plan_id, said, retry_at=again),))


async def _perhaps_already_so(world: World, incident: Incident, plan: Plan, reason: str) -> Result:
    """The plan cannot be made any more: because others did it, or because it is stale."""
    progress = incident.plan
    assert progress is not None
    step = plan.steps[0]
    try:
        found = await doors.read(world, step)
    except (TemporaryError, PermanentError):
        return Result((ev.PlanVoided(progress.plan_id, reason),))
    same = found is None or found["metadata"]["uid"] == step.target.uid
    if same and (why := doors.already_so(step, found)) is not None:
        return Result((ev.AlreadySo(progress.plan_id, why),))
    return Result((ev.PlanVoided(progress.plan_id, reason),))
