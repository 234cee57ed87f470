"""What the cures of a CloudNativePG Cluster read, and whether the operator would act on a change at all.

Labels and annotations are those of https://cloudnative-pg.io/documentation/current/labels_annotations/.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from receiver.domain.claims import CNPG_LABEL, shortened
from receiver.domain.plans import ObjectRef
from receiver.domain.remediation import ClusterReader
from receiver.domain.workloads import reference

ROLE = "cnpg.io/pvcRole"
INSTANCE = "cnpg.io/instanceName"
FULL = "Not enough disk space"
_HIBERNATION = "cnpg.io/hibernation"
_LOOP = "cnpg.io/reconciliationLoop"


async def claims_of(cluster: ClusterReader, target: ObjectRef) -> list[dict[str, Any]]:
    """Every claim of the Cluster, whatever it is for."""
    labels = {CNPG_LABEL: target.name}
    return await cluster.list_objects("v1", "PersistentVolumeClaim", target.namespace, labels=labels)


def cluster_reference(found: Mapping[str, Any]) -> ObjectRef:
    """The Cluster by all that tells it from others."""
    return reference(found, api_version="postgresql.cnpg.io/v1", kind="Cluster")


def label_of(claim: Mapping[str, Any], name: str) -> str:
    """A label of a claim; "" where it has none."""
    return str(claim["metadata"].get("labels", {}).get(name, ""))


def phase_of(found: Mapping[str, Any]) -> str:
    """What the operator says of the whole Cluster."""
    return shortened(found.get("status", {}).get("phase") or "unknown", 80)


def left_alone(found: Mapping[str, Any]) -> str | None:
    """Why the operator would do nothing about a change of this Cluster; None where it would."""
    annotations = found["metadata"].get("annotations", {})
    if found["metadata"].get("deletionTimestamp") is not None:
        return "it is being deleted"
    if annotations.get(_HIBERNATION) == "on":
        return "it hibernates: somebody switched it off"
    if annotations.get(_LOOP) == "disabled":
        return f"somebody told CloudNativePG to leave it alone ({_LOOP})"
    return None
