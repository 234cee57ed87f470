"""Everything that can happen to an incident, in the past tense.

The timeline of these is the state, the audit log and the crash recovery at once. Old events stay readable
for ever: a field is added with a default, never renamed or removed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from receiver.domain.cutting import excerpt
from receiver.domain.errors import NOT_OURS, NewerWords
from receiver.domain.isolation import Act
from receiver.domain.occurrences import Ending
from receiver.domain.plans import ObjectRef, Receipt
from receiver.domain.security import Attestation, Credential, Question
from receiver.domain.severity import Severity


@dataclass(frozen=True)
class Opened:
    """The first alert of its key, or a person, opened the incident."""

    key: str
    title: str
    labels: Mapping[str, str]
    event: Literal["Opened"] = "Opened"


@dataclass(frozen=True)
class TurnedSecurity:
    """It is a security incident: from this commit on no write to its scopes begins, but to isolate.

    ``in_flight`` are the plans of which a write to them was under way. ``by`` is a person or a policy.
    """

    reason: str
    scopes: tuple[str, ...]
    by: str
    in_flight: tuple[str, ...] = ()
    event: Literal["TurnedSecurity"] = "TurnedSecurity"


@dataclass(frozen=True)
class LockInForce:
    """Whatever was under way when it was locked has ended: what happens in its scopes now is not ours."""

    event: Literal["LockInForce"] = "LockInForce"


@dataclass(frozen=True)
class EvidenceSealed:
    """What could be read of the locked ``scopes`` lies in the evidence folder, and is what it is from now on.

    ``manifest`` is the SHA-256 of the capture's manifest, empty where nothing could be sealed. ``gaps`` say
    what is not there and why.
    """

    capture: str
    manifest: str
    scopes: tuple[str, ...]
    files: int
    bytes: int
    gaps: tuple[str, ...] = ()
    event: Literal["EvidenceSealed"] = "EvidenceSealed"


@dataclass(frozen=True)
class IsolationConsidered:
    """What the policy's sign asks to isolate was looked at; ``left_out`` says what could not be, and why."""

    left_out: tuple[str, ...] = ()
    event: Literal["IsolationConsidered"] = "IsolationConsidered"


@dataclass(frozen=True)
class IsolationPlanned:
    """This is to be isolated in this way, once a security lead or a standing approval says yes."""

    isolation_id: str
    act: Act
    target: ObjectRef
    digest: str
    summary: str
    notes: tuple[str, ...]
    undo: str
    by: str
    why: str
    event: Literal["IsolationPlanned"] = "IsolationPlanned"


@dataclass(frozen=True)
class IsolationAsked:
    """Somebody must say yes: the security lead in the first round, then the deputy too.

    ``why`` tells why no standing approval covers it.
    """

    isolation_id: str
    round: int
    why: str = ""
    event: Literal["IsolationAsked"] = "IsolationAsked"


@dataclass(frozen=True)
class IsolationApproved:
    """A person said yes, or a ``standing`` approval covers it; it is carried out at once.

    ``known_by`` says who vouches for them, ``uid`` is theirs for good; they are asked about at each write.
    """

    isolation_id: str
    digest: str
    by: str
    reason: str = ""
    standing: bool = False
    groups: tuple[str, ...] = ()
    known_by: str = ""
    uid: str = ""
    event: Literal["IsolationApproved"] = "IsolationApproved"


@dataclass(frozen=True)
class IsolationDenied:
    """A person said no."""

    isolation_id: str
    by: str
    reason: str
    event: Literal["IsolationDenied"] = "IsolationDenied"


@dataclass(frozen=True)
class IsolationStarted:
    """From this commit on the write of this step may have been sent; ``lifting`` takes it back."""

    isolation_id: str
    step: int
    intent: str
    lifting: bool = False
    event: Literal["IsolationStarted"] = "IsolationStarted"


@dataclass(frozen=True)
class IsolationStepDone:
    """The write of this step is there: answered, or found."""

    isolation_id: str
    step: int
    last: bool
    how: str
    lifting: bool = False
    event: Literal["IsolationStepDone"] = "IsolationStepDone"


@dataclass(frozen=True)
class IsolationFailed:
    """It could not be isolated in this way; a person must."""

    isolation_id: str
    reason: str
    event: Literal["IsolationFailed"] = "IsolationFailed"


@dataclass(frozen=True)
class IsolationHolds:
    """It was looked at and does what it is for."""

    isolation_id: str
    sentence: str
    event: Literal["IsolationHolds"] = "IsolationHolds"


@dataclass(frozen=True)
class IsolationLeaks:
    """It is there and does not do what it is for, or nobody can tell: a person must look."""

    isolation_id: str
    sentence: str
    event: Literal["IsolationLeaks"] = "IsolationLeaks"


@dataclass(frozen=True)
class IsolationStays:
    """It was to be taken back on release, and could not be; a person must."""

    isolation_id: str
    reason: str
    event: Literal["IsolationStays"] = "IsolationStays"


@dataclass(frozen=True)
class ReleaseGiven:
    """One of the two people who lift a security lock said yes; ``lead`` is whether a security lead did.

    ``undo`` is whether they want what was isolated to be taken back then, ``uid`` is theirs for good.
    """

    by: str
    lead: bool
    reason: str
    undo: bool = False
    uid: str = ""
    event: Literal["ReleaseGiven"] = "ReleaseGiven"


@dataclass(frozen=True)
class SecurityReleased:
    """Two people, one of them a security lead, lifted the lock; it is an incident like others again."""

    by: tuple[str, ...]
    event: Literal["SecurityReleased"] = "SecurityReleased"


@dataclass(frozen=True)
class AwarenessSet:
    """Since when somebody was aware of the breach: the 72 hours count from ``since``."""

    since: datetime
    by: str
    reason: str
    event: Literal["AwarenessSet"] = "AwarenessSet"


@dataclass(frozen=True)
class ClockWarned:
    """So many of the 72 hours have passed, and nobody has said that the authority was told."""

    hours: int
    until: datetime
    event: Literal["ClockWarned"] = "ClockWarned"


@dataclass(frozen=True)
class AuthorityTold:
    """The authority was told (``filed``), or that is not required, with the reason."""

    filed: bool
    by: str
    reason: str
    event: Literal["AuthorityTold"] = "AuthorityTold"


@dataclass(frozen=True)
class Assessed:
    """One of the four questions of the assessment was answered, or answered anew."""

    question: Question
    answer: str
    by: str
    event: Literal["Assessed"] = "Assessed"


@dataclass(frozen=True)
class CredentialsListed:
    """What whoever was in the scope may have read; names only. ``gaps`` say what could not be looked at."""

    credentials: tuple[Credential, ...]
    gaps: tuple[str, ...] = ()
    event: Literal["CredentialsListed"] = "CredentialsListed"


@dataclass(frozen=True)
class CredentialRenewed:
    """Somebody shows that this one is new; ``owner`` is whose it is."""

    credential: str
    owner: str
    proof: str
    by: str
    event: Literal["CredentialRenewed"] = "CredentialRenewed"


@dataclass(frozen=True)
class Attested:
    """Somebody stands up by name for one of the four things that must be so before it is closed."""

    what: Attestation
    proof: str
    by: str
    event: Literal["Attested"] = "Attested"


@dataclass(frozen=True)
class AlertFired:
    """An alert of this incident fires; the earliest start told so far."""

    identity: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime
    source: str = "webhook"
    fingerprint: str = ""
    generator_url: str = ""
    event: Literal["AlertFired"] = "AlertFired"


@dataclass(frozen=True)
class AlertResolved:
    """An alert ended: told so, or gone from every source."""

    identity: str
    ends_at: datetime
    how: Ending = Ending.RESOLVED
    event: Literal["AlertResolved"] = "AlertResolved"


@dataclass(frozen=True)
class AlertHeld:
    """Whether an alert still fires cannot be told now; it counts as firing."""

    reason: str
    event: Literal["AlertHeld"] = "AlertHeld"


@dataclass(frozen=True)
class HoldEnded:
    """The sources can tell again, of every alert of the incident, whether it fires."""

    event: Literal["HoldEnded"] = "HoldEnded"


@dataclass(frozen=True)
class Reopened:
    """The same thing fired again inside the window; a new epoch of pages and proposals begins."""

    epoch: int
    event: Literal["Reopened"] = "Reopened"


@dataclass(frozen=True)
class Classified:
    """How bad it is, by which rule and value; ``severity`` None is unknown."""

    severity: Severity | None
    rule: str
    value: Mapping[str, float | None]
    reason: str
    policy: str = ""
    event: Literal["Classified"] = "Classified"


@dataclass(frozen=True)
class DowngradeProposed:
    """It looks less bad since fifteen minutes; a person may lower it."""

    severity: Severity
    reason: str
    event: Literal["DowngradeProposed"] = "DowngradeProposed"


@dataclass(frozen=True)
class SeveritySet:
    """A person says how bad it is; the thresholds may raise it again, never lower it by themselves."""

    severity: Severity
    by: str
    reason: str
    event: Literal["SeveritySet"] = "SeveritySet"


@dataclass(frozen=True)
class Diagnosed:
    """What the probes found; large facts are kept aside, by hash."""

    facts: Mapping[str, Any]
    missing: Mapping[str, str]
    facts_hash: str
    event: Literal["Diagnosed"] = "Diagnosed"


@dataclass(frozen=True)
class HandoverItem:
    """One thing that a person does and no machine: what was found, the safe next step, and why not by itself.

    ``found`` is the text of facts and labels, cut and never interpreted; ``unknown`` says what could not be
    told where nobody knows whether the item is called for at all.
    """

    policy: str
    item: str
    next: str
    why: str
    found: Mapping[str, str]
    unknown: str = ""


@dataclass(frozen=True)
class HandedOver:
    """What a person has to do, once the probes have answered; ``left_out`` items found no room."""

    items: tuple[HandoverItem, ...]
    left_out: int = 0
    event: Literal["HandedOver"] = "HandedOver"


@dataclass(frozen=True)
class Planned:
    """A plan fits, and this is exactly what it would change."""

    plan_id: str
    remediation: str
    target: ObjectRef
    digest: str
    risk: str
    summary: str
    why: str
    diff: str
    policy: str
    rejected: tuple[str, ...] = ()
    guards: tuple[str, ...] = ()
    mode: str = "propose"
    cure: str = ""
    event: Literal["Planned"] = "Planned"


@dataclass(frozen=True)
class NothingApplies:
    """No candidate fits; each with its reason. ``blind`` where a source did not answer that was asked."""

    reasons: tuple[str, ...]
    blind: bool = False
    event: Literal["NothingApplies"] = "NothingApplies"


@dataclass(frozen=True)
class ApprovalRequested:
    """People were asked, until when, and who may answer; ``why`` where the policy would have said yes."""

    plan_id: str
    digest: str
    groups: tuple[str, ...]
    count: int
    expires_at: datetime
    round: int = 1
    why: str = ""
    event: Literal["ApprovalRequested"] = "ApprovalRequested"


@dataclass(frozen=True)
class ApprovalSuspended:
    """All alerts resolved while people were being asked; it comes back if one fires again."""

    plan_id: str
    event: Literal["ApprovalSuspended"] = "ApprovalSuspended"


@dataclass(frozen=True)
class ApprovalGiven:
    """One person said yes to this digest; more may be needed.

    ``known_by`` says who they are, ``right`` is what the cluster allowed them by, ``waived`` what they could
    not do by hand themselves.
    """

    plan_id: str
    digest: str
    by: str
    reason: str
    known_by: str = ""
    right: str = ""
    waived: tuple[str, ...] = ()
    event: Literal["ApprovalGiven"] = "ApprovalGiven"


@dataclass(frozen=True)
class AnswerRefused:
    """Somebody said yes or no to a plan and may not, or meant another one; nothing follows from it."""

    plan_id: str
    by: str
    known_by: str
    why: str
    event: Literal["AnswerRefused"] = "AnswerRefused"


@dataclass(frozen=True)
class GlassBroken:
    """One person had this plan carried out on their own word, instead of those whom the policy asks."""

    plan_id: str
    digest: str
    by: str
    reason: str
    known_by: str
    instead_of: str
    waived: tuple[str, ...] = ()
    event: Literal["GlassBroken"] = "GlassBroken"


@dataclass(frozen=True)
class Approved:
    """Enough people, or a rule, said yes; it must start before ``execute_before``."""

    plan_id: str
    digest: str
    by: tuple[str, ...]
    execute_before: datetime
    event: Literal["Approved"] = "Approved"


@dataclass(frozen=True)
class Denied:
    """A person said no; the plan ends."""

    plan_id: str
    by: str
    reason: str
    event: Literal["Denied"] = "Denied"


@dataclass(frozen=True)
class ApprovalExpired:
    """Nobody answered in time; nothing approves itself."""

    plan_id: str
    round: int
    ask_again_at: datetime | None
    event: Literal["ApprovalExpired"] = "ApprovalExpired"


@dataclass(frozen=True)
class PlanVoided:
    """The plan no longer fits what is there; another is looked for."""

    plan_id: str
    reason: str
    event: Literal["PlanVoided"] = "PlanVoided"


@dataclass(frozen=True)
class Refused:
    """Guards objected just before acting; nothing was sent."""

    plan_id: str
    objections: tuple[str, ...]
    retry_at: datetime | None = None
    event: Literal["Refused"] = "Refused"


@dataclass(frozen=True)
class ExecutionStarted:
    """From here on we may have acted; the pre-image is in the intent."""

    plan_id: str
    intent: str
    kind: Literal["execute", "undo"]
    step: int
    target: ObjectRef
    digest: str
    baseline: Mapping[str, float | None]
    event: Literal["ExecutionStarted"] = "ExecutionStarted"


@dataclass(frozen=True)
class Executed:
    """The write happened once; ``last`` says that no step is left."""

    plan_id: str
    receipt: Receipt
    step: int
    last: bool
    event: Literal["Executed"] = "Executed"


@dataclass(frozen=True)
class AlreadySo:
    """Others had already made the wanted state; there is no receipt and nothing to undo."""

    plan_id: str
    reason: str
    event: Literal["AlreadySo"] = "AlreadySo"


@dataclass(frozen=True)
class StepPassedOver:
    """One step of several was left out, and why; ``last`` says that no step is left."""

    plan_id: str
    step: int
    reason: str
    last: bool
    event: Literal["StepPassedOver"] = "StepPassedOver"


@dataclass(frozen=True)
class NotDone:
    """The write provably did not happen and never will."""

    plan_id: str
    intent: str
    kind: Literal["execute", "undo"]
    reason: str
    look_again: bool
    event: Literal["NotDone"] = "NotDone"


@dataclass(frozen=True)
class EffectUnknown:
    """The write may have happened; the target stays locked until a person settles it."""

    plan_id: str
    intent: str
    kind: Literal["execute", "undo"]
    reason: str
    event: Literal["EffectUnknown"] = "EffectUnknown"


@dataclass(frozen=True)
class EffectSettled:
    """A person looked and said whether the write happened."""

    plan_id: str
    intent: str
    done: bool
    by: str
    reason: str
    receipt: Receipt | None = None
    event: Literal["EffectSettled"] = "EffectSettled"


@dataclass(frozen=True)
class InPlace:
    """The change is physically there; now the patient is watched."""

    plan_id: str
    sentence: str
    event: Literal["InPlace"] = "InPlace"


Samples = tuple[tuple[float, Mapping[str, float | None]], ...]


@dataclass(frozen=True)
class Verified:
    """It helped: the success condition held for its whole window."""

    plan_id: str
    summary: str
    samples: Samples = ()
    event: Literal["Verified"] = "Verified"


@dataclass(frozen=True)
class StillSick:
    """It did not help in the time it had; ``worse`` is a regression."""

    plan_id: str
    summary: str
    worse: bool = False
    samples: Samples = ()
    event: Literal["StillSick"] = "StillSick"


@dataclass(frozen=True)
class Inconclusive:
    """There was not enough data to tell; that is never a success."""

    plan_id: str
    summary: str
    samples: Samples = ()
    event: Literal["Inconclusive"] = "Inconclusive"


@dataclass(frozen=True)
class UndoAsked:
    """Putting it back is possible but needs a person's yes, with the reason why."""

    plan_id: str
    reason: str
    event: Literal["UndoAsked"] = "UndoAsked"


@dataclass(frozen=True)
class MitigationExpired:
    """Its time is over: somebody is asked whether it is put back now."""

    plan_id: str
    reason: str
    event: Literal["MitigationExpired"] = "MitigationExpired"


@dataclass(frozen=True)
class MitigationKept:
    """A person says that it stays, for good."""

    plan_id: str
    by: str
    reason: str
    event: Literal["MitigationKept"] = "MitigationKept"


@dataclass(frozen=True)
class UndoApproved:
    """Undoing was decided: by the approved plan itself, or by a person."""

    plan_id: str
    by: str
    reason: str
    event: Literal["UndoApproved"] = "UndoApproved"


@dataclass(frozen=True)
class Undone:
    """The captured fields are back."""

    plan_id: str
    receipt: Receipt
    event: Literal["Undone"] = "Undone"


@dataclass(frozen=True)
class UndoImpossible:
    """It could not be put back safely; a person must look."""

    plan_id: str
    reason: str
    event: Literal["UndoImpossible"] = "UndoImpossible"


@dataclass(frozen=True)
class MonitoringStarted:
    """Nothing fires and the metrics hold; resolved when it stays so until then."""

    until: datetime
    reason: str
    event: Literal["MonitoringStarted"] = "MonitoringStarted"


@dataclass(frozen=True)
class MonitoringInterrupted:
    """The window began anew, or the metrics cannot be seen."""

    reason: str
    until: datetime | None = None
    event: Literal["MonitoringInterrupted"] = "MonitoringInterrupted"


@dataclass(frozen=True)
class ReadyToResolve:
    """The window passed; a P0 or P1 is closed by a person with its cause (playbook lines 307-311)."""

    reason: str
    event: Literal["ReadyToResolve"] = "ReadyToResolve"


@dataclass(frozen=True)
class Escalated:
    """Stanch can do no more by itself; a person was told."""

    reason: str
    event: Literal["Escalated"] = "Escalated"


@dataclass(frozen=True)
class Acknowledged:
    """A person has it."""

    by: str
    event: Literal["Acknowledged"] = "Acknowledged"


@dataclass(frozen=True)
class Noted:
    """A person wrote something down."""

    by: str
    text: str
    event: Literal["Noted"] = "Noted"


@dataclass(frozen=True)
class Resolved:
    """The end: by whom and for which cause."""

    by: str
    cause: str
    event: Literal["Resolved"] = "Resolved"


@dataclass(frozen=True)
class ClosedByHand:
    """Closed while alerts fire; these occurrences do not reopen it, a new one does."""

    by: str
    reason: str
    holding: Mapping[str, datetime]
    event: Literal["ClosedByHand"] = "ClosedByHand"


# What people owe after an attack.
DutyEvent = (
    AwarenessSet | ClockWarned | AuthorityTold | Assessed | CredentialsListed | CredentialRenewed | Attested
)

# Those that concern one isolation; each names it.
IsolationEvent = (
    IsolationPlanned
    | IsolationAsked
    | IsolationApproved
    | IsolationDenied
    | IsolationStarted
    | IsolationStepDone
    | IsolationFailed
    | IsolationHolds
    | IsolationLeaks
    | IsolationStays
)

# Those that concern one plan; each names it.
PlanEvent = (
    Planned
    | ApprovalRequested
    | ApprovalSuspended
    | ApprovalGiven
    | AnswerRefused
    | GlassBroken
    | Approved
    | Denied
    | ApprovalExpired
    | PlanVoided
    | Refused
    | ExecutionStarted
    | Executed
    | AlreadySo
    | StepPassedOver
    | NotDone
    | EffectUnknown
    | EffectSettled
    | InPlace
    | Verified
    | StillSick
    | Inconclusive
    | UndoAsked
    | MitigationExpired
    | MitigationKept
    | UndoApproved
    | Undone
    | UndoImpossible
)

Event = (
    PlanEvent
    | IsolationEvent
    | IsolationConsidered
    | DutyEvent
    | Opened
    | TurnedSecurity
    | LockInForce
    | EvidenceSealed
    | ReleaseGiven
    | SecurityReleased
    | AlertFired
    | AlertResolved
    | AlertHeld
    | HoldEnded
    | Reopened
    | Classified
    | DowngradeProposed
    | SeveritySet
    | Diagnosed
    | HandedOver
    | NothingApplies
    | MonitoringStarted
    | MonitoringInterrupted
    | ReadyToResolve
    | Escalated
    | Acknowledged
    | Noted
    | Resolved
    | ClosedByHand
)

_READER: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])

# Timelines are read whole, streamed and exported; what somebody can fill at will must not fill them.
MAX_BODY_BYTES = 16 * 1024
# Characters of a text and entries of a list or map, until it fits.
_EXCERPTS = ((2000, 50), (500, 20), (200, 10), (64, 4), (16, 2))
# The kind stands last in every event, so nothing that an event holds can look like this at its end.
_WHOLE = re.compile(r',"whole":"([0-9a-f]{64})"}\Z')


@dataclass(frozen=True)
class Recorded:
    """One event as it stands in the timeline: its place, its time and who caused it.

    ``whole`` is set where the event is an excerpt: the name of the whole one among the facts.
    """

    seq: int
    at: datetime
    actor: str
    event: Event
    whole: str | None = None


def event_text(event: Event) -> str:
    """The text that is stored, hashed as stored, and read back for ever."""
    return _READER.dump_json(event).decode()


def read_event(text: str) -> Event:
    """Read what `event_text` wrote, in this release or an earlier one.

    Raises NewerWords where the text is none of our events.
    """
    try:
        return _READER.validate_json(text)
    except ValidationError:
        raise NewerWords(NOT_OURS.format("a timeline")) from None


def excerpt_text(event: Event, whole: str) -> str:
    """What stands in the timeline for an event that is too large: an excerpt that names the whole one.

    `read_event` reads it as the same kind of event.
    """
    for characters, items in _EXCERPTS:
        short = event_text(excerpt(event, characters=characters, items=items))
        text = f'{short[:-1]},"whole":"{whole}"}}'
        if len(text.encode()) <= MAX_BODY_BYTES:
            break
    return text


def whole_of(text: str) -> str | None:
    """The name of the whole event where this text is an excerpt."""
    found = _WHOLE.search(text)
    return found.group(1) if found else None
