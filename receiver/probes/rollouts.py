"""`rollout-history`: which revisions a workload has, and how the present one relates to the trouble."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from receiver.domain.plans import ObjectRef
from receiver.domain.remediation import ClusterReader
from receiver.domain.rollouts import MOST_REPLICA_SETS, labels_to_list_by, read_rollout, uncut

# What conditions may use, with a sample value of the right kind: policies are checked against this.
FACTS: Mapping[str, Any] = {
    "paused": False,
    "revisions": 2,
    "hasEarlier": True,
    "current": {
        "name": "api-6bfccb4dbb",
        "image": "shop/api:2",
        "revision": 2,
        "ageSeconds": 60.0,
        "secondsBeforeFirstBad": 30.0,
        "ready": 1,
        "replicas": 3,
    },
}


async def look(
    cluster: ClusterReader, target: ObjectRef, *, first_bad_at: datetime | None, now: datetime
) -> Any:
    """The facts for ``rollout.*``; None where there is no such workload.

    Raises PermanentError where its revisions cannot be told from too many others, and what the door raises.
    """
    deployment = await cluster.get(target)
    if deployment is None:
        return None
    labels = labels_to_list_by(deployment)
    found = await cluster.list_objects(
        "apps/v1", "ReplicaSet", target.namespace, labels=labels, limit=MOST_REPLICA_SETS
    )
    rollout = read_rollout(deployment, uncut(deployment, found))
    facts: dict[str, Any] = {
        "paused": rollout.paused,
        "revisions": len(rollout.revisions),
        "hasEarlier": len(rollout.revisions) > 1,
    }
    current = rollout.current
    if current is not None:
        facts["current"] = {
            "name": current.name,
            "image": current.image,
            "revision": current.number,
            "ageSeconds": (now - current.created_at).total_seconds(),
            "ready": current.ready,
            "replicas": current.replicas,
        }
        if first_bad_at is not None:
            facts["current"]["secondsBeforeFirstBad"] = (first_bad_at - current.created_at).total_seconds()
    return facts
