"""What several cures read of the cluster, through the door that each is given."""

from __future__ import annotations

from typing import Any

from receiver.domain.capacity import MOST_PODS
from receiver.domain.plans import ObjectRef
from receiver.domain.remediation import ClusterReader


async def with_replica_sets(cluster: ClusterReader, target: ObjectRef) -> dict[str, Any]:
    """``deployment`` (None: there is none) and the ``replicaSets`` that its selector finds."""
    deployment = await cluster.get(target)
    if deployment is None:
        return {"deployment": None, "replicaSets": []}
    selector = deployment["spec"]["selector"].get("matchLabels", {})
    found = await cluster.list_objects("apps/v1", "ReplicaSet", target.namespace, labels=selector)
    return {"deployment": deployment, "replicaSets": found}


async def nodes_and_pods(cluster: ClusterReader) -> dict[str, Any]:
    """All ``nodes`` and the ``pods`` of all namespaces: what tells how much room is left."""
    return {
        "nodes": await cluster.list_objects("v1", "Node", "", limit=MOST_PODS),
        "pods": await cluster.list_objects("v1", "Pod", "", limit=MOST_PODS),
    }
