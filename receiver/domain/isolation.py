"""What may be done in a security incident: isolate, and nothing else.

An `IsolationPlan` shares nothing with the `Plan` of a cure. Its steps cannot say "delete", "evict" or "change
what it runs": a pod loses its labels and gets a mark, a node takes no new pods, a network policy of one of
two forms is added.
So what a security incident must not do cannot be written down (playbook INC-007, lines 864-867).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal, Protocol

from receiver.domain.canonical import digest_of
from receiver.domain.plans import NotApplicable, ObjectRef, Permission

# Carries the number of the incident; what has it is never touched by a cure, whatever its labels were.
QUARANTINE = "stanch.dev/quarantine"
LABELS_BEFORE = "stanch.dev/labels-before"
# Who scales the cluster down must not take the evidence away.
NOT_TO_BE_ENDED = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}
TAINT: Mapping[str, str] = {"key": "compromised", "value": "true", "effect": "NoSchedule"}
# One of that name in each namespace serves all incidents: it selects by the mark.
DENY_ALL = "stanch-quarantine"
# How the names of those begin that shut addresses out.
BLOCK = "stanch-block-"
# More is a list that nobody reads before saying yes; wider may shut out whole providers (row 007.1d).
MOST_BLOCKED = 100
# Addresses are given to others. Who still attacks after this is blocked elsewhere, or anew.
LONGEST_BLOCK = timedelta(days=30)
WIDEST_IPV4, WIDEST_IPV6 = 24, 64
EVERYBODY_IPV4, EVERYBODY_IPV6 = "0.0.0.0/0", "::/0"


class Act(StrEnum):
    """The ways to isolate."""

    POD_QUARANTINE = "pod.quarantine"
    NODE_ISOLATE = "node.isolate"
    IP_BLOCK = "ip.block"


# Asked for by people only: whoever writes an alert's labels would choose which customers are shut out.
BY_HAND = frozenset({Act.IP_BLOCK})
BY_SIGNS = tuple(act for act in Act if act not in BY_HAND)


@dataclass(frozen=True)
class Wanted:
    """What is to be isolated: a pod, a node by its name or by one of its pods, or a workload from addresses.

    ``blocked`` are networks in CIDR notation as somebody wrote them; ``deployment`` is shut to them ``until``
    then.
    """

    act: Act
    namespace: str = ""
    pod: str = ""
    node: str = ""
    deployment: str = ""
    blocked: tuple[str, ...] = ()
    until: datetime | None = None

    def __str__(self) -> str:
        if self.act is Act.IP_BLOCK:
            return f"{self.act} for Deployment {self.namespace}/{self.deployment}"
        if self.node:
            return f"{self.act} of node {self.node}"
        of = "the node of pod" if self.act is Act.NODE_ISOLATE else "pod"
        return f"{self.act} of {of} {self.namespace}/{self.pod}"


@dataclass(frozen=True)
class Relabel:
    """One pod's labels replaced as a whole, and annotations set; an annotation that is None is removed.

    ``annotations_before`` is what those annotations were.
    """

    target: ObjectRef
    before: Mapping[str, str]
    after: Mapping[str, str]
    annotations: Mapping[str, str | None]
    annotations_before: Mapping[str, str | None] = field(default_factory=dict)
    write: Literal["relabel"] = "relabel"


@dataclass(frozen=True)
class Shun:
    """One node takes new pods or does not, and which taints it has."""

    target: ObjectRef
    unschedulable_before: bool
    unschedulable: bool
    taints_before: tuple[Mapping[str, Any], ...]
    taints: tuple[Mapping[str, Any], ...]
    write: Literal["shun"] = "shun"


@dataclass(frozen=True)
class Deny:
    """A network policy that lets nothing in or out of what carries the mark; made where it is not there."""

    target: ObjectRef
    write: Literal["deny"] = "deny"


@dataclass(frozen=True)
class Block:
    """A network policy that lets everything into what carries the labels but what comes from some addresses.

    ``pods`` are the labels by which a workload selects its pods, ``blocked`` networks in canonical CIDR
    notation. The rest is written on it for people.
    """

    target: ObjectRef
    pods: Mapping[str, str]
    blocked: tuple[str, ...]
    until: datetime
    incident_id: int
    asked_by: str = ""
    write: Literal["block"] = "block"


IsolationStep = Relabel | Shun | Deny | Block


def deny_all() -> dict[str, Any]:
    """The ``spec`` of that network policy."""
    return {
        "podSelector": {"matchExpressions": [{"key": QUARANTINE, "operator": "Exists"}]},
        "policyTypes": ["Ingress", "Egress"],
    }


# What is in quarantine stays cut off, whatever labels it is given: policies add up, and this one opens.
NOT_IN_QUARANTINE: Mapping[str, str] = {"key": QUARANTINE, "operator": "DoesNotExist"}


def all_but(pods: Mapping[str, str], blocked: Sequence[str]) -> dict[str, Any]:
    """The ``spec`` of one that shuts addresses out.

    A network policy cannot deny, so it allows all others: every pod, and both kinds of addresses, since what
    it does not name it would shut out.
    """
    families = ((EVERYBODY_IPV4, False), (EVERYBODY_IPV6, True))
    return {
        "podSelector": {"matchLabels": dict(pods), "matchExpressions": [dict(NOT_IN_QUARANTINE)]},
        "policyTypes": ["Ingress"],
        "ingress": [
            {
                "from": [
                    {"namespaceSelector": {}},
                    *(
                        {"ipBlock": _except(everybody, [one for one in blocked if (":" in one) is colons])}
                        for everybody, colons in families
                    ),
                ]
            }
        ],
    }


def _except(everybody: str, blocked: list[str]) -> dict[str, Any]:
    return {"cidr": everybody, **({"except": blocked} if blocked else {})}


@dataclass(frozen=True)
class IsolationPlan:
    """This isolation for this incident, with everything that a security lead's yes covers."""

    incident_id: int
    wanted: Wanted
    version: int
    target: ObjectRef
    steps: tuple[IsolationStep, ...]
    summary: str
    why: str
    notes: tuple[str, ...]
    undo_sentence: str
    asked_by: str

    @property
    def act(self) -> Act:
        """Which way to isolate."""
        return self.wanted.act

    @property
    def digest(self) -> str:
        """SHA-256 over what is isolated and how. What the labels and taints were before is no part of it."""
        return digest_of(
            {
                "isolation": [self.act, self.version],
                "incident": self.incident_id,
                "target": [self.target.key, self.target.uid],
                "writes": [[step.write, step.target.key, *_named(step)] for step in self.steps],
            }
        )

    def asked_for(self, by: str, why: str) -> IsolationPlan:
        """The same, with who wants it."""
        steps = tuple(replace(step, asked_by=by) if isinstance(step, Block) else step for step in self.steps)
        return replace(self, asked_by=by, why=why, steps=steps)


def _named(step: IsolationStep) -> list[Any]:
    """What a yes covers besides the object."""
    if isinstance(step, Block):
        return [dict(step.pods), list(step.blocked), step.until.isoformat()]
    return []


@dataclass(frozen=True)
class IsolationSpec:
    """What a way to isolate declares of itself."""

    act: Act
    version: int
    sentence: str
    undo: str
    reads: tuple[Permission, ...]
    writes: tuple[Permission, ...]
    about: str


class Hold(StrEnum):
    """Whether an isolation does what it is for."""

    HOLDS = "holds"
    NOT_YET = "not-yet"
    CANNOT_TELL = "cannot-tell"


@dataclass(frozen=True)
class Held:
    """The same, with a sentence for people."""

    hold: Hold
    sentence: str


class Isolation(Protocol):
    """One way to isolate. It reads through a door it is given, and cannot write."""

    @property
    def spec(self) -> IsolationSpec:
        """What it declares of itself."""

    async def observe(self, wanted: Wanted) -> Mapping[str, Any]:
        """Read what planning, lifting and judging need."""

    def plan(
        self, state: Mapping[str, Any], wanted: Wanted, *, incident_id: int
    ) -> IsolationPlan | NotApplicable:
        """The steps from that state, the same ones however many of them are done; pure."""

    def lift(self, plan: IsolationPlan, state: Mapping[str, Any]) -> IsolationStep | NotApplicable:
        """The write that takes it back, where what we wrote still stands; pure."""

    def traffic(self, plan: IsolationPlan) -> str | None:
        """PromQL for the bytes per second that still leave it; None where that says nothing."""

    def judge(self, plan: IsolationPlan, state: Mapping[str, Any], traffic: float | None) -> Held:
        """Whether it holds; pure."""


class IsolationState(StrEnum):
    """Where an isolation stands."""

    ASKED = "awaiting-approval"
    APPROVED = "approved"
    STARTED = "under-way"
    DONE = "done"
    HOLDS = "holds"
    TALKING = "still-talking"
    DENIED = "denied"
    FAILED = "failed"
    LIFTING = "being-lifted"
    LIFTED = "lifted"
    # Nobody had begun it when the lock was lifted.
    RELEASED = "released"


# What stands in the cluster because of us.
STANDING = frozenset({IsolationState.DONE, IsolationState.HOLDS, IsolationState.TALKING})


@dataclass(frozen=True)
class Approver:
    """Whoever said yes, beside their name: who vouches for them, and what is theirs for good."""

    groups: tuple[str, ...] = ()
    known_by: str = ""
    uid: str = ""


@dataclass(frozen=True)
class Isolating:
    """One isolation of an incident, as far as deciding what comes next needs it."""

    id: str
    act: Act
    target: ObjectRef
    digest: str
    state: IsolationState
    since: datetime
    summary: str = ""
    notes: tuple[str, ...] = ()
    undo: str = ""
    asked_by: str = ""
    # How often it was asked: the security lead first, then the deputy too.
    round: int = 0
    approved_by: str = ""
    approver: Approver = Approver()
    approved_at: datetime | None = None
    # A standing approval is looked at again before each write.
    standing: bool = False
    step: int = 0
    intent: str = ""
    done_at: datetime | None = None
    sentence: str = ""
    # Nobody can take it back any more, or somebody else changed what we wrote.
    stays: str = ""
