"""PodDisruptionBudgets and evictions: how many pods may go, and the polite way to make one go."""

from __future__ import annotations

import math

from receiver.demo.kubernetes import pods
from receiver.demo.kubernetes.registry import Registry
from receiver.demo.kubernetes.resources import DEPLOYMENTS, PDBS, PODS, REPLICASETS, JsonObject
from receiver.demo.kubernetes.rules import check_preconditions
from receiver.demo.kubernetes.selectors import LabelSelector
from receiver.demo.kubernetes.status import evicted_too_many
from receiver.demo.kubernetes.storage import timestamp


def sync(registry: Registry, manager: str) -> None:
    """Bring every budget's status up to date."""
    for budget in registry.store.objects(PDBS):
        registry.write_status(PDBS, budget, _status(registry, budget), manager)


def _status(registry: Registry, budget: JsonObject) -> JsonObject:
    covered = [pod for pod in _namespace_pods(registry, budget) if _covers(budget, pod)]
    expected = _expected(registry, covered)
    healthy = sum(pods.is_ready(pod) for pod in covered)
    spec = budget["spec"]
    if "maxUnavailable" in spec:
        wanted = expected - _count(spec["maxUnavailable"], expected)
    else:
        wanted = _count(spec.get("minAvailable", 1), expected)
    allowed = max(0, healthy - wanted)
    present = next(iter(budget.get("status", {}).get("conditions", [])), None)
    condition = {
        "type": "DisruptionAllowed",
        "status": "True" if allowed else "False",
        "observedGeneration": budget["metadata"]["generation"],
        "lastTransitionTime": timestamp(registry.store.now()),
        "reason": "SufficientPods" if allowed else "InsufficientPods",
        "message": "",
    }
    if present and present["status"] == condition["status"]:
        condition["lastTransitionTime"] = present["lastTransitionTime"]
    return {
        "observedGeneration": budget["metadata"]["generation"],
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": max(0, wanted),
        "expectedPods": expected,
        "conditions": [condition],
    }


def _namespace_pods(registry: Registry, budget: JsonObject) -> list[JsonObject]:
    return registry.store.objects(PODS, budget["metadata"]["namespace"])


def _covers(budget: JsonObject, pod: JsonObject) -> bool:
    selector = LabelSelector.of_object(budget["spec"].get("selector"))
    return selector.matches(pod["metadata"].get("labels", {}))


def _expected(registry: Registry, covered: list[JsonObject]) -> int:
    """How many pods the owners of the covered ones want; a pod without an owner counts as one."""
    wanted: dict[str, int] = {}
    for pod in covered:
        owner = _owner(registry, pod)
        wanted[owner["metadata"]["uid"]] = owner["spec"].get("replicas", 1) if owner is not pod else 1
    return sum(wanted.values())


def _owner(registry: Registry, pod: JsonObject) -> JsonObject:
    found = pod
    for resource in (REPLICASETS, DEPLOYMENTS):
        references = found["metadata"].get("ownerReferences", [])
        name = next((each["name"] for each in references if each["kind"] == resource.kind), "")
        found = registry.store.get(resource, pod["metadata"]["namespace"], name) or found
    return found


def _count(value: int | str, of: int) -> int:
    return math.ceil(int(value.rstrip("%")) * of / 100) if isinstance(value, str) else value


def evict(registry: Registry, namespace: str, name: str, body: JsonObject, *, dry_run: bool) -> JsonObject:
    """Delete the pod if every budget allows it; return the pod. Raises `ApiError` otherwise."""
    pod = registry.read(PODS, namespace, name)
    options = body.get("deleteOptions") or {}
    check_preconditions(PODS, pod, options.get("preconditions") or {})
    for budget in registry.store.objects(PDBS, namespace):
        status = budget["status"]
        if _covers(budget, pod) and not status["disruptionsAllowed"] and pods.is_ready(pod):
            raise evicted_too_many(
                budget["metadata"]["name"], status["desiredHealthy"], status["currentHealthy"]
            )
    return registry.delete(PODS, namespace, name, {}, dry_run=dry_run)
