"""What the cures of a workload share: its containers, whether a change is in place, how to put it back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from receiver.domain.plans import FieldChange, NotApplicable, ObjectRef, PatchStep, Receipt, Step
from receiver.domain.pointers import pointed_at
from receiver.domain.remediation import Placement

CONTAINERS = "/spec/template/spec/containers"
# KEDA gives it to each autoscaler that it makes: https://keda.sh/docs/latest/concepts/scaling-deployments/
_KEDA = "scaledobject.keda.sh/name"


def reference(found: Mapping[str, Any], *, api_version: str, kind: str) -> ObjectRef:
    """The object by all that tells it from others."""
    metadata = found["metadata"]
    return ObjectRef(api_version, kind, metadata.get("namespace", ""), metadata["name"], metadata["uid"])


def deployment_reference(found: Mapping[str, Any]) -> ObjectRef:
    """The same for a Deployment."""
    return reference(found, api_version="apps/v1", kind="Deployment")


def patch_of(found: Mapping[str, Any], target: ObjectRef, *changes: FieldChange) -> PatchStep:
    """One patch of this object, planned on the generation that it has."""
    return PatchStep(target, changes, found["metadata"].get("generation"))


def is_ready(found: Mapping[str, Any]) -> bool:
    """Whether a pod serves, or a node is there to run some."""
    conditions = found.get("status", {}).get("conditions", [])
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)


def selector_of(workload: Mapping[str, Any]) -> Mapping[str, str] | None:
    """The labels by which a workload selects its pods; None where it selects in another way as well.

    A part of a selector finds pods of others, and they must not be taken for its own.
    """
    selector = workload.get("spec", {}).get("selector", {})
    labels: Mapping[str, str] = selector.get("matchLabels") or {}
    return labels if labels and not selector.get("matchExpressions") else None


def aims_at(scaler: Mapping[str, Any], target: ObjectRef) -> bool:
    """Whether an autoscaler, or a ScaledObject of KEDA, sets the replicas of this workload."""
    aim = aim_of(scaler)
    return (aim.kind, aim.name) == (target.kind, target.name)


def aim_of(scaler: Mapping[str, Any]) -> ObjectRef:
    """The workload whose replicas it sets; one of KEDA's that names no kind means a Deployment."""
    aim = scaler.get("spec", {}).get("scaleTargetRef", {})
    namespace = scaler.get("metadata", {}).get("namespace", "")
    return ObjectRef(
        aim.get("apiVersion", "apps/v1"), aim.get("kind", "Deployment"), namespace, aim.get("name", "")
    )


def keda_of(scaler: Mapping[str, Any]) -> str | None:
    """The name of KEDA's ScaledObject that keeps this autoscaler, and takes back what is changed in it."""
    name: str | None = scaler["metadata"].get("labels", {}).get(_KEDA)
    return name


def container_of(
    deployment: Mapping[str, Any], name: str | None
) -> tuple[int, Mapping[str, Any]] | NotApplicable:
    """The container of that name with its place; without a name the only one.

    `kubectl set env` and `set resources` without `-c` change every container, sidecars too (playbook, 1.5).
    """
    containers: list[Mapping[str, Any]] = deployment["spec"]["template"]["spec"].get("containers", [])
    names = [str(container.get("name")) for container in containers]
    if name is None and len(names) != 1:
        return NotApplicable(f"it has containers {', '.join(names)}: the policy must name one")
    wanted = names[0] if name is None else name
    if wanted not in names:
        return NotApplicable(f"it has no container {wanted}, only {', '.join(names)}")
    index = names.index(wanted)
    return index, containers[index]


def no_longer(found: Mapping[str, Any] | None, receipt: Receipt) -> tuple[Placement, str] | None:
    """That the object is gone or what was written no longer stands there; None where it does."""
    if found is None or found["metadata"]["uid"] != receipt.target.uid:
        return Placement.FAILED, f"{receipt.target} is gone"
    for change in receipt.changes:
        if pointed_at(found, change.pointer) != change.after:
            return Placement.FAILED, f"somebody changed {change.pointer} since it was written"
    return None


def in_place(deployment: Mapping[str, Any] | None, receipt: Receipt) -> tuple[Placement, str]:
    """Whether what was written still stands, and every replica runs it and is available.

    A 200 of the write is no proof: a GitOps controller may take a change away again within seconds.
    """
    if (failed := no_longer(deployment, receipt)) is not None:
        return failed
    assert deployment is not None
    return rolled_out(deployment)


def rolled_out(deployment: Mapping[str, Any]) -> tuple[Placement, str]:
    """Whether every replica runs the present template and is available, with a sentence."""
    status = deployment.get("status", {})
    wanted = int(deployment["spec"].get("replicas", 1))
    if int(status.get("observedGeneration", 0)) < int(deployment["metadata"].get("generation", 0)):
        return Placement.NOT_YET, "the controller has not seen the change"
    for condition in status.get("conditions", []):
        if condition.get("reason") == "ProgressDeadlineExceeded":
            return Placement.FAILED, "the rollout made no progress within its deadline"
    updated = int(status.get("updatedReplicas", 0))
    available = int(status.get("availableReplicas", 0))
    total = int(status.get("replicas", 0))
    if updated >= wanted and available >= wanted and total == updated:
        return Placement.IN_PLACE, f"{available} of {wanted} replicas run the template and are available"
    return Placement.NOT_YET, f"{updated} of {wanted} replicas updated, {available} available"


def put_back(
    receipts: tuple[Receipt, ...], present: Mapping[str, Any] | None
) -> tuple[Step, ...] | NotApplicable:
    """The captured fields, if what we wrote still stands there; nothing else is touched."""
    if not receipts:
        return NotApplicable("there is no receipt to undo")
    written = receipts[-1]
    if present is None:
        return NotApplicable(f"{written.target} is gone")
    if present["metadata"]["uid"] != written.target.uid:
        return NotApplicable(f"it is another {written.target.kind} of that name now")
    for change in written.changes:
        if pointed_at(present, change.pointer) != change.after:
            return NotApplicable(f"somebody changed {change.pointer} since; it is left as it is")
    back = tuple(FieldChange(change.pointer, change.after, change.before) for change in written.changes)
    return (patch_of(present, written.target, *back),)
