"""Each event of a timeline as one sentence for people; pure, over the API's own documents.

A newer service may tell events that this release does not know: those are shown by their name and fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from receiver.terminal.screen import clean, moment

Event = Mapping[str, Any]

MAX_CHARACTERS = 600


def sentence(event: Event) -> str:
    """What happened, in words; harmless on a terminal."""
    kind = str(event.get("event", "?"))
    words = _WORDS.get(kind)
    told = words(event) if words is not None else _fields(event)
    told = clean(told)
    return told if len(told) <= MAX_CHARACTERS else told[: MAX_CHARACTERS - 1] + "…"


def _fields(event: Event) -> str:
    return ", ".join(f"{name}={value}" for name, value in event.items() if name != "event")


def _joined(value: Any, between: str = ", ") -> str:
    return between.join(str(part) for part in value) if isinstance(value, list | tuple) else str(value or "")


def _labels(value: Any) -> str:
    if not isinstance(value, Mapping):
        return ""
    return ", ".join(f"{name}={one}" for name, one in sorted(value.items()) if name != "alertname")


def _target(value: Any) -> str:
    if not isinstance(value, Mapping):
        return str(value or "")
    place = f"{namespace}/" if (namespace := value.get("namespace")) else ""
    return f"{value.get('kind', '')} {place}{value.get('name', '')}"


def _classified(event: Event) -> str:
    severity = event.get("severity") or "unknown"
    values = event.get("value")
    measured = (
        ", ".join(f"{name} {_value(one)}" for name, one in sorted(values.items()))
        if isinstance(values, Mapping)
        else ""
    )
    return f"{severity}: {event.get('reason') or event.get('rule', '')}" + (f" ({measured})" * bool(measured))


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, int | float) else "no data"


def _diagnosed(event: Event) -> str:
    facts, missing = event.get("facts"), event.get("missing")
    found = f"{len(facts)} facts" if isinstance(facts, Mapping) else "facts"
    if isinstance(missing, Mapping) and missing:
        lacking = "; ".join(f"{name}: {why}" for name, why in sorted(missing.items()))
        return f"{found}; not to be had: {lacking}"
    return found


def _handed_over(event: Event) -> str:
    items = event.get("items")
    told = [one.get("item") for one in items if isinstance(one, Mapping)] if isinstance(items, list) else []
    more = f"; and {event['left_out']} more" if event.get("left_out") else ""
    numbered = "; ".join(f"{number}. {item}" for number, item in enumerate(told, start=1))
    return f"for a person: {numbered}{more}"


def handover_lines(item: Event) -> list[str]:
    """What stands below one thing that a person does: a line each, not yet harmless."""
    lines: list[str] = []
    if item.get("unknown"):
        lines.append(f"perhaps: {item['unknown']}")
    found = item.get("found")
    if isinstance(found, Mapping) and found:
        lines.append("found: " + ", ".join(f"{path} = {value}" for path, value in found.items()))
    return [*lines, f"next: {item.get('next')}", f"why by hand: {item.get('why')}"]


def _approval_given(event: Event) -> str:
    said = [f"{event.get('by')} says yes to {event.get('plan_id')}. {event.get('reason') or ''}".strip()]
    if waived := event.get("waived"):
        said.append(f"Could not do it by hand: {_joined(waived)}; the policy lets that pass")
    return " ".join(said)


def _asked(event: Event) -> str:
    who = _joined(event.get("groups"), " or ")
    again = f", asked for the {event['round']}. time" if (event.get("round") or 1) != 1 else ""
    return (
        f"{event.get('plan_id')} waits for {event.get('count', 1)} of {who} "
        f"until {moment(event.get('expires_at'))}{again}" + (f"; {event['why']}" if event.get("why") else "")
    )


def _expired(event: Event) -> str:
    again = event.get("ask_again_at")
    then = f"asked again at {moment(again)}" if again else "nobody is asked again"
    return f"nobody answered {event.get('plan_id')} in time; {then}"


def _executed(event: Event) -> str:
    receipt = event.get("receipt")
    target = _target(receipt.get("target")) if isinstance(receipt, Mapping) else ""
    more = "" if event.get("last", True) else "; more steps follow"
    return f"{event.get('plan_id')} was carried out, once, on {target}{more}"


def _settled(event: Event) -> str:
    done = "it happened" if event.get("done") else "it did not happen"
    return f"{event.get('by')} looked at {event.get('plan_id')}: {done} ({event.get('reason')})"


def _interrupted(event: Event) -> str:
    until = f"; now until {moment(event['until'])}" if event.get("until") else ""
    return f"{event.get('reason')}{until}"


def _alert(event: Event) -> str:
    labels = event.get("labels")
    name = labels.get("alertname", event.get("identity")) if isinstance(labels, Mapping) else ""
    return f"{name} fires since {moment(event.get('starts_at'))} ({_labels(labels)})"


def _turned_security(event: Event) -> str:
    flying = _joined(event.get("in_flight"))
    under_way = f"; under way when it was locked: {flying}" if flying else ""
    return (
        f"{event.get('by')}: {event.get('reason')}; nothing is healed any more in "
        f"{_joined(event.get('scopes'))}{under_way}"
    )


def evidence_words(sealed: Event) -> str:
    """One capture: what is kept under which hash; not yet harmless."""
    if not sealed.get("manifest"):
        return "nothing could be sealed"
    return (
        f"capture {sealed.get('capture')}: {sealed.get('files')} files, {sealed.get('bytes')} bytes, "
        f"manifest {sealed.get('manifest')}"
    )


def _evidence_sealed(event: Event) -> str:
    gaps = _joined(event.get("gaps"), "; ")
    return evidence_words(event) + (f"; not there: {gaps}" if gaps else "")


def _credentials(event: Event) -> str:
    found = event.get("credentials")
    named = [f"{one.get('kind')}/{one.get('namespace')}/{one.get('name')}" for one in found or ()]
    gaps = _joined(event.get("gaps"), "; ")
    listed = f"to be made new: {', '.join(named)}" if named else "no credentials in its scope"
    return listed + (f"; not looked at: {gaps}" if gaps else "")


def _isolation_asked(event: Event) -> str:
    who = "a security lead" if event.get("round", 1) == 1 else "a security lead or a deputy"
    why = f" ({event['why']})" if event.get("why") else ""
    return f"{event.get('isolation_id')} waits for {who}{why}"


def _isolation_step(event: Event) -> str:
    if event.get("lifting"):
        return f"{event.get('isolation_id')} was taken back"
    more = "" if event.get("last", True) else "; more steps follow"
    return (
        f"{event.get('isolation_id')}: step {event.get('step', 0) + 1} is in place ({event.get('how')}){more}"
    )


_WORDS: Mapping[str, Callable[[Event], str]] = {
    "Opened": lambda e: str(e.get("title", "")),
    "TurnedSecurity": _turned_security,
    "EvidenceSealed": _evidence_sealed,
    "IsolationConsidered": lambda e: (
        f"not isolated: {_joined(e.get('left_out'), '; ')}" if e.get("left_out") else "looked what to isolate"
    ),
    "IsolationPlanned": lambda e: f"{e.get('isolation_id')}: {e.get('summary')}",
    "IsolationAsked": _isolation_asked,
    "IsolationApproved": lambda e: (
        f"{e.get('isolation_id')} by {e.get('by')}. {e.get('reason') or ''}".strip()
    ),
    "IsolationDenied": lambda e: f"{e.get('isolation_id')} by {e.get('by')}: {e.get('reason')}",
    "IsolationStarted": lambda e: (
        f"{e.get('isolation_id')} {'is taken back' if e.get('lifting') else 'begins'}"
    ),
    "IsolationStepDone": _isolation_step,
    "IsolationFailed": lambda e: f"{e.get('isolation_id')} failed: {e.get('reason')}",
    "IsolationHolds": lambda e: f"{e.get('isolation_id')} holds: {e.get('sentence')}",
    "IsolationLeaks": lambda e: f"{e.get('isolation_id')} is not known to hold: {e.get('sentence')}",
    "IsolationStays": lambda e: f"{e.get('isolation_id')} stays: {e.get('reason')}",
    "AwarenessSet": lambda e: f"known since {moment(e.get('since'))}, says {e.get('by')}: {e.get('reason')}",
    "ClockWarned": lambda e: (
        f"{e.get('hours')} of the 72 hours have passed; until {moment(e.get('until'))} tell the authority"
    ),
    "AuthorityTold": lambda e: (
        f"the authority {'was told' if e.get('filed') else 'need not be told'}, says {e.get('by')}: "
        f"{e.get('reason')}"
    ),
    "Assessed": lambda e: f"{e.get('question')}: {e.get('answer')} ({e.get('by')})",
    "CredentialsListed": _credentials,
    "CredentialRenewed": lambda e: (
        f"{e.get('credential')} of {e.get('owner')} is new, says {e.get('by')}: {e.get('proof')}"
    ),
    "Attested": lambda e: f"{e.get('by')} stands up for {e.get('what')}: {e.get('proof')}",
    "LockInForce": lambda _: "nothing of ours is under way any more where it locks",
    "ReleaseGiven": lambda e: (
        f"{e.get('by')}{' (security lead)' if e.get('lead') else ''} would release it"
        f"{' and take back what is isolated' if e.get('undo') else ''}: {e.get('reason')}"
    ),
    "SecurityReleased": lambda e: f"the lock is lifted, say {_joined(e.get('by'), ' and ')}",
    "AlertFired": _alert,
    "AlertResolved": lambda e: f"an alert ended at {moment(e.get('ends_at'))} ({e.get('how', 'resolved')})",
    "AlertHeld": lambda e: f"whether it still fires cannot be told: {e.get('reason')}",
    "HoldEnded": lambda _: "the sources can tell again whether it fires",
    "Reopened": lambda e: "the same thing fires again",
    "Classified": _classified,
    "SeveritySet": lambda e: f"{e.get('by')} says {e.get('severity')}: {e.get('reason')}",
    "DowngradeProposed": lambda e: f"it looks like {e.get('severity')} now: {e.get('reason')}",
    "Diagnosed": _diagnosed,
    "HandedOver": _handed_over,
    "Planned": lambda e: f"{e.get('plan_id')}: {e.get('summary')}",
    "NothingApplies": lambda e: _joined(e.get("reasons"), "; "),
    "ApprovalRequested": _asked,
    "ApprovalSuspended": lambda e: f"{e.get('plan_id')} rests while nothing fires",
    "ApprovalGiven": _approval_given,
    "GlassBroken": lambda e: (
        f"{e.get('by')} broke the glass for {e.get('plan_id')}, "
        f"instead of {e.get('instead_of')}: {e.get('reason')}"
    ),
    "AnswerRefused": lambda e: f"{e.get('by')} ({e.get('known_by')}): {e.get('why')}",
    "Approved": lambda e: f"{e.get('plan_id')} by {_joined(e.get('by'))}",
    "Denied": lambda e: f"{e.get('plan_id')} by {e.get('by')}: {e.get('reason')}",
    "ApprovalExpired": _expired,
    "PlanVoided": lambda e: f"{e.get('plan_id')} no longer fits: {e.get('reason')}",
    "Refused": lambda e: f"{e.get('plan_id')} was not carried out: {_joined(e.get('objections'), '; ')}",
    "ExecutionStarted": lambda e: f"{e.get('plan_id')} begins on {_target(e.get('target'))}",
    "Executed": _executed,
    "StepPassedOver": lambda e: (
        f"{e.get('plan_id')}: step {e.get('step', 0) + 1} left out: {e.get('reason')}"
    ),
    "AlreadySo": lambda e: f"{e.get('plan_id')}: {e.get('reason')}",
    "NotDone": lambda e: f"{e.get('plan_id')} did not happen: {e.get('reason')}",
    "EffectUnknown": lambda e: (
        f"whether {e.get('plan_id')} was carried out is not known ({e.get('reason')}); "
        f"stanch plans settle {e.get('plan_id')}"
    ),
    "EffectSettled": _settled,
    "InPlace": lambda e: f"{e.get('plan_id')}: {e.get('sentence')}",
    "Verified": lambda e: f"{e.get('plan_id')} helped: {e.get('summary')}",
    "StillSick": lambda e: (
        f"{e.get('plan_id')} {'made it worse' if e.get('worse') else 'did not help'}: {e.get('summary')}"
    ),
    "Inconclusive": lambda e: f"whether {e.get('plan_id')} helped cannot be told: {e.get('summary')}",
    "MitigationExpired": lambda e: f"{e.get('plan_id')}: put it back? {e.get('reason')}",
    "MitigationKept": lambda e: f"{e.get('plan_id')} stays, says {e.get('by')}: {e.get('reason')}",
    "UndoAsked": lambda e: (
        f"undo {e.get('plan_id')}? {e.get('reason')}; stanch plans undo or keep {e.get('plan_id')}"
    ),
    "UndoApproved": lambda e: f"{e.get('plan_id')} is undone, says {e.get('by')}: {e.get('reason')}",
    "Undone": lambda e: f"{e.get('plan_id')} was undone; the fields are as before",
    "UndoImpossible": lambda e: f"{e.get('plan_id')} cannot be undone: {e.get('reason')}",
    "MonitoringStarted": lambda e: f"until {moment(e.get('until'))}: {e.get('reason')}",
    "MonitoringInterrupted": _interrupted,
    "ReadyToResolve": lambda e: str(e.get("reason", "")),
    "Escalated": lambda e: str(e.get("reason", "")),
    "Acknowledged": lambda e: f"{e.get('by')} has it",
    "Noted": lambda e: f"{e.get('by')}: {e.get('text')}",
    "Resolved": lambda e: f"by {e.get('by')}: {e.get('cause')}",
    "ClosedByHand": lambda e: f"by {e.get('by')} while alerts fire: {e.get('reason')}",
}
