"""Who must say yes, whether enough have, and the one place that makes an `ApprovedPlan`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from receiver.domain.approved import ApprovedPlan
from receiver.domain.persons import person_of
from receiver.domain.plans import ApprovalRule, Plan, Risk
from receiver.domain.severity import Severity

# Asked again after an unanswered request while it still fires, then handed over.
ASK_AGAIN = (timedelta(minutes=15), timedelta(minutes=30), timedelta(minutes=60))

# Shorter is no reason that anybody could look into the day after.
LEAST_REASON = 20
# The name in Approvers files of those of the token file who may break the glass.
BREAK_GLASS = "break-glass"

# What a policy that names no rule for a class gets; an empty list of groups means nobody can.
DEFAULT_RULES: Mapping[Risk, ApprovalRule] = {
    Risk.READ_ONLY: ApprovalRule(groups=("oncall", "sre")),
    Risk.REVERSIBLE: ApprovalRule(groups=("oncall", "sre")),
    Risk.DISRUPTIVE: ApprovalRule(groups=("oncall", "sre")),
    Risk.BOUNDED_LOSS: ApprovalRule(groups=("sre",), reason_required=True),
    Risk.IRREVERSIBLE: ApprovalRule(groups=("sre-lead",), count=2, not_requester=True, reason_required=True),
}


# What the API server calls its own accounts, and the groups that only these are in.
ACCOUNT = "system:serviceaccount:"
ACCOUNTS = "system:serviceaccounts"


class KnownBy(StrEnum):
    """Who says who somebody is. What they may, the cluster says about all but those of the file."""

    FILE = "token file"
    CLUSTER = "cluster"
    PROVIDER = "identity provider"
    PROXY = "proxy"


@dataclass(frozen=True)
class Identity:
    """Who is asking, as authentication told it; ``uid`` is theirs for good, where the cluster tells one."""

    name: str
    groups: tuple[str, ...]
    known_by: KnownBy = KnownBy.FILE
    uid: str = ""


@dataclass(frozen=True)
class Answer:
    """One person's answer in the present round."""

    subject: str
    groups: tuple[str, ...]
    decision: str
    uid: str = ""

    @property
    def person(self) -> str:
        """What tells people apart."""
        return person_of(self.subject, self.uid)


def may_approve(rule: ApprovalRule, identity: Identity, plan: Plan, *, reason: str) -> str | None:
    """Why this person may not approve this plan; None where they may."""
    if not set(rule.groups) & set(identity.groups):
        allowed = ", ".join(rule.groups) or "nobody"
        return f"{identity.name} may not approve {plan.remediation}: it takes one of {allowed}"
    named = {group for group in rule.groups if group == ACCOUNTS or group.startswith(f"{ACCOUNTS}:")}
    if identity.name.startswith(ACCOUNT) and not named & set(identity.groups):
        # Broad groups such as system:authenticated contain every workload of the cluster.
        return f"{identity.name} is no person, and the policy names no group of service accounts"
    if rule.not_requester and identity.name == plan.requested_by:
        return f"{identity.name} asked for this plan; somebody else must approve it"
    if rule.reason_required and not reason.strip():
        return f"a {plan.risk} plan needs a reason"
    return None


def approve(
    plan_id: str,
    plan: Plan,
    answers: Sequence[Answer],
    *,
    digest: str,
    now: datetime,
    expires_at: datetime | None,
) -> ApprovedPlan | None:
    """The approved plan, once enough different people said yes to exactly this digest and nobody no.

    A person counts once; the request must not have expired.
    """
    if digest != plan.digest or (expires_at is not None and now >= expires_at):
        return None
    if any(answer.decision == "deny" for answer in answers):
        return None
    rule = plan.approval
    people = {
        answer.person: answer.subject
        for answer in answers
        if answer.decision == "approve"
        and set(answer.groups) & set(rule.groups)
        and not (rule.not_requester and answer.subject == plan.requested_by)
    }
    if len(people) < rule.count or not rule.groups:
        return None
    return ApprovedPlan(plan_id, plan, digest, tuple(sorted(people.values())), now + rule.execute_within)


def why_not_break_glass(plan: Plan, severity: Severity | None, *, reason: str) -> str | None:
    """Why this plan is not carried out on one person's word; None where it may be.

    It stands in for the people whom the policy asks and for nothing else: the kill switch, security locks,
    guards and the digest hold as ever.
    """
    if severity not in (Severity.P0, Severity.P1):
        told = "of no known severity" if severity is None else f"a {severity.value}"
        return f"the glass is broken for a P0 or P1 only, and the incident is {told}"
    if len(" ".join(reason.split())) < LEAST_REASON:
        return f"breaking the glass needs a reason of at least {LEAST_REASON} characters"
    return None


def break_glass(plan_id: str, plan: Plan, who: Identity, *, digest: str, now: datetime) -> ApprovedPlan:
    """The plan approved by one person alone. Raises ValueError where it is not the one that was shown."""
    if digest != plan.digest:
        raise ValueError(f"{plan_id} is {plan.digest[:12]}, not {digest[:12]}")
    return ApprovedPlan(plan_id, plan, digest, (who.name,), now + plan.approval.execute_within)


def approve_by_rule(plan_id: str, plan: Plan, *, now: datetime) -> ApprovedPlan | None:
    """What ``mode: auto`` approves: read-only and reversible plans alone, without exception."""
    if plan.mode != "auto" or plan.risk not in (Risk.READ_ONLY, Risk.REVERSIBLE):
        return None
    return ApprovedPlan(
        plan_id, plan, plan.digest, (f"policy:{plan.policy}",), now + plan.approval.execute_within
    )


def approve_again(
    plan_id: str, plan: Plan, *, digest: str, by: tuple[str, ...], execute_before: datetime
) -> ApprovedPlan:
    """The approved plan of an approval that is on record (``Approved`` stands in the timeline).

    Raises ValueError where the plan is not the one that was approved.
    """
    if digest != plan.digest:
        raise ValueError(f"{plan_id} was approved as {digest[:12]}, and is {plan.digest[:12]} now")
    return ApprovedPlan(plan_id, plan, digest, by, execute_before)


def asked_in(rule: ApprovalRule, round_: int) -> tuple[str, ...]:
    """Whom this round asks: one approver after the other, in the policy's order, in the end all of them.

    Whoever may approve may do so in any round. Where one person is not enough, all are asked at once.
    """
    turns = rule.in_turn or tuple((group,) for group in rule.groups)
    return turns[round_ - 1] if rule.count == 1 and round_ <= len(turns) else rule.groups


def ask_again_after(round_: int) -> timedelta | None:
    """How long to wait before asking once more; None: hand it over."""
    return ASK_AGAIN[round_ - 1] if round_ <= len(ASK_AGAIN) else None
