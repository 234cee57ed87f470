"""Who else manages a workload, field by field: the facts behind guard G3 and the probe `owners`.

Argo CD, Flux and operators own everything; an autoscaler owns the replicas only; Helm is noted, since its
next upgrade reverts what others changed (playbook requirements, section 1.5).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from receiver.domain.plans import ObjectRef
from receiver.domain.remediation import ClusterReader
from receiver.domain.workloads import aims_at, is_ready, keda_of
from receiver.policy.guards import Availability, Ownership

EVERYTHING = frozenset({"*"})
REPLICAS = frozenset({"/spec/replicas"})
FACTS: Mapping[str, Any] = {"names": ["hpa"], "everything": False}

_ARGO_TRACKING = "argocd.argoproj.io/tracking-id"
_FLUX_LABELS = ("kustomize.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/name")


async def look(cluster: ClusterReader, target: ObjectRef, found: Mapping[str, Any]) -> tuple[Ownership, ...]:
    """Every other owner of the object ``found``, autoscalers included; what is in no namespace has none."""
    if not target.namespace:
        return owners_of(target, found, ())
    scalers = await cluster.list_objects("autoscaling/v2", "HorizontalPodAutoscaler", target.namespace)
    return owners_of(target, found, scalers)


def owners_of(
    target: ObjectRef, found: Mapping[str, Any], scalers: Iterable[Mapping[str, Any]]
) -> tuple[Ownership, ...]:
    """The same over objects already read; pure."""
    metadata = found["metadata"]
    annotations: Mapping[str, str] = metadata.get("annotations", {})
    labels: Mapping[str, str] = metadata.get("labels", {})
    managers = {entry.get("manager", "") for entry in metadata.get("managedFields", [])}
    owners: list[Ownership] = []
    if _ARGO_TRACKING in annotations or "argocd-controller" in managers:
        evidence = (
            f"annotation {_ARGO_TRACKING}"
            if _ARGO_TRACKING in annotations
            else "field manager argocd-controller"
        )
        owners.append(Ownership("Argo CD", EVERYTHING, evidence))
    flux = next((label for label in _FLUX_LABELS if label in labels), None)
    if flux is not None or "kustomize-controller" in managers:
        evidence = f"label {flux}={labels[flux]}" if flux else "field manager kustomize-controller"
        owners.append(Ownership("Flux", EVERYTHING, evidence))
    for owner in metadata.get("ownerReferences", []):
        if owner.get("controller"):
            # A StatefulSet that deletes its claims with itself owns their lives; it never touches their size.
            lives_only = (target.kind, owner["kind"]) == ("PersistentVolumeClaim", "StatefulSet")
            fields = frozenset[str]() if lives_only else EVERYTHING
            owners.append(Ownership(f"{owner['kind']} {owner['name']}", fields, "ownerReferences"))
    if labels.get("app.kubernetes.io/managed-by") == "Helm":
        release = annotations.get("meta.helm.sh/release-name", "?")
        owners.append(Ownership(f"Helm release {release}", frozenset(), "its next upgrade reverts this"))
    for scaler in scalers:
        if aims_at(scaler, target):
            name = scaler["metadata"]["name"]
            keda = keda_of(scaler)
            who = f"KEDA ScaledObject {keda}" if keda else f"HorizontalPodAutoscaler {name}"
            owners.append(Ownership(who, REPLICAS, f"its scaleTargetRef names {target.name}"))
    return tuple(owners)


def availability_after_eviction(workload: Mapping[str, Any], pod: Mapping[str, Any]) -> Availability:
    """The same for one pod that is made to go: one fewer, if it counts at all."""
    there = availability_of(workload)
    return Availability(wanted=there.wanted, ready=there.ready, max_unavailable=int(is_ready(pod)))


def availability_of(found: Mapping[str, Any]) -> Availability:
    """How many replicas a rolling update of this Deployment may take away at once."""
    wanted = int(found["spec"].get("replicas", 1))
    strategy = found["spec"].get("strategy", {})
    if strategy.get("type") == "Recreate":
        most = wanted
    else:
        allowed = strategy.get("rollingUpdate", {}).get("maxUnavailable", "25%")
        most = wanted * int(str(allowed)[:-1]) // 100 if str(allowed).endswith("%") else int(allowed)
    ready = int(found.get("status", {}).get("readyReplicas", 0))
    return Availability(wanted=wanted, ready=ready, max_unavailable=min(most, wanted))
