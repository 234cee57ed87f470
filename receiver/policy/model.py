"""A loaded policy: what SREs wrote, checked and frozen. Durations are timedeltas, names are resolved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Literal

from receiver.domain.isolation import Act
from receiver.domain.plans import ApprovalRule, Ends, Risk, Undo, Verification
from receiver.domain.severity import Severity


class Mode(StrEnum):
    """How far a policy goes by itself; none of these words is a boolean to any YAML reader."""

    DISABLED = "disabled"
    SHADOW = "shadow"
    PROPOSE = "propose"
    AUTO = "auto"


@dataclass(frozen=True)
class Matcher:
    """One Alertmanager matcher: a missing label equals the empty text, patterns are anchored."""

    label: str
    operator: Literal["=", "!=", "=~", "!~"]
    value: str

    def __str__(self) -> str:
        return f'{self.label}{self.operator}"{self.value}"'

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels satisfy it."""
        found = labels.get(self.label, "")
        if self.operator in ("=", "!="):
            return (found == self.value) is (self.operator == "=")
        return (re.fullmatch(self.value, found, re.ASCII) is not None) is (self.operator == "=~")


@dataclass(frozen=True)
class Match:
    """Which alerts a policy is about: all matchers hold, for at least this long since first receipt."""

    matchers: tuple[Matcher, ...]
    for_: timedelta = timedelta(0)


@dataclass(frozen=True)
class TargetTemplate:
    """Where a cure of this policy acts; ``{{ labels.x }}`` is a look-up, never an engine.

    ``namespaces`` is the closed list it may reach; ``names`` empty means any name there.
    """

    kind: str
    namespace: str
    name: str
    namespaces: tuple[str, ...]
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class LevelRule:
    """One way to reach a severity: the expression held for ``for_``, and ``requires`` does not fail."""

    expr: str
    for_: timedelta
    requires: str | None = None


@dataclass(frozen=True)
class Classify:
    """The thresholds; every rule is evaluated and the most severe that holds wins."""

    levels: Mapping[Severity, tuple[LevelRule, ...]]
    severity_label: Mapping[str, Severity]
    every: timedelta = timedelta(seconds=15)

    @property
    def longest(self) -> timedelta:
        """How far back its rules look."""
        return max((rule.for_ for rules in self.levels.values() for rule in rules), default=timedelta(0))


_OF_DATABASES = "postgres-"
# Those that look at a target of any kind; the others need a workload with pods and revisions.
OF_ANY_KIND = frozenset({"owners", "recent-incidents"})
_OF_ENDPOINTS = ("status-page", "health", "circuit-breakers")

# What these find is somebody else's word: it stands beside what was measured and decides nothing alone.
CORROBORATING = frozenset({"status-page"})


def told_where(probe: str) -> str | None:
    """The setting by which a probe is told where to look; None for those that look at the target.

    Its value is a name in a file of the service: of databases, or of endpoints outside the cluster.
    """
    if probe.startswith(_OF_DATABASES):
        return "connection"
    return "endpoint" if probe in _OF_ENDPOINTS else None


@dataclass(frozen=True)
class ProbeUse:
    """One probe of ``diagnose``, under the name that conditions use."""

    name: str
    probe: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Candidate:
    """One remediation to offer, when its condition is true.

    ``disabled`` is one that is never offered, only named with its reason to the person who takes over: what a
    runbook asks for and this release cannot do, or what somebody switched off. What has an ``expires`` is
    proposed to be put back when that time is over, or before, once it ``ends``.
    """

    remediation: str
    why: str
    when: str | None
    parameters: Mapping[str, Any]
    disabled: bool = False
    expires: timedelta | None = None
    ends: Ends | None = None


@dataclass(frozen=True)
class Handover:
    """One thing that no release will do by itself: listed for a person unless ``when`` is known not to hold.

    ``shows`` are paths of facts and labels whose values stand beside it.
    """

    item: str
    next: str
    why: str
    when: str | None = None
    shows: tuple[str, ...] = ()


class Scope(StrEnum):
    """How much a security incident locks."""

    WORKLOAD = "workload"
    NAMESPACE = "namespace"
    CLUSTER = "cluster"


@dataclass(frozen=True)
class IsolationWish:
    """What a sign asks to isolate: a pod of the target's namespace, its node, or a node by name.

    ``{{ labels.x }}`` is a look-up, never an engine.
    """

    act: Act
    pod: str = ""
    node: str = ""


@dataclass(frozen=True)
class SecuritySign:
    """What makes an incident of this policy a security incident; without a condition each of them is one."""

    sign: str
    when: str | None = None
    scope: Scope = Scope.NAMESPACE
    isolate: tuple[IsolationWish, ...] = ()


@dataclass(frozen=True)
class Budget:
    """At most ``count`` runs in any window of ``per``."""

    count: int
    per: timedelta


@dataclass(frozen=True)
class GuardRule:
    """A guard that the policy adds: the expression must be true; unknown is an objection."""

    expr: str
    message: str


@dataclass(frozen=True)
class Guards:
    """Limits of the guards that are always on, and those that the policy adds."""

    per_target: Budget = Budget(1, timedelta(hours=2))
    per_policy: Budget = Budget(3, timedelta(hours=1))
    min_available: float = 0.5
    rules: tuple[GuardRule, ...] = ()
    dry_run_unsupported: tuple[str, ...] = ()


@dataclass(frozen=True)
class Policy:
    """One file of ``policies/``, checked.

    ``hash`` covers the parsed content with the approvers and limits it uses; comments do not count.
    """

    name: str
    mode: Mode
    match: Match
    target: TargetTemplate
    queries: Mapping[str, str]
    classify: Classify
    probes: tuple[ProbeUse, ...]
    probe_deadline: timedelta
    candidates: tuple[Candidate, ...]
    guards: Guards
    approve: Mapping[Risk, ApprovalRule]
    verification: Verification
    undo: Undo
    monitor: timedelta
    hash: str
    owner: str = ""
    runbook: str = ""
    file: str = ""
    handover: tuple[Handover, ...] = ()
    security: tuple[SecuritySign, ...] = ()


@dataclass(frozen=True)
class CorrelationRule:
    """Alerts that these matchers select are one incident when they agree in ``by``.

    Each entry of ``by`` is one label, or alternatives of which the first present counts.
    """

    matchers: tuple[Matcher, ...]
    by: tuple[tuple[str, ...], ...]
    reopen: timedelta = timedelta(hours=2)


DEFAULT_CORRELATION = CorrelationRule(
    matchers=(), by=(("cluster",), ("namespace",), ("app", "service", "job")), reopen=timedelta(hours=2)
)


@dataclass(frozen=True)
class Freeze:
    """A time at which nothing is changed: every week between two minutes of it (Monday 00:00 is 0), or once
    between two local times; by the clocks of its zone.
    """

    why: str
    zone: str
    weekly: tuple[int, int] | None = None
    once: tuple[str, str] | None = None


@dataclass(frozen=True)
class PolicySet:
    """Everything that was loaded together; replaced as a whole."""

    policies: tuple[Policy, ...] = ()
    correlation: tuple[CorrelationRule, ...] = ()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    heartbeats: frozenset[str] = frozenset({"Watchdog"})
    cluster_budget: Budget = Budget(10, timedelta(hours=1))
    storm: Budget = Budget(10, timedelta(minutes=10))
    freezes: tuple[Freeze, ...] = ()
    hash: str = ""

    def named(self, name: str) -> Policy | None:
        """The policy of that name."""
        return next((policy for policy in self.policies if policy.name == name), None)
