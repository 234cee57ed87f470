"""Policy files to a checked `PolicySet`, or to every complaint about them at once.

Pure over texts: whoever calls reads the files and hands in what policies may refer to. One error anywhere
and there is no set, so that a half-understood set never acts; the caller keeps the last good one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import timedelta
from enum import Enum
from typing import Any

from receiver.domain.canonical import digest_of
from receiver.domain.plans import Spec
from receiver.policy import freezes
from receiver.policy.complaints import Complaint, Severity, did_you_mean
from receiver.policy.document import Document, Node, read
from receiver.policy.fields import Fields, each, name, table
from receiver.policy.model import Budget, CorrelationRule, Freeze, Mode, Policy, PolicySet
from receiver.policy.policy_file import (
    NOT_YET,
    SECTIONS,
    SHARED,
    Approver,
    Surroundings,
    budget,
    read_matchers,
    read_policy,
)

API_VERSION = "stanch/v1"
KINDS = ("Policy", "Correlation", "Approvers", "Limits", "Defaults")
# What a policy leans on; where one file is read by itself, these of its folder are read with it.
COMPANIONS = tuple(kind for kind in KINDS if kind != "Policy")
# Tests may stand beside the policies; they are read by who plays them.
TEST_KIND = "PolicyTest"
LATER_KINDS = (
    "EscalationLadder",
    "Comms",
    "Schedule",
    "Connections",
    "SecurityStandingApproval",
)


@dataclass(frozen=True)
class Loaded:
    """What came of the files: no policies where there is any error; warnings come with policies."""

    policies: PolicySet | None
    complaints: tuple[Complaint, ...]

    @property
    def errors(self) -> tuple[Complaint, ...]:
        """The complaints that kept the policies from loading."""
        return tuple(found for found in self.complaints if found.severity is Severity.ERROR)


@dataclass(frozen=True)
class _Limits:
    """What holds for the whole cluster, whichever policy acts."""

    cluster_budget: Budget
    storm: Budget
    heartbeats: frozenset[str]
    freezes: tuple[Freeze, ...]


@dataclass(frozen=True)
class _File:
    document: Document
    kind: str
    metadata: Fields
    spec: Fields


def load(
    files: Mapping[str, str],
    *,
    catalogue: Mapping[str, Spec],
    probe_facts: Mapping[str, Mapping[str, Any]],
) -> Loaded:
    """Load all files together. Never raises: whatever is in a file becomes a complaint."""
    documents = [read(file, content) for file, content in sorted(files.items())]
    opened = [found for document in documents if (found := _opened(document)) is not None]
    of_kind = {kind: [found for found in opened if found.kind == kind] for kind in KINDS}
    approvers = _approvers(of_kind["Approvers"])
    limits = _limits(of_kind["Limits"])
    correlation = [rule for found in of_kind["Correlation"] for rule in _correlation(found)]
    around = Surroundings(catalogue, probe_facts, approvers, _defaults(of_kind["Defaults"]))
    policies = [
        (found, policy)
        for found in of_kind["Policy"]
        if (policy := read_policy(found.document, found.metadata, found.spec, around)) is not None
    ]
    _among_each_other(policies)
    complaints = tuple(
        sorted(
            # Shared sections are read with each policy that names them, and complained about once.
            dict.fromkeys(complaint for document in documents for complaint in document.complaints),
            key=lambda complaint: (complaint.file, complaint.line, complaint.column),
        )
    )
    if any(complaint.severity is Severity.ERROR for complaint in complaints):
        return Loaded(None, complaints)
    hashed = tuple(
        sorted(
            (_hashed(policy, limits.cluster_budget) for _, policy in policies), key=lambda policy: policy.name
        )
    )
    loaded = PolicySet(
        policies=hashed,
        correlation=tuple(correlation),
        groups={name: approver.groups for name, approver in approvers.items()},
        heartbeats=limits.heartbeats,
        cluster_budget=limits.cluster_budget,
        storm=limits.storm,
        freezes=limits.freezes,
    )
    # Each policy's own hash says what is in it; its file is what people look for it in.
    content = {**_plain(replace(loaded, policies=())), "policies": [(one.file, one.hash) for one in hashed]}
    return Loaded(replace(loaded, hash=digest_of(content)), complaints)


def _opened(document: Document) -> _File | None:
    """The outer shape that every kind shares; None where it is not one of ours."""
    if document.root is None:
        return None
    outer = table(document, document.root, "the file")
    if not outer.readable:
        return None
    version = outer.text("apiVersion", needed=True)
    if version not in (None, API_VERSION) and (node := outer.node("apiVersion")) is not None:
        document.complain(node, f"apiVersion {version!r} is not known", f"write {API_VERSION}")
    kind = outer.text("kind", needed=True)
    node = outer.node("kind")
    if kind is None or node is None or kind == TEST_KIND:
        return None
    if kind not in KINDS:
        if kind in LATER_KINDS:
            document.complain(node, f"kind {kind} is {NOT_YET}", f"there are {', '.join(KINDS)}")
        else:
            document.complain(node, f'kind "{kind}" is not known', did_you_mean(kind, (*KINDS, TEST_KIND)))
        return None
    outer.known(("apiVersion", "kind", "metadata", "spec"))
    metadata = outer.table("metadata", needed=kind in ("Policy", "Defaults"), what="metadata")
    return _File(document, kind, metadata, outer.table("spec", needed=True, what="spec"))


def _approvers(found: list[_File]) -> dict[str, Approver]:
    """Who stands behind the names that policies use, over all files."""
    approvers: dict[str, Approver] = {}
    for file in found:
        file.metadata.known(("name",))
        for key, node in file.spec.entries():
            inner = table(file.document, node, key.text, at=key)
            inner.known(
                ("groups", "people"), instead={"users": f"single users are {NOT_YET}; put them into a group"}
            )
            groups = inner.texts("groups", needed=True, empty="nobody could approve")
            people = inner.whole("people", 0) if "people" in inner else None
            if key.text in approvers:
                file.document.complain(key, f'approver "{key.text}" is in another Approvers file too')
            approvers[key.text] = Approver(tuple(said for _, said in groups), people)
    return approvers


def _defaults(found: list[_File]) -> dict[str, Fields]:
    """The sections that policies may share, by the name that they share them under."""
    defaults: dict[str, Fields] = {}
    for file in found:
        file.metadata.known(("name",))
        file.spec.known(SHARED, instead=dict.fromkeys(SECTIONS, "each policy says this itself"))
        node = file.metadata.node("name", needed=True)
        called = None if node is None else name(file.document, node, "metadata.name")
        if called is None or node is None:
            continue
        if called in defaults:
            file.document.complain(node, f'defaults "{called}" are in {defaults[called].document.file} too')
        defaults.setdefault(called, file.spec)
    return defaults


def _limits(found: list[_File]) -> _Limits:
    """How much may happen in the cluster, and when what is not done."""
    default = PolicySet()
    frozen: list[Freeze] = []

    def freeze(inner: Fields) -> None:
        if (read := freezes.read(inner)) is not None:
            frozen.append(read)

    cluster_budget, storm, heartbeats = default.cluster_budget, default.storm, default.heartbeats
    for file in found[1:]:
        message = f"limits stand in {found[0].document.file} already"
        file.document.complain(file.spec.at, message, "keep one Limits file")
    for file in found[:1]:
        file.metadata.known(("name",))
        file.spec.known(("clusterBudget", "storm", "heartbeats", "freezes"))
        each(file.document, file.spec.items("freezes"), "freezes", freeze)
        cluster_budget = budget(file.spec, "clusterBudget", cluster_budget)
        storm = budget(file.spec, "storm", storm)
        if "heartbeats" in file.spec:
            heartbeats = frozenset(said for _, said in file.spec.texts("heartbeats"))
    return _Limits(cluster_budget, storm, heartbeats, tuple(frozen))


def _correlation(file: _File) -> list[CorrelationRule]:
    """Which alerts are one incident, first match wins."""
    file.metadata.known(("name",))
    file.spec.known(("rules",))
    rules: list[CorrelationRule] = []

    def rule(inner: Fields) -> None:
        inner.known(("alerts", "by", "reopen"))
        by = inner.texts("by", needed=True, empty="every alert would be one incident")
        for node, said in by:
            if not all(part.strip() for part in said.split("|")):
                file.document.complain(node, f"{said[:60]!r} names no label", 'write "app|service|job"')
        rules.append(
            CorrelationRule(
                matchers=read_matchers(inner, "alerts", needed=True),
                by=tuple(tuple(part.strip() for part in said.split("|")) for _, said in by),
                reopen=inner.duration("reopen", timedelta(hours=2)),
            )
        )

    each(file.document, file.spec.items("rules", needed=True, empty="leave the file out"), "rules", rule)
    return rules


def _among_each_other(policies: list[tuple[_File, Policy]]) -> None:
    """What only several policies together show."""
    by_name: dict[str, _File] = {}
    by_matchers: dict[frozenset[str], Policy] = {}
    for file, policy in policies:
        if policy.name in by_name:
            file.document.complain(
                file.metadata.node("name") or file.metadata.at,
                f'policy "{policy.name}" is in {by_name[policy.name].document.file} too',
                "names are unique over all files",
            )
        by_name.setdefault(policy.name, file)
        alike = frozenset(str(matcher) for matcher in policy.match.matchers)
        if policy.mode is Mode.DISABLED or not alike:
            continue
        if (other := by_matchers.setdefault(alike, policy)) is not policy:
            place: Node = file.spec.node("match") or file.spec.at
            file.document.complain(
                place,
                f'this matches the same alerts as policy "{other.name}"',
                "both will propose; make one policy of them if that is not meant",
                severity=Severity.WARNING,
            )


def _hashed(policy: Policy, cluster_budget: Budget) -> Policy:
    """With the hash of what it says, of the groups behind its approvers, and of the limits over it.

    Rules already carry the groups. The file's name and place do not count.
    """
    content = _plain(replace(policy, hash="", file=""))
    return replace(policy, hash=digest_of({"policy": content, "cluster": _plain(cluster_budget)}))


def _plain(value: Any) -> Any:
    """The same as plain JSON, sets in order, durations in seconds."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(_plain(entry) for entry in value)
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value
