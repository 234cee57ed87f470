"""What may be done about an incident, as data: from a remediation's Spec to the receipt of a write.

A plan is a tuple of steps, and a step describes one conditional write completely. Remediations make plans;
the pipeline alone carries them out, through one door, with one intent each. So a remediation cannot write,
and dry run, marker, retry and recovery exist once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from receiver.domain.canonical import digest_of
from receiver.domain.durations import in_words

MARKER = "stanch.dev/intent"
FENCE = "stanch.dev/fenced"
# Under which name the cluster notes what we wrote.
MANAGER = "stanch"


class Risk(StrEnum):
    """What doing it can cost; a policy may only tighten it."""

    READ_ONLY = "read-only"
    REVERSIBLE = "reversible"
    DISRUPTIVE = "disruptive"
    BOUNDED_LOSS = "bounded-loss"
    IRREVERSIBLE = "irreversible"


class ApprovalDefault(StrEnum):
    """Who must say yes on a fresh install (spec of the playbook, section 1.0)."""

    A0 = "A0"
    A1 = "A1"
    A2 = "A2"
    AS = "AS"
    H = "H"


@dataclass(frozen=True)
class Permission:
    """One right at the Kubernetes API, as a Role grants it, or at a database (group ``postgresql``).

    ``everywhere`` is in all namespaces at once.
    """

    group: str
    resource: str
    verb: str
    everywhere: bool = False

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}.{self.group}".rstrip(".")


class Parameters(BaseModel):
    """What a policy may write below ``with``: checked when it loads, documented from the fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    # Those that the policy alone says: no label of an alert is looked up in them.
    fixed: ClassVar[frozenset[str]] = frozenset()


@dataclass(frozen=True)
class Spec:
    """What a remediation declares of itself; the whole catalogue can be listed from these.

    ``about`` is why it is done this way, ``example`` a candidate of a policy. ``writes`` are the rights of
    which a plan uses those that its steps need. ``mitigates`` says that what it changes should not stay for
    ever, so that a policy must say when it expires.
    """

    name: str
    version: int
    sentence: str
    risk: Risk
    approval_default: ApprovalDefault
    target_kinds: frozenset[str]
    parameters: type[Parameters]
    needs_labels: frozenset[str]
    reads: tuple[Permission, ...]
    writes: tuple[Permission, ...]
    settle: timedelta
    about: str
    example: str
    reversible: bool = True
    mitigates: bool = False


@dataclass(frozen=True)
class ObjectRef:
    """One object of the cluster; ``uid`` tells it from another of the same name."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    @property
    def key(self) -> str:
        """What a lock on this object is named by."""
        return f"{self.kind}/{self.namespace}/{self.name}"


@dataclass(frozen=True)
class FieldChange:
    """One field before and after, by JSON pointer; None is a field that is not there.

    ``before`` is the exact value planned on, ``after`` the wanted one. The write replaces the subtree.
    """

    pointer: str
    before: Any
    after: Any


@dataclass(frozen=True)
class PatchStep:
    """One JSON patch of one Kubernetes object.

    ``generation`` is the one planned on: status writes leave it alone, so it tells whether anybody changed
    the spec since. It and the resourceVersion are no part of the digest.
    """

    target: ObjectRef
    changes: tuple[FieldChange, ...]
    generation: int | None = None

    def digested(self) -> dict[str, Any]:
        """What an approval of this step covers."""
        return {
            "write": "json-patch",
            "object": [self.target.api_version, self.target.kind, self.target.namespace, self.target.name],
            "uid": self.target.uid,
            "changes": [[change.pointer, change.before, change.after] for change in self.changes],
        }


@dataclass(frozen=True)
class EvictStep:
    """One pod asked to go, through the API that honours disruption budgets; this very pod or none."""

    target: ObjectRef
    write: Literal["evict"] = "evict"

    @property
    def changes(self) -> tuple[FieldChange, ...]:
        """No field is written."""
        return ()

    def digested(self) -> dict[str, Any]:
        """What an approval of this step covers."""
        return {"write": self.write, "object": self.target.key, "uid": self.target.uid}


class Signal(StrEnum):
    """What a PostgreSQL backend is told: end the statement, or end altogether."""

    CANCEL = "cancel"
    TERMINATE = "terminate"


@dataclass(frozen=True)
class BackendStep:
    """One signal to one PostgreSQL backend, if it still is and does what it did when the plan was made.

    ``target`` is named by pid, its uid is ``backend_start``. ``version`` is what it was doing and since when;
    like a resourceVersion it is a condition of the write and no part of the digest. An approval covers the
    rule by which backends are chosen and how many at most, so that one more that falls asleep voids nothing;
    only the backends of the plan are ever told anything.
    """

    target: ObjectRef
    signal: Signal
    database: str
    users: tuple[str, ...]
    version: str
    rule: str
    seen: str
    write: Literal["backend"] = "backend"

    @property
    def changes(self) -> tuple[FieldChange, ...]:
        """No field is written."""
        return ()

    def digested(self) -> dict[str, Any]:
        """What an approval of this step covers."""
        return {
            "write": self.write,
            "connection": self.target.namespace,
            "signal": self.signal,
            "database": self.database,
            "users": sorted(self.users),
            "rule": self.rule,
        }


@dataclass(frozen=True)
class WarmUpStep:
    """So many GET requests to one endpoint of the operators' file, one after another.

    ``target`` names the endpoint, its uid is of its address. They leave nothing behind, so nothing can tell
    afterwards how many arrived: what is not known is never sent again.
    """

    target: ObjectRef
    requests: int
    write: Literal["warm-up"] = "warm-up"

    @property
    def changes(self) -> tuple[FieldChange, ...]:
        """No field is written."""
        return ()

    def digested(self) -> dict[str, Any]:
        """What an approval of this step covers."""
        return {
            "write": self.write,
            "endpoint": self.target.name,
            "uid": self.target.uid,
            "requests": self.requests,
        }


Step = PatchStep | EvictStep | BackendStep | WarmUpStep


@dataclass(frozen=True)
class Verification:
    """How to tell whether the patient is better; durations as the policy says.

    ``settle`` is the time the change may take to be in place; regression is not judged before. ``queries``
    names PromQL; the expressions compare the names.
    """

    queries: Mapping[str, str]
    success: str
    success_for: timedelta
    every: timedelta
    min_samples: int
    settle: timedelta
    within: timedelta
    baseline: timedelta
    regression: str | None = None
    regression_for: timedelta = timedelta(0)

    def digested(self) -> dict[str, Any]:
        """The same as plain JSON, seconds for durations."""
        return {
            "queries": dict(self.queries),
            "success": self.success,
            "regression": self.regression,
            "seconds": [
                self.success_for.total_seconds(),
                self.every.total_seconds(),
                self.settle.total_seconds(),
                self.within.total_seconds(),
                self.baseline.total_seconds(),
                self.regression_for.total_seconds(),
            ],
            "min_samples": self.min_samples,
        }


@dataclass(frozen=True)
class Ends:
    """A mitigation is no longer needed once ``expr`` has held for ``held_for``, looked at each ``every``.

    ``queries`` names the PromQL that the expression compares; so many samples must have data.
    """

    expr: str
    held_for: timedelta
    every: timedelta
    min_samples: int
    queries: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.expr} has held for {in_words(self.held_for)}"

    def digested(self) -> dict[str, Any]:
        """The same as plain JSON, seconds for durations."""
        return {
            "queries": dict(self.queries),
            "expr": self.expr,
            "seconds": [self.held_for.total_seconds(), self.every.total_seconds()],
            "min_samples": self.min_samples,
        }


class UndoWhen(StrEnum):
    """When a plan is undone without asking again; mere failure always asks for a rollback."""

    REGRESSION = "regression"
    FAILURE = "failure"


@dataclass(frozen=True)
class Undo:
    """Whether and when the plan is put back: on which verdicts by itself, on which after asking."""

    automatic: frozenset[UndoWhen] = frozenset({UndoWhen.REGRESSION})
    ask: frozenset[UndoWhen] = frozenset({UndoWhen.FAILURE})

    def digested(self) -> dict[str, Any]:
        """The same as plain JSON."""
        return {"automatic": sorted(self.automatic), "ask": sorted(self.ask)}


@dataclass(frozen=True)
class ApprovalRule:
    """Who may approve and how many; ``groups`` empty means nobody can.

    ``in_turn`` is the order in which they are asked, the groups of one approver together. With
    ``own_rights`` whoever approves must be allowed by the cluster to make the change by hand.
    """

    groups: tuple[str, ...]
    count: int = 1
    not_requester: bool = False
    reason_required: bool = False
    expires: timedelta = timedelta(minutes=15)
    execute_within: timedelta = timedelta(minutes=5)
    in_turn: tuple[tuple[str, ...], ...] = ()
    own_rights: bool = False

    def digested(self) -> dict[str, Any]:
        """The same as plain JSON; what plans of older releases lack is left out where it says nothing."""
        return {
            "groups": sorted(self.groups),
            "count": self.count,
            "not_requester": self.not_requester,
            "reason_required": self.reason_required,
            **({"own_rights": True} if self.own_rights else {}),
        }


def cure_of(remediation: str, parameters: Mapping[str, Any]) -> str:
    """A remediation with what it was told to do: one that was tried is not tried again for this incident."""
    return f"{remediation} {digest_of(dict(parameters))[:12]}"


@dataclass(frozen=True)
class Draft:
    """What a remediation's `plan` answers: the steps and the words for the approver.

    ``not_before``/facts that were measured stay in ``why`` and ``blast_radius``; they are shown, not hashed.
    """

    target: ObjectRef
    steps: tuple[Step, ...]
    summary: str
    why: str
    blast_radius: str
    notes: tuple[str, ...] = ()
    risk: Risk | None = None
    undo_sentence: str = "cannot be undone"


@dataclass(frozen=True)
class NotApplicable:
    """This remediation does not fit here, with the reason for the list of rejected candidates."""

    reason: str


@dataclass(frozen=True)
class Plan:
    """This cure for this incident, with everything an approval covers.

    The digest is over what is changed and why it is safe. Not in it: resourceVersion, generation, status,
    measured values and the words, which move by themselves.
    """

    incident_id: int
    epoch: int
    policy: str
    policy_hash: str
    mode: str
    remediation: str
    version: int
    parameters: Mapping[str, Any]
    target: ObjectRef
    steps: tuple[Step, ...]
    risk: Risk
    approval: ApprovalRule
    verification: Verification
    undo: Undo
    monitor: timedelta
    expires: timedelta | None = None
    ends: Ends | None = None
    summary: str = ""
    why: str = ""
    blast_radius: str = ""
    undo_sentence: str = ""
    notes: tuple[str, ...] = ()
    diff: str = ""
    requested_by: str = "policy"

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical plan; an approval names it and holds for nothing else.

        Steps of which an approval covers the same are counted once.
        """
        expires: dict[str, Any] = {} if self.expires is None else {"expires": self.expires.total_seconds()}
        if self.ends is not None:
            expires["ends"] = self.ends.digested()
        steps = [step.digested() for step in self.steps]
        return digest_of(
            {
                **expires,
                "remediation": [self.remediation, self.version],
                "parameters": dict(self.parameters),
                "target": [self.target.key, self.target.uid],
                "steps": [step for index, step in enumerate(steps) if step not in steps[:index]],
                "risk": self.risk,
                "approval": self.approval.digested(),
                "verification": self.verification.digested(),
                "undo": self.undo.digested(),
                "monitor": self.monitor.total_seconds(),
                "policy": [self.policy, self.policy_hash],
            }
        )


def told_version(step: Step) -> str:
    """The version that a receipt keeps: a backend's, whose write leaves no other trace."""
    return step.version if isinstance(step, BackendStep) else ""


@dataclass(frozen=True)
class Receipt:
    """What one write did, and what undoing it needs.

    ``changes`` carries the pre-image as ``before``; ``generation`` is the object's after the write;
    ``version`` is what a backend did when it was told, so that its next statement is told from that one.
    """

    intent: str
    target: ObjectRef
    changes: tuple[FieldChange, ...]
    generation: int | None
    done_at: datetime
    how: str = "answered"
    version: str = ""


@dataclass(frozen=True)
class Objection:
    """A guard's reason against, with a code for the metric and a sentence for the person."""

    guard: str
    code: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.guard} {self.code}: {self.sentence}"


@dataclass(frozen=True)
class Passed:
    """A guard had nothing against it; ``observed`` is what it looked at, "n/a" where it does not apply."""

    guard: str
    observed: str
