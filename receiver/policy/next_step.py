"""What an incident needs next: the one state machine, level-triggered and pure.

The worker asks after every change and on every due time; whatever happened meanwhile, a crash included,
the answer depends on the incident alone. No state lacks an exit or a due time, except those that wait for
a person.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never, get_args

from receiver.domain import events as ev
from receiver.domain.incidents import WAITING, Incident, Lockdown, PlanProgress, PlanState
from receiver.domain.isolation import STANDING, IsolationState
from receiver.domain.plans import Plan, UndoWhen
from receiver.domain.severity import Severity
from receiver.policy.approval import approve_by_rule, ask_again_after, asked_in
from receiver.policy.authority_clock import next_warning, warning
from receiver.policy.isolating import next_look, to_ask
from receiver.policy.verification import Outcome

RECLASSIFY = timedelta(seconds=30)
DOWNGRADE_AFTER = timedelta(minutes=15)
LOOK_AGAIN = timedelta(minutes=1)
# A source that restarts answers again in a moment.
BLIND_AGAIN = timedelta(seconds=15)
REVIEW = timedelta(seconds=60)
# A plan that keeps going stale means somebody is working there; stop and say so.
VOIDS_ALLOWED = 5
# How often it is asked whether what was under way when a lock was set has ended.
LOCK_AGAIN = timedelta(seconds=5)
ALERT_SHOULD_END = timedelta(minutes=15)
DEFAULT_MONITOR = timedelta(minutes=15)


@dataclass(frozen=True)
class Rest:
    """Nothing to do until then; None: until something happens."""

    until: datetime | None
    why: str


@dataclass(frozen=True)
class Record:
    """Nothing to ask of the world: these events follow from what is known."""

    events: tuple[ev.Event, ...]


@dataclass(frozen=True)
class Classify:
    """Measure how bad it is."""


@dataclass(frozen=True)
class Diagnose:
    """Run the probes."""


@dataclass(frozen=True)
class Propose:
    """Look for a cure that fits; ``tried`` are out of the question."""

    tried: frozenset[str]


@dataclass(frozen=True)
class Review:
    """People are being asked: see whether the plan still is what they were shown."""


@dataclass(frozen=True)
class Execute:
    """Carry out the approved plan's next step."""


@dataclass(frozen=True)
class Undo:
    """Put the plan's receipts back."""


@dataclass(frozen=True)
class Recover:
    """An intent has no outcome and its owner is gone: look what happened."""


@dataclass(frozen=True)
class Settle:
    """See whether the change is physically in place."""


@dataclass(frozen=True)
class Judge:
    """See whether the patient is better."""


@dataclass(frozen=True)
class CheckQuiet:
    """Nothing fires: see whether the metrics agree."""


@dataclass(frozen=True)
class HoldLock:
    """A security lock is asked for: see whether anything of ours is still under way in its scopes."""


@dataclass(frozen=True)
class Capture:
    """It is locked and nothing was read of it yet: keep what there is before anybody touches it."""


@dataclass(frozen=True)
class ConsiderIsolation:
    """It is locked: see what the policy's sign asks to isolate, and who has to say yes."""


@dataclass(frozen=True)
class Isolate:
    """Carry out the next write of what was approved, or take back what is to be taken back."""


@dataclass(frozen=True)
class CheckIsolation:
    """See whether what is isolated still talks."""


Next = (
    Rest
    | Record
    | Classify
    | Diagnose
    | Propose
    | Review
    | Execute
    | Undo
    | Recover
    | Settle
    | Judge
    | CheckQuiet
    | HoldLock
    | Capture
    | ConsiderIsolation
    | Isolate
    | CheckIsolation
)


# What is done about an attack; the metrics are open to whoever reaches them, the attacker too.
_UNTOLD = (HoldLock, Capture, ConsiderIsolation, Isolate, CheckIsolation)


def counted_as(todo: Next) -> str:
    """The name under which a step is counted, which does not tell that there is an attack."""
    return _counted(type(todo))


def _counted(kind: type) -> str:
    return "other" if issubclass(kind, _UNTOLD) else kind.__name__.lower()


# Every such name: what is only decided is no step.
COUNTED = frozenset(_counted(kind) for kind in get_args(Next) if kind not in (Rest, Record))


def next_step(
    incident: Incident,
    plan: Plan | None,
    *,
    policy_hash: str | None,
    looked: frozenset[type],
    now: datetime,
    storm: str = "",
) -> Next:
    """What to do now. ``plan`` is the body of the incident's current plan, ``policy_hash`` its policy's as
    loaded at present (None: no longer loaded), ``looked`` the steps that were taken just now and changed
    nothing, ``storm`` why nothing is automatic now.
    """
    record = incident.security if incident.open else None
    if record is not None and (warned := warning(record, now)) is not None:
        return Record((warned,))
    found = _next(incident, plan, policy_hash, looked, now, storm)
    if record is not None and isinstance(found, Rest):
        due = next_warning(record)
        return found if due is None else Rest(_sooner(found.until, due), found.why)
    if type(found) in looked and not isinstance(found, Rest | Record):
        return Rest(None, "nothing changed when it was looked at")
    return found


_UNDOES = (PlanState.UNDO_APPROVED, PlanState.UNDOING)


def _next(
    incident: Incident,
    plan: Plan | None,
    policy_hash: str | None,
    looked: frozenset[type],
    now: datetime,
    storm: str,
) -> Next:
    progress = incident.plan
    if not incident.open and (progress is None or progress.state not in _UNDOES):
        return Rest(None, "it is resolved")
    if progress is not None and progress.state in (PlanState.EXECUTING, PlanState.UNDOING):
        return Recover()
    if not incident.open and progress is not None and plan is not None:
        # Its mitigation has expired and is put back: nothing else of it is looked at.
        found = _of_plan(incident, progress, plan, policy_hash, looked, now, storm)
        return found or Rest(None, "it is resolved")
    if incident.lockdown is not None and incident.open:
        return _locked_down(incident, incident.lockdown, plan, looked, now)
    due = _passed(incident.classified_at, RECLASSIFY, now)
    if incident.firing and due and Classify not in looked:
        return Classify()
    lower = incident.lower_to
    lowered = incident.lower_since is not None and _passed(incident.lower_since, DOWNGRADE_AFTER, now)
    if lowered and incident.firing and lower is not None and incident.downgrade_proposed is None:
        return Record((ev.DowngradeProposed(lower, "less bad for fifteen minutes"),))
    found = _of_plan(incident, progress, plan, policy_hash, looked, now, storm) if progress and plan else None
    if found is None:
        found = _without_plan(incident, looked, now)
    if isinstance(found, Rest) and incident.firing:
        return Rest(_sooner(found.until, max(now, incident.classified_at or now) + RECLASSIFY), found.why)
    return found


def _locked_down(
    incident: Incident, lockdown: Lockdown, plan: Plan | None, looked: frozenset[type], now: datetime
) -> Next:
    """A security incident: what waits is cancelled, what is there is kept, then isolated; what is under way
    is seen to its end; nothing else is begun, nothing resolved.

    People are asked before the evidence is read, so that both take their time together.
    """
    progress = incident.plan
    if progress is not None and progress.state in WAITING:
        return Record((cancelled(progress, "it is a security incident: only isolation is allowed"),))
    if not lockdown.considered and ConsiderIsolation not in looked:
        return ConsiderIsolation()
    if asked := to_ask(incident, now):
        return Record(asked)
    if not lockdown.captured and Capture not in looked:
        return Capture()
    if (isolating := _isolating(incident, lockdown, looked)) is not None:
        return isolating
    if progress is not None and plan is not None:
        if progress.state is PlanState.EXECUTED and Settle not in looked:
            return Settle()
        if progress.state is PlanState.WATCHED and Judge not in looked:
            return Judge()
    due = next_look(incident, now)
    if lockdown.in_force_at is None:
        return (
            HoldLock()
            if HoldLock not in looked
            else Rest(_sooner(due, now + LOCK_AGAIN), "for what is under way")
        )
    if lockdown.may_lift and not _to_settle(incident, lockdown):
        return Record((ev.SecurityReleased(tuple(dict.fromkeys(name for name, _ in lockdown.releases))),))
    return Rest(due, "a security incident: people isolate, preserve and release it")


def _isolating(
    incident: Incident, lockdown: Lockdown, looked: frozenset[type]
) -> Isolate | CheckIsolation | None:
    states = {one.state for one in incident.isolations}
    approved = IsolationState.APPROVED in states and not lockdown.may_lift
    if (approved or _to_settle(incident, lockdown)) and Isolate not in looked:
        return Isolate()
    if states & STANDING and CheckIsolation not in looked:
        return CheckIsolation()
    return None


def _to_settle(incident: Incident, lockdown: Lockdown) -> bool:
    """Whether a write of an isolation may be under way, or one is to be taken back before the release."""
    return any(
        one.state in (IsolationState.STARTED, IsolationState.LIFTING)
        or (lockdown.may_undo and one.state in STANDING and not one.stays)
        for one in incident.isolations
    )


def _of_plan(
    incident: Incident,
    progress: PlanProgress,
    plan: Plan,
    policy_hash: str | None,
    looked: frozenset[type],
    now: datetime,
    storm: str,
) -> Next | None:
    """What the current plan needs; None where it no longer stands in the way."""
    if _waits(incident, progress) and policy_hash != plan.policy_hash:
        gone = "is no longer loaded" if policy_hash is None else "changed"
        return Record(
            (ev.PlanVoided(progress.plan_id, f"policy {plan.policy} {gone} since the plan was made"),)
        )
    match progress.state:
        case PlanState.PLANNED:
            return Record((first_request(incident, progress, plan, now, storm=storm),))
        case PlanState.AWAITING:
            return _awaiting(incident, progress, plan, looked, now)
        case PlanState.SUSPENDED:
            return Record((_request(progress, plan, now),)) if incident.firing else None
        case PlanState.EXPIRED:
            if not incident.firing:
                return None
            if progress.ask_again_at is None:
                return Rest(None, "nobody answered; it was handed over")
            if now >= progress.ask_again_at:
                return Record((_request(progress, plan, now),))
            return Rest(progress.ask_again_at, "to ask once more")
        case PlanState.APPROVED:
            if progress.execute_before is not None and now >= progress.execute_before:
                reason = "it was not started in the time its approval gave"
                return Record((cancelled(progress, reason),))
            if progress.retry_at is not None and now < progress.retry_at:
                return Rest(progress.retry_at, "to ask the guards again")
            return Execute()
        case PlanState.EXECUTING | PlanState.UNDOING:
            return Recover()
        case PlanState.EXECUTED:
            return Settle()
        case PlanState.WATCHED:
            return Judge()
        case PlanState.UNDO_APPROVED:
            if progress.retry_at is not None and now < progress.retry_at:
                return Rest(progress.retry_at, "to ask the guards again")
            return Undo()
        case PlanState.UNKNOWN:
            return Rest(None, "a person must settle whether it happened")
        case PlanState.UNDO_ASKED:
            return Rest(None, "a person must decide about the undo")
        case (
            PlanState.SHADOWED
            | PlanState.VERIFIED
            | PlanState.STILL_SICK
            | PlanState.INCONCLUSIVE
            | PlanState.UNDONE
            | PlanState.DENIED
            | PlanState.VOID
            | PlanState.REFUSED
            | PlanState.ALREADY_SO
        ):
            return None
        case _:
            assert_never(progress.state)


def _waits(incident: Incident, progress: PlanProgress) -> bool:
    """Whether nothing was done yet and a yes is asked for, given, or about to be asked for again."""
    if progress.state is PlanState.SUSPENDED:
        return incident.firing
    if progress.state is PlanState.EXPIRED:
        return incident.firing and progress.ask_again_at is not None
    return progress.step == 0 and progress.state in (
        PlanState.PLANNED,
        PlanState.AWAITING,
        PlanState.APPROVED,
    )


def _awaiting(
    incident: Incident, progress: PlanProgress, plan: Plan, looked: frozenset[type], now: datetime
) -> Next:
    if not incident.firing:
        return Record((ev.ApprovalSuspended(progress.plan_id),))
    expires = progress.expires_at
    if expires is not None and now >= expires:
        wait = ask_again_after(progress.round)
        expired = ev.ApprovalExpired(progress.plan_id, progress.round, None if wait is None else now + wait)
        if wait is not None:
            return Record((expired,))
        return Record(
            (expired, ev.Escalated(f"nobody answered {progress.plan_id} in {progress.round} rounds"))
        )
    if Review not in looked:
        return Review()
    return Rest(_sooner(expires, now + REVIEW), "for an approval")


def _without_plan(incident: Incident, looked: frozenset[type], now: datetime) -> Next:
    """No plan stands in the way: look for one while it fires, watch for quiet once it does not."""
    if not incident.firing:
        return _quiet(incident, looked, now)
    if incident.diagnosed_at is None:
        return Diagnose()
    progress = incident.plan
    if progress is not None and progress.state in (PlanState.VERIFIED, PlanState.ALREADY_SO):
        return _alert_should_end(incident, progress, now)
    if progress is not None and progress.state is PlanState.INCONCLUSIVE:
        return Rest(None, "a person must judge whether it helped")
    if progress is not None and progress.state is PlanState.SHADOWED:
        return Rest(None, "the policy only shadows")
    voids = sum(state == PlanState.VOID.value for _, state in incident.tried)
    if voids >= VOIDS_ALLOWED:
        reason = f"{voids} plans went stale: somebody else is working there"
        if reason in incident.escalated:
            return Rest(None, reason)
        return Record((ev.Escalated(reason),))
    again = BLIND_AGAIN if incident.nothing_blind else LOOK_AGAIN
    if not _passed(incident.nothing_applied_at, again, now):
        assert incident.nothing_applied_at is not None
        return Rest(incident.nothing_applied_at + again, "to look once more for a cure")
    return Propose(frozenset(name for name, state in incident.tried if state != PlanState.VOID.value))


def _alert_should_end(incident: Incident, progress: PlanProgress, now: datetime) -> Next:
    since = progress.since or now
    reason = f"{progress.plan_id} helped by the metrics, but the alert still fires"
    if reason in incident.escalated:
        return Rest(None, reason)
    if now - since >= ALERT_SHOULD_END:
        return Record((ev.Escalated(reason),))
    return Rest(since + ALERT_SHOULD_END, "for the alert to end")


def _quiet(incident: Incident, looked: frozenset[type], now: datetime) -> Next:
    """That alerts ended, however, resolves nothing: the metrics begin the window, and have the last word."""
    until = incident.monitoring_until
    if incident.ready_to_resolve:
        return Rest(None, "a person closes it with its cause")
    if incident.security is not None and incident.security.missing_to_close:
        return Rest(None, "it was a security incident, and people owe something to it")
    if until is None or now < until or CheckQuiet not in looked:
        return CheckQuiet()
    if incident.severity in (Severity.P0, Severity.P1):
        return Record(
            (ev.ReadyToResolve("nothing recurred; a P0 or P1 is closed by a person with its cause"),)
        )
    return Record((ev.Resolved("policy", _cause(incident)),))


def after_verdict(incident: Incident, plan: Plan, outcome: Outcome) -> tuple[ev.Event, ...]:
    """What follows from a verdict that did not find the patient better: undo, ask, or hand over.

    At most one undo of an incident happens by itself; one that failed to help asks (undoing a rollback
    brings the bad release back).
    """
    progress = incident.plan
    assert progress is not None
    if outcome is Outcome.INCONCLUSIVE:
        return (ev.Escalated(f"whether {progress.plan_id} helped cannot be told"),)
    if outcome not in (Outcome.WORSE, Outcome.NOT_IMPROVED):
        return ()
    when = UndoWhen.REGRESSION if outcome is Outcome.WORSE else UndoWhen.FAILURE
    words = "it got worse" if outcome is Outcome.WORSE else "it did not help"
    if when in plan.undo.automatic and incident.automatic_undos == 0 and progress.receipts:
        return (ev.UndoApproved(progress.plan_id, "policy", words),)
    if (when in plan.undo.ask or when in plan.undo.automatic) and progress.receipts:
        return (
            ev.UndoAsked(progress.plan_id, f"{words}; undo it, or leave it and look further"),
            ev.Escalated(f"{progress.plan_id}: {words}; a person decides about the undo"),
        )
    return (ev.Escalated(f"{progress.plan_id}: {words}"),)


def cancelled(progress: PlanProgress, reason: str) -> ev.Event:
    """How a plan ends that nobody carries on: what was done of it stays, and is judged."""
    if progress.receipts:
        return ev.StepPassedOver(progress.plan_id, progress.step, reason, last=True)
    return ev.PlanVoided(progress.plan_id, reason)


def first_request(
    incident: Incident, progress: PlanProgress, plan: Plan, now: datetime, *, storm: str = ""
) -> ev.Event:
    """What a new plan begins with: the policy's own yes where it may give one, else people are asked.

    In a ``storm``, which its sentence tells of, nothing is automatic.
    """
    by_rule = approve_by_rule(progress.plan_id, plan, now=now)
    # What nobody delivered may be proposed for, never acted on without a person.
    told = any(alert.firing and alert.source == "webhook" for alert in incident.alerts.values())
    if by_rule is None or not told:
        return _request(progress, plan, now)
    if storm:
        return replace(_request(progress, plan, now), why=storm)
    return ev.Approved(progress.plan_id, by_rule.digest, by_rule.approved_by, by_rule.execute_before)


def _request(progress: PlanProgress, plan: Plan, now: datetime) -> ev.ApprovalRequested:
    # A request that was suspended, or whose plan was made anew, has not been left unanswered.
    round_ = progress.expired_rounds + 1
    return ev.ApprovalRequested(
        plan_id=progress.plan_id,
        digest=plan.digest,
        groups=asked_in(plan.approval, round_),
        count=plan.approval.count,
        expires_at=now + plan.approval.expires,
        round=round_,
    )


def _cause(incident: Incident) -> str:
    progress = incident.plan
    if progress is not None and progress.state is PlanState.VERIFIED:
        return f"{progress.remediation} ({progress.plan_id}) helped"
    return "the alerts ended and the metrics hold"


def _passed(since: datetime | None, wait: timedelta, now: datetime) -> bool:
    return since is None or now - since >= wait


def _sooner(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else min(one, other)
