"""Which right of the cluster a person's act takes: verbs on `actions.stanch.dev`, as RBAC writes them.

The cluster serves no such resource and needs none: its rules are matched as text, so that ordinary Roles say
who may approve what and where, and `kubectl auth can-i` answers for whoever wants to know.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from receiver.domain.plans import ObjectRef, Permission, Plan, Risk

GROUP, RESOURCE = "stanch.dev", "actions"


class Verb(StrEnum):
    """What a person may do here. The name is the remediation, the isolation or the policy it is about."""

    GET = "get"
    RESPOND = "respond"
    APPROVE = "approve"
    APPROVE_DISRUPTIVE = "approve-disruptive"
    APPROVE_IRREVERSIBLE = "approve-irreversible"
    APPROVE_SECURITY = "approve-security"
    BREAKGLASS = "breakglass"
    DENY = "deny"
    PAUSE = "pause"
    RESUME = "resume"
    RESOLVE = "resolve"


@dataclass(frozen=True)
class Right:
    """One question to the cluster: may somebody do ``verb`` to that? Without a namespace: everywhere."""

    verb: str
    group: str = GROUP
    resource: str = RESOURCE
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        named = f"/{self.name}" if self.name else ""
        place = f"in {self.namespace}" if self.namespace else "in the whole cluster"
        return f"{self.verb} {self.resource}.{self.group}".rstrip(".") + f"{named} {place}"


def to_approve(plan: Plan) -> Right:
    """What a yes to this plan takes: the more it can cost, the rarer the verb."""
    return Right(_approving(plan.risk), namespace=plan.target.namespace, name=plan.remediation)


def to_deny(plan: Plan) -> Right:
    """What a no takes: never more than the one verb, whatever the plan may cost."""
    return Right(Verb.DENY, namespace=plan.target.namespace, name=plan.remediation)


def to_break_glass(plan: Plan) -> Right:
    """What it takes to have this plan carried out on one's own word."""
    return Right(Verb.BREAKGLASS, namespace=plan.target.namespace, name=plan.remediation)


def _approving(risk: Risk) -> Verb:
    match risk:
        case Risk.READ_ONLY | Risk.REVERSIBLE:
            return Verb.APPROVE
        case Risk.DISRUPTIVE:
            return Verb.APPROVE_DISRUPTIVE
        case Risk.BOUNDED_LOSS | Risk.IRREVERSIBLE:
            return Verb.APPROVE_IRREVERSIBLE
    assert_never(risk)


def of_the_change(plan: Plan, writes: Iterable[Permission]) -> tuple[Right, ...]:
    """What carrying the plan's steps out by hand takes of ``writes``, which are all that its remediation may.

    For what is no object of the cluster, a database's session or an endpoint, the cluster knows no right.
    """
    found = (
        Right(
            right.verb,
            right.group,
            right.resource,
            "" if right.everywhere else step.target.namespace,
            step.target.name,
        )
        for step in plan.steps
        for right in writes
        if _is_about(right, step.target)
    )
    return tuple(dict.fromkeys(found))


def _is_about(right: Permission, target: ObjectRef) -> bool:
    group = target.api_version.rpartition("/")[0]
    return right.group == group and right.resource.partition("/")[0] == f"{target.kind.lower()}s"
