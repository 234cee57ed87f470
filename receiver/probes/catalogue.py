"""Every probe a policy may name, with the facts it gives; one list, as the remediations have."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from receiver.domain.plans import ObjectRef, Permission
from receiver.domain.remediation import ClusterReader
from receiver.probes import owners, rollouts
from receiver.probes.bounds import bounded

# The rights that each takes, beside those of nobody.
READS: Mapping[str, tuple[Permission, ...]] = {
    "rollout-history": (
        Permission("apps", "deployments", "get"),
        Permission("apps", "replicasets", "list"),
    ),
    "owners": (
        Permission("apps", "deployments", "get"),
        Permission("autoscaling", "horizontalpodautoscalers", "list"),
    ),
}
FACTS: Mapping[str, Mapping[str, Any]] = {"rollout-history": rollouts.FACTS, "owners": owners.FACTS}


async def run(
    probe: str, cluster: ClusterReader, target: ObjectRef, *, first_bad_at: datetime | None, now: datetime
) -> Any:
    """The facts of one probe, their lists bounded. Raises what the door raises, and KeyError for an unknown
    probe.
    """
    return bounded(await _look(probe, cluster, target, first_bad_at=first_bad_at, now=now))


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
    raise KeyError(probe)
