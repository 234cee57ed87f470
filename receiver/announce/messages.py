"""Which events people are told about, and in which words. Pure; the outbox delivers.

Alert text is hostile: it is cut, and put nowhere that would interpret it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from receiver.domain import events as ev
from receiver.domain.incidents import Incident
from receiver.domain.locks import RESTRICTED
from receiver.domain.plans import Plan

MAX_TITLE = 200


@dataclass(frozen=True)
class Message:
    """One thing to tell, for every destination. ``pages`` wakes somebody up."""

    kind: str
    incident_id: int
    epoch: int
    text: str
    link: str
    pages: bool
    ends_page: bool = False
    severity: str = "unknown"
    title: str = ""
    plan_id: str | None = None
    expires_at: str | None = None


def messages(
    incident: Incident, events: Iterable[ev.Event], plan: Plan | None, *, base_url: str
) -> list[Message]:
    """The messages that these events of this incident call for."""
    found: list[Message] = []
    restricted = incident.lockdown is not None
    title = RESTRICTED if restricted else incident.title[:MAX_TITLE]
    for event in events:
        said = _said_of_restricted(event) if restricted else _said(event, plan, incident)
        if said is None:
            continue
        text, pages, plan_id, expires_at = said
        severity = incident.severity.value if incident.severity is not None else "unknown"
        found.append(
            Message(
                kind=event.event,
                incident_id=incident.id,
                epoch=incident.epoch,
                text=f"[{severity}] incident {incident.id}, {title}: {text}",
                link=f"{base_url}/api/v1/incidents/{incident.id}",
                pages=pages,
                ends_page=isinstance(event, ev.Resolved | ev.ClosedByHand),
                severity=severity,
                title=title,
                plan_id=plan_id,
                expires_at=expires_at,
            )
        )
    return found


def _clock(event: ev.ClockWarned) -> tuple[str, bool, str | None, str | None]:
    until = event.until.isoformat(timespec="minutes")
    text = f"{event.hours} of the 72 hours have passed (until {until}): security lead and legal"
    return text, True, None, None


def _said_of_restricted(event: ev.Event) -> tuple[str, bool, str | None, str | None] | None:
    """Of a security incident only that somebody is needed: whoever is attacking may read along."""
    match event:
        case ev.TurnedSecurity():
            return "a security lead is needed; those with the right see what it is about", True, None, None
        case ev.Escalated() | ev.EffectUnknown():
            return "a person is needed", True, None, None
        case ev.ClockWarned():
            return _clock(event)
        case ev.IsolationAsked():
            who = "a security lead" if event.round == 1 else "a security lead or a deputy"
            text = f"{event.isolation_id} waits for {who}. stanch approve {event.isolation_id}"
            return text, True, event.isolation_id, None
        case ev.EvidenceSealed() if not event.manifest:
            return "no evidence could be kept: keep it by hand before anything is touched", False, None, None
        case ev.ReleaseGiven():
            return "one person would release it; it takes two", False, None, None
        case _:
            return None


def _said(
    event: ev.Event, plan: Plan | None, incident: Incident
) -> tuple[str, bool, str | None, str | None] | None:
    match event:
        case ev.ApprovalRequested():
            summary = plan.summary if plan is not None else "a plan"
            expires = event.expires_at.isoformat(timespec="seconds")
            who = " or ".join(event.groups)
            text = (
                f"{event.plan_id} waits for {who} until {expires}: {summary}. stanch approve {event.plan_id}"
            )
            if event.why:
                text += f" ({event.why})"
            return text, True, event.plan_id, expires
        case ev.GlassBroken():
            what = f"{event.by} broke the glass: {event.plan_id} is carried out on one word"
            text = f"{what}, instead of {event.instead_of}: {event.reason[:300]}"
            return f"{text}. For the security lead and the engineering lead", True, event.plan_id, None
        case ev.ApprovalExpired():
            again = "it will be asked again" if event.ask_again_at else "nobody will be asked again"
            return f"nobody answered {event.plan_id} in time; {again}", True, event.plan_id, None
        case ev.EffectUnknown():
            text = f"whether {event.plan_id} was carried out is not known ({event.reason})"
            hint = f"its target stays locked. stanch plans settle {event.plan_id}"
            return f"{text}; {hint}", True, event.plan_id, None
        case ev.Inconclusive():
            return (
                f"whether {event.plan_id} helped cannot be told: {event.summary}",
                True,
                event.plan_id,
                None,
            )
        case ev.Escalated():
            return f"a person is needed: {event.reason}{_by_hand(incident)}", True, None, None
        case ev.UndoAsked():
            return f"undo {event.plan_id}? {event.reason}", True, event.plan_id, None
        case ev.MitigationExpired():
            text = f"put {event.plan_id} back? {event.reason}. stanch plans undo {event.plan_id}"
            return text, False, event.plan_id, None
        case ev.ClockWarned():
            return _clock(event)
        case ev.ReadyToResolve():
            return f"ready to be closed: {event.reason}", False, None, None
        case ev.Resolved():
            return f"resolved by {event.by}: {event.cause}", False, None, None
        case ev.ClosedByHand():
            return f"closed by {event.by}: {event.reason}", False, None, None
        case _:
            return None


def _by_hand(incident: Incident) -> str:
    """How long the checklist is and how it begins; the words are the policy's own."""
    if not incident.handover:
        return ""
    first = f"1. {incident.handover[0].item}"
    return f". To do by hand, {len(incident.handover)} in all: {first} (stanch incidents show {incident.id})"


def as_json(message: Message) -> dict[str, Any]:
    """The message as it stands in the outbox."""
    return {
        "kind": message.kind,
        "incident": message.incident_id,
        "epoch": message.epoch,
        "text": message.text,
        "link": message.link,
        "pages": message.pages,
        "ends_page": message.ends_page,
        "severity": message.severity,
        "title": message.title,
        "plan": message.plan_id,
        "expires_at": message.expires_at,
    }


def mitigation_left(plan_id: str, plan: Plan) -> dict[str, Any]:
    """A mitigation is over its time, and its incident goes on without it: it is put back by hand."""
    over = f"{plan_id} is over its time and no longer the plan of incident {plan.incident_id}"
    return {
        "kind": "MitigationExpired",
        "text": f"{over}; put it back by hand: {plan.summary} ({plan.undo_sentence})",
        "pages": False,
        "ends_page": False,
        "incident": plan.incident_id,
        "plan": plan_id,
    }


def policies_refused(why: Sequence[str]) -> dict[str, Any]:
    """The newest policy files are broken, the last good ones stay: nothing stops, somebody must look."""
    first = why[0].splitlines()[0] if why else "no reason given"
    more = f" (and {len(why) - 1} more)" if len(why) > 1 else ""
    return {
        "kind": "PoliciesRefused",
        "text": f"the newest policy files are broken, the last good ones stay in force: {first[:500]}{more}",
        "pages": False,
        "ends_page": False,
        "complaints": [one[:500] for one in why[:20]],
    }


def anchor(seal: int, hash_: str) -> dict[str, Any]:
    """The audit chain's head, for whoever keeps it elsewhere: a chain that ends before it was cut short."""
    return {
        "kind": "AuditAnchor",
        "text": f"the audit chain is {seal} rows long. stanch audit verify FILE --anchor {seal}:{hash_}",
        "pages": False,
        "ends_page": False,
        "seal": seal,
        "hash": hash_,
    }
