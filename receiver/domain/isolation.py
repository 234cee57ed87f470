"""What may be done in a security incident: isolate, and nothing else.

An `IsolationPlan` shares nothing with the `Plan` of a cure. Its steps cannot say "delete", "evict" or "change
what it runs": a pod loses its labels and gets a mark, a node takes no new pods, a network policy is added.
So what a security incident must not do cannot be written down (playbook INC-007, lines 864-867).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
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


class Act(StrEnum):
    """The ways to isolate."""

    POD_QUARANTINE = "pod.quarantine"
    NODE_ISOLATE = "node.isolate"


@dataclass(frozen=True)
class Wanted:
    """What is to be isolated: a pod, or a node by its name or by one of its pods."""

    act: Act
    namespace: str = ""
    pod: str = ""
    node: str = ""

    def __str__(self) -> str:
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


IsolationStep = Relabel | Shun | Deny


def deny_all() -> dict[str, Any]:
    """The ``spec`` of that network policy."""
    return {
        "podSelector": {"matchExpressions": [{"key": QUARANTINE, "operator": "Exists"}]},
        "policyTypes": ["Ingress", "Egress"],
    }


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
                "writes": [[step.write, step.target.key] for step in self.steps],
            }
        )

    def asked_for(self, by: str, why: str) -> IsolationPlan:
        """The same, with who wants it."""
        return replace(self, asked_by=by, why=why)


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


# What is said of those that nobody had begun when the lock was lifted.
RELEASED = "released before it was carried out"
# What stands in the cluster because of us.
STANDING = frozenset({IsolationState.DONE, IsolationState.HOLDS, IsolationState.TALKING})


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
    approved_at: datetime | None = None
    # A standing approval is looked at again before each write.
    standing: bool = False
    step: int = 0
    intent: str = ""
    done_at: datetime | None = None
    sentence: str = ""
    # Nobody can take it back any more, or somebody else changed what we wrote.
    stays: str = ""
