"""The least rights that a set of policies needs: derived from what remediations and probes declare.

Three roles: the reader looks, the executor writes, the isolator isolates; all in the namespaces that the
policies list and nowhere else. Where a policy fixes the names of its targets, the executor may write these
and no others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from receiver.domain.backends import BACKEND
from receiver.domain.endpoints import HTTP
from receiver.domain.isolation import BY_HAND, Act, IsolationSpec
from receiver.domain.plans import Permission, Spec
from receiver.policy.model import Mode, Policy, PolicySet

# What a database or the file of endpoints grants is no matter of the cluster: docs/postgres-roles.sql.
ELSEWHERE = (BACKEND, HTTP)
READER, EXECUTOR, ISOLATOR = "stanch-reader", "stanch-executor", "stanch-isolator"
# What whoever was in a pod may have read is told by the pods.
CREDENTIALS = (Permission("", "pods", "list"),)
# What the guards ask, whatever the cure: who else writes the target's fields.
GUARDS = (Permission("autoscaling", "horizontalpodautoscalers", "list"),)
_TARGETS = {
    "Deployment": Permission("apps", "deployments", "get"),
    "PersistentVolumeClaim": Permission("", "persistentvolumeclaims", "get"),
    "Cluster": Permission("postgresql.cnpg.io", "clusters", "get"),
}


@dataclass(frozen=True)
class Grant:
    """One right, where it holds: in a namespace or, without one, everywhere; for these names, or for all."""

    role: str
    namespace: str | None
    permission: Permission
    names: tuple[str, ...] = ()


def grants(
    policies: PolicySet,
    catalogue: Mapping[str, Spec],
    probe_reads: Mapping[str, tuple[Permission, ...]],
    evidence_reads: tuple[Permission, ...] = (),
    isolations: Mapping[Act, IsolationSpec] = MappingProxyType({}),
) -> list[Grant]:
    """Every right that some policy needs, once; ``evidence_reads`` where it may find an attack.

    Of the ``isolations`` those that its signs ask for, and beside them those that only people ask for.
    """
    found: dict[Grant, None] = {}
    for policy in policies.policies:
        if policy.mode is Mode.DISABLED:
            continue
        evidence = evidence_reads if policy.security else ()
        for grant in _of_policy(policy, catalogue, probe_reads, evidence):
            found[grant] = None
        for grant in _of_signs(policy, isolations):
            found[grant] = None
    return list(found)


def _of_policy(
    policy: Policy,
    catalogue: Mapping[str, Spec],
    probe_reads: Mapping[str, tuple[Permission, ...]],
    evidence: tuple[Permission, ...],
) -> Iterator[Grant]:
    offered = [candidate for candidate in policy.candidates if not candidate.disabled]
    specs = [catalogue[candidate.remediation] for candidate in offered]
    reads = [right for use in policy.probes for right in probe_reads.get(use.probe, ())]
    if reads:
        # A probe of the cluster begins with the target.
        reads.append(_TARGETS[policy.target.kind])
    reads += [right for spec in specs for right in spec.reads]
    if specs:
        reads += GUARDS
    reads += evidence
    if policy.security:
        reads += CREDENTIALS
    for namespace in policy.target.namespaces:
        for right in reads:
            if right.group in ELSEWHERE:
                continue
            yield _granted(READER, namespace, right)
        # A shadowing policy tries out what it would write, which takes the same right as writing it.
        for spec in specs:
            for right in spec.writes:
                if right.group in ELSEWHERE:
                    continue
                yield _granted(EXECUTOR, namespace, right, _names(policy, right))


def _of_signs(policy: Policy, isolations: Mapping[Act, IsolationSpec]) -> Iterator[Grant]:
    """Whose pods and nodes they are shows only in the alert, so no names are fixed."""
    acts = {wish.act for sign in policy.security for wish in sign.isolate}
    specs = [spec for act, spec in isolations.items() if acts and act in acts | BY_HAND]
    for namespace in policy.target.namespaces:
        for spec in specs:
            yield from (_granted(READER, namespace, right) for right in spec.reads)
            yield from (_granted(ISOLATOR, namespace, right) for right in spec.writes)


def _granted(role: str, namespace: str, right: Permission, names: tuple[str, ...] = ()) -> Grant:
    return Grant(role, None if right.everywhere else namespace, right, names)


def _names(policy: Policy, right: Permission) -> tuple[str, ...]:
    """The names that may be written, where the policy says which and the object is the target itself."""
    target = _TARGETS[policy.target.kind]
    if (right.group, right.resource) != (target.group, target.resource):
        return ()
    if policy.target.names:
        return tuple(sorted(policy.target.names))
    return () if "{{" in policy.target.name else (policy.target.name,)


def roles(found: Iterable[Grant]) -> list[dict[str, Any]]:
    """The same as Roles and ClusterRoles, as a cluster takes them."""
    by_role: dict[tuple[str, str | None], list[Grant]] = defaultdict(list)
    for grant in found:
        by_role[grant.role, grant.namespace].append(grant)
    return [
        _role(name, namespace, by_role[name, namespace])
        for name, namespace in sorted(by_role, key=lambda key: (key[0], key[1] or ""))
    ]


def _role(name: str, namespace: str | None, found: list[Grant]) -> dict[str, Any]:
    metadata = {"name": name} if namespace is None else {"name": name, "namespace": namespace}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole" if namespace is None else "Role",
        "metadata": metadata,
        "rules": list(_rules(found)),
    }


def _rules(found: list[Grant]) -> Iterator[dict[str, Any]]:
    """One rule for each resource, its verbs together; with names apart from without, which covers them."""
    verbs: dict[tuple[str, str, tuple[str, ...]], set[str]] = defaultdict(set)
    for verb_names, right in _merged(found):
        verbs[right.group, right.resource, verb_names].add(right.verb)
    for (group, resource, names), allowed in sorted(verbs.items()):
        rule: dict[str, Any] = {"apiGroups": [group], "resources": [resource], "verbs": sorted(allowed)}
        yield {**rule, "resourceNames": list(names)} if names else rule


def _merged(found: list[Grant]) -> Iterator[tuple[tuple[str, ...], Permission]]:
    names: dict[Permission, set[str] | None] = {}
    for grant in found:
        known = names.get(grant.permission, set())
        # Once for all of a kind is for all of it.
        names[grant.permission] = None if known is None or not grant.names else known | set(grant.names)
    for permission, some in names.items():
        yield tuple(sorted(some or ())), permission


def allowed(
    found: list[dict[str, Any]], *, group: str, resource: str, verb: str, namespace: str, name: str
) -> bool:
    """Whether these roles together let somebody do exactly this, as the API server would judge."""
    for role in found:
        if role["kind"] == "Role" and role["metadata"]["namespace"] != namespace:
            continue
        for rule in role["rules"]:
            fits = group in rule["apiGroups"] and resource in rule["resources"] and verb in rule["verbs"]
            if fits and (name in rule["resourceNames"] if "resourceNames" in rule else True):
                return True
    return False
