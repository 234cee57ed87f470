"""Every probe a policy may name, with the facts it gives; one list, as the remediations have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from receiver.domain.plans import ObjectRef, Permission
from receiver.domain.remediation import ClusterReader, DatabaseReader, EndpointReader
from receiver.policy.model import ProbeUse
from receiver.probes import databases as of_databases
from receiver.probes import endpoints as of_endpoints
from receiver.probes import incidents, nodes, owners, pods, rollouts
from receiver.probes.bounds import bounded
from receiver.probes.incidents import IncidentReader

# The rights in the cluster that each takes, beside reading the policy's target itself.
READS: Mapping[str, tuple[Permission, ...]] = {
    "rollout-history": (Permission("apps", "replicasets", "list"),),
    "owners": (Permission("autoscaling", "horizontalpodautoscalers", "list"),),
    "pods": (Permission("", "pods", "list"),),
    "log-fingerprints": (
        Permission("", "pods", "list"),
        Permission("", "pods/log", "get"),
    ),
    "nodes": (
        Permission("apps", "deployments", "get"),
        Permission("", "pods", "list"),
        Permission("", "nodes", "get", everywhere=True),
        Permission("metrics.k8s.io", "pods", "list"),
        Permission("metrics.k8s.io", "nodes", "get", everywhere=True),
    ),
    "postgres-connections": (),
    "postgres-slow-queries": (),
    "postgres-replication-lag": (),
    "postgres-disk": (),
    "status-page": (),
    "health": (),
    "circuit-breakers": (),
    "recent-incidents": (),
}
FACTS: Mapping[str, Mapping[str, Any]] = {
    "rollout-history": rollouts.FACTS,
    "owners": owners.FACTS,
    "pods": pods.PODS,
    "log-fingerprints": pods.LOGS,
    "nodes": nodes.FACTS,
    "postgres-connections": of_databases.CONNECTIONS,
    "postgres-slow-queries": of_databases.SLOW,
    "postgres-replication-lag": of_databases.LAG,
    "postgres-disk": of_databases.DISK,
    "status-page": of_endpoints.STATUS_PAGE,
    "health": of_endpoints.HEALTH,
    "circuit-breakers": of_endpoints.BREAKERS,
    "recent-incidents": incidents.FACTS,
}
_OF_DATABASES = {
    "postgres-connections": of_databases.connections,
    "postgres-slow-queries": of_databases.slow,
    "postgres-replication-lag": of_databases.lag,
    "postgres-disk": of_databases.disk,
}
_OF_ENDPOINTS = {
    "status-page": of_endpoints.status_page,
    "health": of_endpoints.health,
    "circuit-breakers": of_endpoints.circuit_breakers,
}


@dataclass(frozen=True)
class Doors:
    """Where probes may look: the cluster, what the files of databases and endpoints name, our own past."""

    cluster: ClusterReader
    databases: DatabaseReader
    endpoints: EndpointReader
    incidents: IncidentReader


async def run(
    use: ProbeUse, doors: Doors, target: ObjectRef, *, first_bad_at: datetime | None, now: datetime
) -> Any:
    """The facts of one probe, their lists bounded. Raises what the door raises, and KeyError for an unknown
    probe.
    """
    if (look := _OF_DATABASES.get(use.probe)) is not None:
        return bounded(await look(doors.databases, use.parameters["connection"]))
    if (asking := _OF_ENDPOINTS.get(use.probe)) is not None:
        return bounded(await asking(doors.endpoints, use.parameters["endpoint"]))
    if use.probe == "recent-incidents":
        return bounded(await incidents.recent(doors.incidents, target, now=now))
    return bounded(await _look(use.probe, doors.cluster, target, first_bad_at=first_bad_at, now=now))


async def _look(
    probe: str, cluster: ClusterReader, target: ObjectRef, *, first_bad_at: datetime | None, now: datetime
) -> Any:
    if probe == "rollout-history":
        return await rollouts.look(cluster, target, first_bad_at=first_bad_at, now=now)
    if probe == "owners":
        found = await cluster.get(target)
        if found is None:
            return None
        named = await owners.look(cluster, target, found)
        return {
            "names": [owner.owner for owner in named],
            "everything": any(owner.fields == owners.EVERYTHING for owner in named),
        }
    if probe == "pods":
        return await pods.states(cluster, target, now=now)
    if probe == "log-fingerprints":
        return await pods.fingerprints(cluster, target)
    if probe == "nodes":
        return await nodes.look(cluster, target)
    raise KeyError(probe)
