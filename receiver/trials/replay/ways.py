"""What a set of policies would do about an incident, as far as the journal tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from receiver.announce.messages import messages
from receiver.domain import events as ev
from receiver.domain.incidents import OVER, Incident, apply
from receiver.domain.plans import ApprovalRule, Draft, NotApplicable, ObjectRef, Plan, Spec
from receiver.policy.expressions import Truth
from receiver.policy.matching import Applicable
from receiver.policy.model import Candidate, Policy
from receiver.policy.next_step import first_request
from receiver.policy.planning import assemble, considered

_PLAN_ID = "P-0"


class Does(StrEnum):
    """How far it would go by itself."""

    ACTS = "acts by itself"
    ASKS = "asks"
    SHADOWS = "only shadows"


@dataclass(frozen=True)
class Way:
    """One remediation that would be proposed. Not ``certain`` where a condition before or at it needs what
    nobody recorded.
    """

    policy: str
    remediation: str
    certain: bool
    does: Does
    pages: bool
    approval: str


def ways_of(
    incident: Incident, found: list[Applicable], catalogue: Mapping[str, Spec], *, now: datetime
) -> list[Way]:
    """The first candidate that is certain, behind those that may come first; empty where nothing applies."""
    ways: list[Way] = []
    certain = True
    for fits in found:
        if isinstance(fits.target, NotApplicable):
            continue
        for candidate in fits.policy.candidates:
            truth, _ = considered(candidate, incident, {}, frozenset())
            if truth is Truth.FALSE:
                continue
            certain = certain and truth is Truth.TRUE
            spec = catalogue[candidate.remediation]
            ways.append(_way(incident, fits.policy, candidate, fits.target, spec, now, certain))
            if truth is Truth.TRUE:
                return ways
    return ways


def _way(
    incident: Incident,
    policy: Policy,
    candidate: Candidate,
    target: ObjectRef,
    spec: Spec,
    now: datetime,
    certain: bool,
) -> Way:
    draft = Draft(target, (), summary="", why="", blast_radius="")
    plan = assemble(incident, policy, candidate, draft, spec)
    events = _what_follows(incident, plan, now)
    if any(isinstance(event, ev.Approved) for event in events):
        does = Does.ACTS
    else:
        does = Does.ASKS if events else Does.SHADOWS
    pages = any(message.pages for message in messages(incident, events, plan, base_url=""))
    approval = _in_words(plan.approval) if does is Does.ASKS else ""
    return Way(policy.name, spec.name, certain, does, pages, approval)


def _what_follows(incident: Incident, plan: Plan, now: datetime) -> tuple[ev.Event, ...]:
    planned = ev.Planned(
        plan_id=_PLAN_ID,
        remediation=plan.remediation,
        target=plan.target,
        digest=plan.digest,
        risk=plan.risk.value,
        summary="",
        why="",
        diff="",
        policy=plan.policy,
        mode=plan.mode,
    )
    incident = apply(incident, ev.Recorded(incident.last_seq + 1, now, "replay", planned))
    progress = incident.plan
    if progress is None or progress.state in OVER:
        return ()
    return (first_request(incident, progress, plan, now),)


def _in_words(rule: ApprovalRule) -> str:
    words = [f"{rule.count} of {', '.join(rule.groups) or 'nobody'}"]
    words += ["not who asked"] if rule.not_requester else []
    words += ["with a reason"] if rule.reason_required else []
    return "; ".join(words)
