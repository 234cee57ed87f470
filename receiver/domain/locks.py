"""What a security lock covers: a namespace, a workload with its pods, a node, or everything.

A lock is a reason to do nothing, so where it is not clear whether something is covered, it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from receiver.domain.plans import ObjectRef, Plan

CLUSTER = "cluster"
# All that is told of a security incident to those who may not read it.
RESTRICTED = "restricted incident"
# What makes pods whose names begin with its own.
_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicaSet", "Rollout", "Cluster")


def of_namespace(namespace: str) -> str:
    """The scope that covers everything in one namespace."""
    return f"namespace/{namespace}"


def of_node(name: str) -> str:
    """The scope that covers one node."""
    return f"node/{name}"


def widest(labels: Iterable[Mapping[str, str]]) -> tuple[str, ...]:
    """The namespaces that these alerts name; everything where one of them names none."""
    named = [found.get("namespace") or "" for found in labels]
    if not named or not all(named):
        return (CLUSTER,)
    return tuple(sorted({of_namespace(namespace) for namespace in named}))


def covering(target: ObjectRef) -> frozenset[str]:
    """Every scope whose lock forbids a write to this object.

    A pod is covered by a lock on any workload whose name its own begins with, and a claim by one on any whose
    name is in its own (`data-web-0`): whose they are is not asked, since the answer could be forged or late.
    """
    scopes = {CLUSTER, target.key}
    if target.namespace:
        scopes.add(of_namespace(target.namespace))
    if target.kind == "Node":
        scopes.add(of_node(target.name))
    if target.kind == "Pod":
        parts = target.name.split("-")
        scopes |= _of_workloads(target.namespace, ("-".join(parts[:count]) for count in range(1, len(parts))))
    if target.kind == "PersistentVolumeClaim":
        parts = target.name.split("-")
        ends = [(start, end) for start in range(len(parts)) for end in range(start + 1, len(parts) + 1)]
        scopes |= _of_workloads(target.namespace, ("-".join(parts[start:end]) for start, end in ends))
    return frozenset(scopes)


def _of_workloads(namespace: str, names: Iterable[str]) -> set[str]:
    return {f"{kind}/{namespace}/{name}" for name in names for kind in _WORKLOADS}


def covering_plan(plan: Plan) -> frozenset[str]:
    """Every scope whose lock forbids some write of this plan."""
    found = covering(plan.target)
    for step in plan.steps:
        found |= covering(step.target)
    return found
