"""Why a plan is proposed, and why nothing was done: the answers of `stanch why` and `why-not`.

Pure, over the API's own documents: one plan or incident, and the timeline of its incident.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from receiver.terminal.sentences import sentence

Document = Mapping[str, Any]

# What may stand between an alert and an act, and what was done in the end.
_TOLD = frozenset(
    {
        "NothingApplies",
        "Planned",
        "ApprovalRequested",
        "ApprovalSuspended",
        "ApprovalExpired",
        "Denied",
        "PlanVoided",
        "Refused",
        "NotDone",
        "AlreadySo",
        "EffectUnknown",
        "Executed",
        "Undone",
        "HandedOver",
        "AlertHeld",
        "MonitoringStarted",
        "Resolved",
        "ClosedByHand",
    }
)
_OF_A_PLAN = "plan_id"


def why(plan: Document, timeline: Sequence[Document]) -> dict[str, Any]:
    """What speaks for this plan: its reason, what was passed over for it, what each guard saw, what followed.

    ``guards`` are those of the proposal; they are asked again before every write, and ``objections`` are
    what they said against it then.
    """
    named = plan.get("id")
    mine = [recorded for recorded in timeline if _event(recorded).get(_OF_A_PLAN) == named]
    planned = next((_event(one) for one in mine if _event(one).get("event") == "Planned"), {})
    return {
        "plan": named,
        "incident": plan.get("incident"),
        "state": plan.get("state"),
        "remediation": plan.get("remediation"),
        "target": plan.get("target"),
        "policy": plan.get("policy"),
        "mode": plan.get("mode"),
        "why": plan.get("why"),
        "instead_of": list(_items(planned.get("rejected"))),
        "guards": [_guard(said) for said in _items(plan.get("guards"))],
        "objections": list(_items(plan.get("objections"))),
        "history": [_line(recorded) for recorded in mine],
    }


def why_not(incident: Document, timeline: Sequence[Document]) -> dict[str, Any]:
    """What keeps or kept anything from being done: one answer, and the reasons one by one, oldest first.

    Of what is said again and again only the last time is told.
    """
    last: dict[tuple[str, str], Document] = {}
    for recorded in timeline:
        event = _event(recorded)
        kind = str(event.get("event"))
        if kind in _TOLD:
            key = (kind, str(event.get(_OF_A_PLAN, "")))
            last.pop(key, None)
            last[key] = recorded
    progress = incident.get("plan")
    plan = progress if isinstance(progress, Mapping) else {}
    return {
        "incident": incident.get("id"),
        "status": incident.get("status"),
        "severity": incident.get("severity"),
        "answer": _answer(incident, plan, last),
        "objections": list(_items(plan.get("objections"))),
        "reasons": [_line(recorded) for recorded in last.values()],
    }


def _answer(incident: Document, plan: Document, last: Mapping[tuple[str, str], Document]) -> str:
    done = [named for kind, named in last if kind == "Executed"]
    if done:
        return f"something was done: {', '.join(done)}; see stanch why {done[-1]}"
    if any(kind == "EffectUnknown" for kind, _ in last):
        return "a write was sent and nobody knows whether it arrived; a person settles it"
    named = plan.get("plan_id")
    match plan.get("state"):
        case "awaiting-approval":
            return f"{named} waits for a person's yes: stanch approve {named}"
        case "planned" | "approved" | "executing":
            return f"{named} is on its way"
        case "shadowed":
            return f"the policy is in shadow mode: {named} says what it would have done"
        case "denied":
            return f"a person said no to {named}"
        case "expired":
            return f"nobody answered {named} in time; nothing approves itself"
        case "suspended":
            return f"{named} rests, since nothing fires now"
        case "refused":
            return f"guards spoke against {named} just before it would have been carried out"
        case "void":
            return f"{named} no longer fitted what was there"
        case "already-so":
            return f"others had done already what {named} would have done"
    if ("NothingApplies", "") in last:
        return "no cure fits; each with its reason below"
    if incident.get("status") == "resolved":
        return "it was over before anything was proposed"
    if incident.get("severity") is None:
        return "how bad it is cannot be told yet, and unknown never acts"
    return "nothing was proposed yet"


def _event(recorded: Document) -> Document:
    event = recorded.get("event")
    return event if isinstance(event, Mapping) else {}


def _line(recorded: Document) -> dict[str, Any]:
    event = _event(recorded)
    reasons = event.get("reasons") or event.get("objections")
    return {
        "at": recorded.get("at"),
        "event": event.get("event"),
        "said": sentence(event),
        "reasons": list(_items(reasons)),
    }


def _guard(said: object) -> dict[str, str]:
    guard, _, observed = str(said).partition(": ")
    return {"guard": guard, "observed": observed}


def _items(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()
