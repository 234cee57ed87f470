"""An incident, and how each event changes it.

`apply` is pure and total: the timeline replayed through it is the state, after a crash as before. Leases,
due times, counters and other bookkeeping of the store lie outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, assert_never

from pydantic import TypeAdapter, ValidationError

from receiver.domain import events as ev
from receiver.domain.errors import NOT_OURS, NewerWords
from receiver.domain.isolation import STANDING, Approver, Isolating, IsolationState
from receiver.domain.occurrences import Ending
from receiver.domain.persons import person_of
from receiver.domain.plans import Receipt
from receiver.domain.security import Said, SecurityRecord
from receiver.domain.severity import Severity


class Status(StrEnum):
    """The playbook's own four."""

    INVESTIGATING = "investigating"
    IDENTIFIED = "identified"
    MONITORING = "monitoring"
    RESOLVED = "resolved"


class PlanState(StrEnum):
    """Where the current plan stands."""

    PLANNED = "planned"
    SHADOWED = "shadowed"
    AWAITING = "awaiting-approval"
    SUSPENDED = "suspended"
    EXPIRED = "expired"
    APPROVED = "approved"
    EXECUTING = "executing"
    EXECUTED = "executed"
    WATCHED = "watched"
    VERIFIED = "verified"
    STILL_SICK = "still-sick"
    INCONCLUSIVE = "inconclusive"
    UNDO_ASKED = "undo-asked"
    UNDO_APPROVED = "undo-approved"
    UNDOING = "undoing"
    UNDONE = "undone"
    UNKNOWN = "unknown-effect"
    DENIED = "denied"
    VOID = "void"
    REFUSED = "refused"
    ALREADY_SO = "already-so"


# A plan in one of these may have changed its target and has no verdict yet.
IN_FLIGHT = frozenset(
    {
        PlanState.EXECUTING,
        PlanState.EXECUTED,
        PlanState.WATCHED,
        PlanState.UNDO_APPROVED,
        PlanState.UNDOING,
        PlanState.UNKNOWN,
    }
)
# It would be carried out, or carried on, once people say yes.
WAITING = frozenset(
    {
        PlanState.PLANNED,
        PlanState.AWAITING,
        PlanState.SUSPENDED,
        PlanState.EXPIRED,
        PlanState.APPROVED,
    }
)
# A plan in one of these is over; another may be looked for.
OVER = frozenset(
    {
        PlanState.VERIFIED,
        PlanState.STILL_SICK,
        PlanState.INCONCLUSIVE,
        PlanState.UNDONE,
        PlanState.DENIED,
        PlanState.VOID,
        PlanState.REFUSED,
        PlanState.ALREADY_SO,
        PlanState.SHADOWED,
    }
)


@dataclass(frozen=True)
class IncidentAlert:
    """One alert as this incident knows it; ``ends_at`` is None while it fires."""

    identity: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime | None = None
    how: Ending | None = None
    source: str = "webhook"

    @property
    def firing(self) -> bool:
        """Whether it has not ended."""
        return self.ends_at is None


@dataclass(frozen=True)
class PlanProgress:
    """The current plan, as far as deciding what comes next needs it."""

    plan_id: str
    remediation: str
    digest: str
    state: PlanState
    planned_at: datetime
    mode: str = "propose"
    cure: str = ""
    since: datetime | None = None
    expires_at: datetime | None = None
    round: int = 0
    # Rounds in which nobody answered; a plan made anew after a void takes them over.
    expired_rounds: int = 0
    ask_again_at: datetime | None = None
    approvals: tuple[str, ...] = ()
    execute_before: datetime | None = None
    intent: str | None = None
    intent_kind: str = "execute"
    step: int = 0
    receipts: tuple[Receipt, ...] = ()
    baseline: Mapping[str, float | None] = field(default_factory=dict)
    executed_at: datetime | None = None
    watched_since: datetime | None = None
    retry_at: datetime | None = None
    objections: tuple[str, ...] = ()
    # Somebody is asked to put it back because its time is over, not because it did not help.
    expired: bool = False


@dataclass(frozen=True)
class Lockdown:
    """A security incident's lock: what it covers, whether anything of ours is still under way there, and who
    would lift it.
    """

    reason: str
    scopes: tuple[str, ...]
    since: datetime
    # Every reason it was locked for, where more was locked since: each may be a sign that asks to isolate.
    reasons: tuple[str, ...] = ()
    in_force_at: datetime | None = None
    # Whether evidence of these very scopes was sealed, or could not be and that was said.
    captured: bool = False
    # Whether it was looked for what is to be isolated.
    considered: bool = False
    # Who said that it may be lifted, each with whether they are a security lead.
    releases: tuple[tuple[str, bool], ...] = ()
    # The same people as they are told apart, in the same order.
    released_by: tuple[str, ...] = ()
    # Those of them who want what was isolated to be taken back.
    undo_wanted: tuple[str, ...] = ()

    @property
    def may_lift(self) -> bool:
        """Whether two different people said so, one of them a security lead."""
        return len(set(self.released_by)) >= 2 and any(lead for _, lead in self.releases)

    @property
    def may_undo(self) -> bool:
        """Whether everybody who lifts it wants the isolations taken back, too."""
        return self.may_lift and {name for name, _ in self.releases} <= set(self.undo_wanted)


@dataclass(frozen=True)
class Incident:
    """Everything that deciding about an incident may use, and nothing that moves by itself."""

    id: int
    key: str = ""
    title: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    epoch: int = 1
    status: Status = Status.INVESTIGATING
    severity: Severity | None = None
    alerts: Mapping[str, IncidentAlert] = field(default_factory=dict)
    opened_at: datetime | None = None
    acknowledged_by: str | None = None
    resolved_at: datetime | None = None
    cause: str | None = None
    classified_at: datetime | None = None
    lower_since: datetime | None = None
    lower_to: Severity | None = None
    nothing_applied_at: datetime | None = None
    nothing_reasons: tuple[str, ...] = ()
    # Whether a source did not answer then, so that another look is soon worth it.
    nothing_blind: bool = False
    downgrade_proposed: Severity | None = None
    diagnosed_at: datetime | None = None
    facts_hash: str = ""
    # The checklist of what a person does, from the newest diagnosis.
    handover: tuple[ev.HandoverItem, ...] = ()
    plan: PlanProgress | None = None
    tried: tuple[tuple[str, str], ...] = ()
    automatic_undos: int = 0
    monitoring_until: datetime | None = None
    ready_to_resolve: bool = False
    escalated: tuple[str, ...] = ()
    held: Mapping[str, datetime] = field(default_factory=dict)
    stale: str | None = None
    quiet_since: datetime | None = None
    lockdown: Lockdown | None = None
    # What was sealed of it, oldest first; it outlives the lock.
    evidence: tuple[ev.EvidenceSealed, ...] = ()
    # What was or is to be isolated, oldest first; it outlives the lock as well.
    isolations: tuple[Isolating, ...] = ()
    # The alerts that people knew of when they last released it: they turn it no more.
    cleared: tuple[str, ...] = ()
    # What people owe since it was a security incident.
    security: SecurityRecord | None = None
    last_seq: int = 0

    @property
    def firing(self) -> bool:
        """Whether any of its alerts has not ended."""
        return any(alert.firing for alert in self.alerts.values())

    @property
    def first_bad_at(self) -> datetime | None:
        """When the earliest of its alerts started."""
        return min((alert.starts_at for alert in self.alerts.values()), default=None)

    @property
    def open(self) -> bool:
        """Whether it has not been resolved or closed."""
        return self.status is not Status.RESOLVED


def replay(incident_id: int, timeline: Iterable[ev.Recorded]) -> Incident:
    """The incident that this timeline tells."""
    incident = Incident(id=incident_id)
    for recorded in timeline:
        incident = apply(incident, recorded)
    return incident


def apply(incident: Incident, recorded: ev.Recorded) -> Incident:
    """The incident after this event. No I/O, no clock; the event carries its time."""
    incident = replace(incident, last_seq=recorded.seq)
    at = recorded.at
    event = recorded.event
    match event:
        case ev.Opened():
            return replace(incident, key=event.key, title=event.title, labels=event.labels, opened_at=at)
        case ev.TurnedSecurity() | ev.LockInForce() | ev.ReleaseGiven() | ev.SecurityReleased():
            return _locked_down(incident, event, at)
        case ev.EvidenceSealed():
            return _captured(incident, event)
        case (
            ev.AwarenessSet()
            | ev.ClockWarned()
            | ev.AuthorityTold()
            | ev.Assessed()
            | ev.CredentialsListed()
            | ev.CredentialRenewed()
            | ev.Attested()
        ):
            record = incident.security
            return incident if record is None else replace(incident, security=_owed(record, event, at))
        case ev.IsolationConsidered():
            lockdown = incident.lockdown
            considered = None if lockdown is None else replace(lockdown, considered=True)
            return replace(incident, lockdown=considered)
        case (
            ev.IsolationPlanned()
            | ev.IsolationAsked()
            | ev.IsolationApproved()
            | ev.IsolationDenied()
            | ev.IsolationStarted()
            | ev.IsolationStepDone()
            | ev.IsolationFailed()
            | ev.IsolationHolds()
            | ev.IsolationLeaks()
            | ev.IsolationStays()
        ):
            return replace(incident, isolations=_isolations(incident.isolations, event, at))
        case ev.AlertFired():
            return _fired(incident, event, at)
        case ev.AlertResolved():
            return _ended(incident, event, at)
        case ev.AlertHeld():
            return replace(incident, stale=event.reason)
        case ev.HoldEnded():
            return replace(incident, stale=None)
        case ev.Reopened():
            return replace(
                incident,
                epoch=event.epoch,
                status=Status.INVESTIGATING,
                resolved_at=None,
                cause=None,
                monitoring_until=None,
                ready_to_resolve=False,
                plan=None,
                tried=(),
                escalated=(),
                nothing_applied_at=None,
                nothing_reasons=(),
                diagnosed_at=None,
                handover=(),
                classified_at=None,
                held={},
                quiet_since=None,
            )
        case ev.Classified():
            return _classified(incident, event, at)
        case ev.DowngradeProposed():
            return replace(incident, downgrade_proposed=event.severity)
        case ev.SeveritySet():
            return replace(
                incident, severity=event.severity, lower_since=None, lower_to=None, downgrade_proposed=None
            )
        case ev.Diagnosed():
            return replace(incident, diagnosed_at=at, facts_hash=event.facts_hash)
        case ev.HandedOver():
            return replace(incident, handover=event.items)
        case ev.NothingApplies():
            return replace(
                incident,
                nothing_applied_at=at,
                nothing_reasons=event.reasons,
                nothing_blind=event.blind,
            )
        case ev.Escalated():
            return replace(incident, escalated=(*incident.escalated, event.reason))
        case ev.MonitoringStarted():
            return replace(
                incident,
                status=Status.MONITORING,
                stale=None,
                monitoring_until=event.until,
                quiet_since=incident.quiet_since or at,
            )
        case ev.MonitoringInterrupted():
            return replace(incident, monitoring_until=event.until, ready_to_resolve=False, stale=event.reason)
        case ev.ReadyToResolve():
            return replace(incident, ready_to_resolve=True)
        case ev.Acknowledged():
            return replace(incident, acknowledged_by=incident.acknowledged_by or event.by)
        case ev.Noted():
            return incident
        case ev.Resolved():
            return replace(incident, status=Status.RESOLVED, resolved_at=at, cause=event.cause, stale=None)
        case ev.ClosedByHand():
            return replace(
                incident,
                status=Status.RESOLVED,
                resolved_at=at,
                cause=event.reason,
                held=dict(event.holding),
                stale=None,
            )
        case _:
            return _planned(incident, event, at)


def _planned(incident: Incident, event: ev.PlanEvent, at: datetime) -> Incident:
    """The events that concern a plan; each names it, and one of an older plan changes nothing."""
    if isinstance(event, ev.Planned):
        return replace(
            incident,
            status=_identified(incident),
            plan=PlanProgress(
                plan_id=event.plan_id,
                remediation=event.remediation,
                digest=event.digest,
                state=PlanState.SHADOWED if event.mode == "shadow" else PlanState.PLANNED,
                planned_at=at,
                mode=event.mode,
                cure=event.cure,
                since=at,
                expired_rounds=_unanswered(incident.plan, event),
            ),
        )
    plan = incident.plan
    if plan is None or plan.plan_id != event.plan_id:
        return incident
    changed = _progress(plan, event, at)
    incident = replace(incident, plan=replace(changed, since=at))
    if changed.state in OVER:
        tried = plan.cure or plan.remediation
        incident = replace(incident, tried=(*incident.tried, (tried, changed.state.value)))
    if isinstance(event, ev.UndoApproved) and event.by == "policy":
        incident = replace(incident, automatic_undos=incident.automatic_undos + 1)
    return incident


def _unanswered(before: PlanProgress | None, event: ev.Planned) -> int:
    """How often nobody answered the plan that this one stands for anew: a void gives no round back."""
    if before is None or before.state is not PlanState.VOID:
        return 0
    if (before.cure or before.remediation) != (event.cure or event.remediation):
        return 0
    return before.expired_rounds


def _progress(plan: PlanProgress, event: ev.PlanEvent, at: datetime) -> PlanProgress:
    match event:
        case ev.Planned():
            return plan
        case ev.ApprovalRequested():
            return replace(
                plan,
                state=PlanState.AWAITING,
                expires_at=event.expires_at,
                round=event.round,
                # Back from a suspension: whoever said yes to this digest in this round has said so.
                approvals=plan.approvals if event.round == plan.round else (),
            )
        case ev.ApprovalSuspended():
            return replace(plan, state=PlanState.SUSPENDED, expires_at=None)
        case ev.AnswerRefused():
            return plan
        case ev.ApprovalGiven() | ev.GlassBroken():
            return replace(plan, approvals=(*plan.approvals, event.by))
        case ev.Approved():
            return replace(
                plan,
                state=PlanState.APPROVED,
                execute_before=event.execute_before,
                approvals=event.by,
                expired_rounds=0,
                retry_at=None,
            )
        case ev.Denied():
            return replace(plan, state=PlanState.DENIED)
        case ev.ApprovalExpired():
            return replace(
                plan,
                state=PlanState.EXPIRED,
                ask_again_at=event.ask_again_at,
                expired_rounds=event.round,
                approvals=(),
            )
        case ev.PlanVoided():
            return replace(plan, state=PlanState.VOID)
        case ev.Refused():
            if event.retry_at is not None:
                return replace(plan, retry_at=event.retry_at, objections=event.objections)
            return replace(plan, state=PlanState.REFUSED)
        case ev.ExecutionStarted():
            undoing = event.kind == "undo"
            return replace(
                plan,
                state=PlanState.UNDOING if undoing else PlanState.EXECUTING,
                intent=event.intent,
                intent_kind=event.kind,
                objections=(),
                step=event.step,
                baseline=plan.baseline if undoing else event.baseline,
            )
        case ev.Executed():
            return _executed(plan, event.receipt, event.step, event.last, at)
        case ev.AlreadySo():
            return replace(plan, state=PlanState.ALREADY_SO, intent=None)
        case ev.StepPassedOver():
            return _passed_over(plan, event)
        case ev.NotDone():
            if event.kind == "undo":
                return replace(plan, state=PlanState.UNDO_ASKED, intent=None)
            if plan.receipts:
                # What the steps before it did is there, and is judged.
                return replace(plan, state=PlanState.EXECUTED, intent=None)
            return replace(plan, state=PlanState.VOID if event.look_again else PlanState.REFUSED, intent=None)
        case ev.EffectUnknown():
            return replace(plan, state=PlanState.UNKNOWN)
        case ev.EffectSettled():
            return _settled(plan, event, at)
        case ev.InPlace():
            return replace(plan, state=PlanState.WATCHED, watched_since=at)
        case ev.Verified():
            return replace(plan, state=PlanState.VERIFIED)
        case ev.StillSick():
            return replace(plan, state=PlanState.STILL_SICK)
        case ev.Inconclusive():
            return replace(plan, state=PlanState.INCONCLUSIVE)
        case ev.UndoAsked() | ev.UndoImpossible():
            return replace(plan, state=PlanState.UNDO_ASKED, intent=None)
        case ev.MitigationExpired():
            return replace(plan, state=PlanState.UNDO_ASKED, intent=None, expired=True)
        case ev.MitigationKept():
            return replace(plan, state=PlanState.VERIFIED, expired=False)
        case ev.UndoApproved():
            return replace(plan, state=PlanState.UNDO_APPROVED, retry_at=None)
        case ev.Undone():
            return replace(plan, state=PlanState.UNDONE, intent=None)
        case _:
            assert_never(event)


def _executed(plan: PlanProgress, receipt: Receipt, step: int, last: bool, at: datetime) -> PlanProgress:
    return replace(
        plan,
        state=PlanState.EXECUTED if last else PlanState.APPROVED,
        intent=None,
        step=step + 1,
        receipts=(*plan.receipts, receipt),
        executed_at=at,
    )


def _passed_over(plan: PlanProgress, event: ev.StepPassedOver) -> PlanProgress:
    if not event.last:
        state = PlanState.APPROVED
    else:
        state = PlanState.EXECUTED if plan.receipts else PlanState.ALREADY_SO
    return replace(plan, state=state, intent=None, step=event.step + 1)


def _settled(plan: PlanProgress, event: ev.EffectSettled, at: datetime) -> PlanProgress:
    if plan.intent_kind == "undo":
        return replace(plan, state=PlanState.UNDONE if event.done else PlanState.UNDO_ASKED, intent=None)
    if event.done and event.receipt is not None:
        return _executed(plan, event.receipt, plan.step, True, at)
    return replace(plan, state=PlanState.VOID, intent=None)


def _identified(incident: Incident) -> Status:
    """Identified once a plan exists; monitoring is left only by a re-fire."""
    return Status.IDENTIFIED if incident.status is Status.INVESTIGATING else incident.status


def _fired(incident: Incident, event: ev.AlertFired, at: datetime) -> Incident:
    known = incident.alerts.get(event.identity)
    alert = IncidentAlert(
        identity=event.identity,
        labels=event.labels,
        annotations=event.annotations,
        starts_at=min(event.starts_at, known.starts_at) if known and known.firing else event.starts_at,
        source=event.source,
    )
    status = incident.status
    if status is Status.MONITORING:
        status = Status.IDENTIFIED if incident.plan is not None else Status.INVESTIGATING
    return replace(
        incident,
        alerts={**incident.alerts, event.identity: alert},
        status=status,
        monitoring_until=None,
        ready_to_resolve=False,
        quiet_since=None,
        stale=None,
        # Another alert may change what the incident is, and what is to be isolated: look again.
        lockdown=incident.lockdown if known or not incident.lockdown else _reconsidered(incident.lockdown),
        classified_at=None,
        nothing_applied_at=None,
    )


def _reconsidered(lockdown: Lockdown) -> Lockdown:
    return replace(lockdown, considered=False)


def _ended(incident: Incident, event: ev.AlertResolved, at: datetime) -> Incident:
    known = incident.alerts.get(event.identity)
    if known is None:
        return incident
    alerts = {**incident.alerts, event.identity: replace(known, ends_at=event.ends_at, how=event.how)}
    quiet = not any(alert.firing for alert in alerts.values())
    return replace(
        incident, alerts=alerts, quiet_since=(incident.quiet_since or at) if quiet else None, stale=None
    )


def _classified(incident: Incident, event: ev.Classified, at: datetime) -> Incident:
    incident = replace(incident, classified_at=at)
    if event.severity is None:
        return incident
    if event.severity.worse_than(incident.severity):
        raised = incident.severity is not None
        return replace(
            incident,
            severity=event.severity,
            lower_since=None,
            downgrade_proposed=None,
            epoch=incident.epoch + 1 if raised else incident.epoch,
        )
    if event.severity is incident.severity:
        return replace(incident, lower_since=None, downgrade_proposed=None)
    return replace(incident, lower_since=incident.lower_since or at, lower_to=event.severity)


def _locked_down(
    incident: Incident,
    event: ev.TurnedSecurity | ev.LockInForce | ev.ReleaseGiven | ev.SecurityReleased,
    at: datetime,
) -> Incident:
    lockdown = incident.lockdown
    match event:
        case ev.TurnedSecurity():
            scopes = event.scopes if lockdown is None else (*lockdown.scopes, *event.scopes)
            earlier = () if lockdown is None else (*lockdown.reasons, lockdown.reason)
            reasons = tuple(dict.fromkeys((*earlier, event.reason)))
            found = Lockdown(event.reason, tuple(dict.fromkeys(scopes)), at, reasons)
            # Playbook S-7: pages like a P0 until a security lead lowers it.
            return replace(
                incident,
                lockdown=found,
                severity=Severity.P0,
                lower_since=None,
                downgrade_proposed=None,
                security=incident.security or SecurityRecord(aware_at=at, locked_at=at),
            )
        case ev.LockInForce():
            return replace(incident, lockdown=replace(lockdown, in_force_at=at) if lockdown else None)
        case ev.ReleaseGiven():
            if lockdown is None:
                return incident
            releases = (*lockdown.releases, (event.by, event.lead))
            told = replace(
                lockdown,
                releases=releases,
                released_by=(*lockdown.released_by, person_of(event.by, event.uid)),
                undo_wanted=(*lockdown.undo_wanted, event.by) if event.undo else lockdown.undo_wanted,
            )
            return replace(incident, lockdown=told)
        case ev.SecurityReleased():
            return replace(
                incident,
                lockdown=None,
                isolations=_not_begun(incident.isolations, at),
                cleared=tuple(incident.alerts),
            )
        case _:
            assert_never(event)


def _owed(record: SecurityRecord, event: ev.DutyEvent, at: datetime) -> SecurityRecord:
    match event:
        case ev.AwarenessSet():
            # From another moment on the warnings count anew.
            return replace(record, aware_at=event.since, warned=0)
        case ev.ClockWarned():
            return replace(record, warned=event.hours)
        case ev.AuthorityTold():
            return replace(record, authority=Said(event.by, event.reason, at), filed=event.filed)
        case ev.Assessed():
            return replace(
                record, answers={**record.answers, event.question: Said(event.by, event.answer, at)}
            )
        case ev.CredentialsListed():
            found = dict.fromkeys((*record.credentials, *event.credentials))
            return replace(record, credentials=tuple(found), listed=True)
        case ev.CredentialRenewed():
            said = Said(event.by, f"{event.owner}: {event.proof}", at)
            return replace(record, renewed={**record.renewed, event.credential: said})
        case ev.Attested():
            return replace(record, attested={**record.attested, event.what: Said(event.by, event.proof, at)})
        case _:
            assert_never(event)


def _isolations(
    known: tuple[Isolating, ...], event: ev.IsolationEvent, at: datetime
) -> tuple[Isolating, ...]:
    if isinstance(event, ev.IsolationPlanned):
        planned = Isolating(
            id=event.isolation_id,
            act=event.act,
            target=event.target,
            digest=event.digest,
            state=IsolationState.ASKED,
            since=at,
            summary=event.summary,
            notes=event.notes,
            undo=event.undo,
            asked_by=event.by,
        )
        return (*known, planned)
    return tuple(_isolating(one, event, at) if one.id == event.isolation_id else one for one in known)


def _isolating(one: Isolating, event: ev.IsolationEvent, at: datetime) -> Isolating:
    match event:
        case ev.IsolationPlanned():
            return one
        case ev.IsolationAsked():
            return replace(
                one, state=IsolationState.ASKED, since=at, round=event.round, standing=False, approved_by=""
            )
        case ev.IsolationApproved():
            return replace(
                one,
                state=IsolationState.APPROVED,
                since=at,
                approved_by=event.by,
                approver=Approver(event.groups, event.known_by, event.uid),
                approved_at=at,
                standing=event.standing,
            )
        case ev.IsolationDenied():
            return replace(one, state=IsolationState.DENIED, since=at)
        case ev.IsolationStarted():
            state = IsolationState.LIFTING if event.lifting else IsolationState.STARTED
            return replace(one, state=state, since=at, step=event.step, intent=event.intent)
        case ev.IsolationStepDone():
            if event.lifting:
                return replace(one, state=IsolationState.LIFTED, since=at, intent="")
            if not event.last:
                return replace(one, state=IsolationState.APPROVED, since=at, step=event.step + 1, intent="")
            return replace(one, state=IsolationState.DONE, since=at, intent="", done_at=at)
        case ev.IsolationFailed():
            return replace(one, state=IsolationState.FAILED, since=at, sentence=event.reason)
        case ev.IsolationHolds():
            return replace(one, state=IsolationState.HOLDS, since=at, sentence=event.sentence)
        case ev.IsolationLeaks():
            return replace(one, state=IsolationState.TALKING, since=at, sentence=event.sentence)
        case ev.IsolationStays():
            # What it is does not change by that: it stands in the cluster.
            state = one.state if one.state in STANDING else IsolationState.DONE
            return replace(one, state=state, since=at, stays=event.reason, intent="")
        case _:
            assert_never(event)


def _not_begun(known: tuple[Isolating, ...], at: datetime) -> tuple[Isolating, ...]:
    """What nobody had begun when the lock was lifted is not isolated any more."""
    waiting = (IsolationState.ASKED, IsolationState.APPROVED)
    return tuple(
        replace(one, state=IsolationState.RELEASED, since=at, sentence="released before it was carried out")
        if one.state in waiting
        else one
        for one in known
    )


def _captured(incident: Incident, event: ev.EvidenceSealed) -> Incident:
    lockdown = incident.lockdown
    if lockdown is not None and set(lockdown.scopes) <= set(event.scopes):
        # Where more was locked meanwhile, that is still to be read.
        lockdown = replace(lockdown, captured=True)
    return replace(incident, lockdown=lockdown, evidence=(*incident.evidence, event))


_SNAPSHOT: TypeAdapter[Incident] = TypeAdapter(Incident)


def snapshot_text(incident: Incident) -> str:
    """The incident as JSON, for its row."""
    return _SNAPSHOT.dump_json(incident).decode()


def read_snapshot(text: str) -> Incident:
    """Read what `snapshot_text` wrote, in this release or an earlier one. Raises NewerWords."""
    try:
        return _SNAPSHOT.validate_json(text)
    except ValidationError:
        # Without the validator's words, which quote what is stored.
        raise NewerWords(NOT_OURS.format("an incident")) from None


def as_json(incident: Incident) -> dict[str, Any]:
    """The incident as plain JSON, for the API."""
    document: dict[str, Any] = _SNAPSHOT.dump_python(incident, mode="json")
    return document
