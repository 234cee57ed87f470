"""What several cures read of the cluster, through the door that each is given."""

from __future__ import annotations

from typing import Any

from receiver.domain.capacity import MOST_PODS
from receiver.domain.plans import ObjectRef
from receiver.domain.remediation import ClusterReader
from receiver.domain.rollouts import MOST_REPLICA_SETS, labels_to_list_by, uncut


async def with_replica_sets(cluster: ClusterReader, target: ObjectRef) -> dict[str, Any]:
    """``deployment`` (None: there is none) and the ``replicaSets`` among which its own are.

    Raises PermanentError where there are too many to tell, and what the door raises.
    """
    deployment = await cluster.get(target)
    if deployment is None:
        return {"deployment": None, "replicaSets": []}
    labels = labels_to_list_by(deployment)
    found = await cluster.list_objects(
        "apps/v1", "ReplicaSet", target.namespace, labels=labels, limit=MOST_REPLICA_SETS
    )
    return {"deployment": deployment, "replicaSets": uncut(deployment, found)}


async def nodes_and_pods(cluster: ClusterReader) -> dict[str, Any]:
    """All ``nodes`` and the ``pods`` of all namespaces: what tells how much room is left."""
    return {
        "nodes": await cluster.list_objects("v1", "Node", "", limit=MOST_PODS),
        "pods": await cluster.list_objects("v1", "Pod", "", limit=MOST_PODS),
    }
