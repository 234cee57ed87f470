"""What the API server fills in, and what it leaves out, before it stores an object.

Pure functions over JSON, held to recordings of a real server: `paused: false` is never written, an empty
list or label map is not kept, a container without a policy gets one, 1024Gi is kept as 1Ti.
"""

from __future__ import annotations

import base64
import copy
from contextlib import suppress
from typing import Any

from receiver.demo.kubernetes.resources import (
    ADMISSION_POLICIES,
    DAEMONSETS,
    DEPLOYMENTS,
    EVENTS,
    HPAS,
    NAMESPACES,
    NETWORKPOLICIES,
    PDBS,
    PODS,
    PVCS,
    REPLICASETS,
    SECRETS,
    STATEFULSETS,
    STORAGECLASSES,
    JsonObject,
    Resource,
)
from receiver.domain.quantities import as_served

_KEPT_WHEN_EMPTY = frozenset(
    {
        "status",
        "securityContext",
        "resources",
        "data",
        "spec",
        "template",
        "emptyDir",
        # Of a NetworkPolicy: empty means every pod, absent means none.
        "podSelector",
        "namespaceSelector",
        # Of an admission policy.
        "objectSelector",
    }
)
# Controllers write nulls and empty maps into a status on purpose; a ConfigMap's keys are its own affair.
_LEFT_AS_GIVEN = frozenset({"status", "data", "binaryData"})
_TEMPLATED = (DEPLOYMENTS, REPLICASETS, STATEFULSETS, DAEMONSETS)


def with_defaults(resource: Resource, obj: JsonObject) -> JsonObject:
    """Return a copy of ``obj`` as the server would store it."""
    # Tidying makes everything anew, so only what it leaves alone has to be copied.
    result: JsonObject = {
        key: copy.deepcopy(value) if key in _LEFT_AS_GIVEN else _tidy(value) for key, value in obj.items()
    }
    result["apiVersion"], result["kind"] = resource.group_version, resource.kind
    spec = result.get("spec")
    if resource in _TEMPLATED:
        spec = result.setdefault("spec", {})
        _pod_spec(spec.setdefault("template", {}).setdefault("spec", {}))
        if resource is not DAEMONSETS:
            spec.setdefault("replicas", 1)
    if resource is DEPLOYMENTS:
        _deployment(result["spec"])
    elif resource is PODS:
        _pod_spec(result.setdefault("spec", {}))
        _admitted_pod(result["spec"])
    elif resource is HPAS and isinstance(spec, dict):
        _autoscaler(spec)
    elif resource is EVENTS:
        _event(result)
    elif resource is NAMESPACES:
        result.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
        result["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = result["metadata"][
            "name"
        ]
    elif resource is PVCS:
        result.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
        _amounts(result["spec"].get("resources", {}))
    elif resource is STORAGECLASSES:
        result.setdefault("reclaimPolicy", "Delete")
        result.setdefault("volumeBindingMode", "Immediate")
    elif resource is NETWORKPOLICIES and isinstance(spec, dict):
        spec.setdefault("policyTypes", ["Ingress", "Egress"] if "egress" in spec else ["Ingress"])
    elif resource is ADMISSION_POLICIES and isinstance(spec, dict):
        _admission_policy(spec)
    elif resource is SECRETS:
        result.setdefault("type", "Opaque")
        for key, text in result.pop("stringData", {}).items():
            result.setdefault("data", {})[key] = base64.b64encode(text.encode()).decode()
    return result


def initial_status(resource: Resource) -> JsonObject | None:
    """The status of a fresh object, before any controller has looked at it."""
    if resource is PODS:
        return {"phase": "Pending", "qosClass": "BestEffort"}
    if resource is REPLICASETS or resource is STATEFULSETS:
        return {"replicas": 0}
    if resource is HPAS:
        return {"currentMetrics": None, "desiredReplicas": 0}
    if resource is PVCS:
        return {"phase": "Pending"}
    if resource is PDBS:
        return {"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0}
    if resource is NAMESPACES:
        return {"phase": "Active"}
    return {} if "status" in resource.subresources else None


def _tidy(value: Any) -> Any:
    """Drop nulls, empty lists and empty maps where Go's `omitempty` drops them."""
    if isinstance(value, list):
        return [_tidy(item) for item in value]
    if not isinstance(value, dict):
        return value
    tidied = {key: item if key == "managedFields" else _tidy(item) for key, item in value.items()}
    return {
        key: item
        for key, item in tidied.items()
        if item is not None and (item not in ({}, []) or key in _KEPT_WHEN_EMPTY)
    }


def _deployment(spec: JsonObject) -> None:
    strategy = spec.setdefault("strategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxSurge", "25%")
        rolling.setdefault("maxUnavailable", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    if spec.get("paused") is False:
        del spec["paused"]


def _pod_spec(spec: JsonObject) -> None:
    for container in [*spec.get("initContainers", []), *spec.get("containers", [])]:
        _amounts(container.setdefault("resources", {}))
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        if "image" in container:
            container.setdefault("imagePullPolicy", _pull_policy(container["image"]))
        for port in container.get("ports", []):
            port.setdefault("protocol", "TCP")
        for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
            if probe in container:
                _probe(container[probe])
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    spec.setdefault("terminationGracePeriodSeconds", 30)


def _amounts(resources: JsonObject) -> None:
    """Spell limits and requests as the server does; what is no amount is left to validation."""
    for amounts in (resources.get("limits", {}), resources.get("requests", {})):
        for name, amount in amounts.items():
            with suppress(ValueError):
                amounts[name] = as_served(amount)


def _pull_policy(image: str) -> str:
    tag = image.rpartition("/")[2].partition(":")[2]
    return "Always" if tag in ("", "latest") and "@" not in image else "IfNotPresent"


def _probe(probe: JsonObject) -> None:
    for field, value in (("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1)):
        probe.setdefault(field, value)
    probe.setdefault("failureThreshold", 3)
    if "httpGet" in probe:
        probe["httpGet"].setdefault("scheme", "HTTP")


def _admitted_pod(spec: JsonObject) -> None:
    """What admission adds to a pod but not to a template."""
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    spec.setdefault("priority", 0)
    spec.setdefault("serviceAccountName", "default")
    spec.setdefault("serviceAccount", spec["serviceAccountName"])
    tolerations = spec.setdefault("tolerations", [])
    for condition in ("not-ready", "unreachable"):
        key = f"node.kubernetes.io/{condition}"
        if not any(toleration.get("key") == key for toleration in tolerations):
            tolerations.append(
                {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            )


def service_account_volume(suffix: str) -> JsonObject:
    """The projected token volume that every pod gets."""
    items: list[JsonObject] = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {
            "downwardAPI": {
                "items": [
                    {
                        "path": "namespace",
                        "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                    }
                ]
            }
        },
    ]
    return {"name": f"kube-api-access-{suffix}", "projected": {"defaultMode": 420, "sources": items}}


def _autoscaler(spec: JsonObject) -> None:
    spec.setdefault("minReplicas", 1)
    target = {"type": "Utilization", "averageUtilization": 80}
    spec.setdefault("metrics", [{"type": "Resource", "resource": {"name": "cpu", "target": target}}])


def _admission_policy(spec: JsonObject) -> None:
    spec.setdefault("failurePolicy", "Fail")
    constraints = spec.setdefault("matchConstraints", {})
    constraints.setdefault("matchPolicy", "Equivalent")
    constraints.setdefault("namespaceSelector", {})
    constraints.setdefault("objectSelector", {})
    for rule in constraints.get("resourceRules", []):
        rule.setdefault("scope", "*")


def _event(result: JsonObject) -> None:
    for field in ("eventTime", "firstTimestamp", "lastTimestamp"):
        result.setdefault(field, None)
    result.setdefault("reportingComponent", "")
    result.setdefault("reportingInstance", "")
    result.setdefault("source", {})
