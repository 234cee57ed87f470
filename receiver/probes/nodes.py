"""`nodes`: how the nodes are that a workload's pods run on, what is used of them, and which pod uses most.

The playbook's `kubectl top` (rows 001.4a, 002.T3, 003.1a). What is used is told by the metrics API, which a
cluster may lack: then those facts are missing, never zero, and the reason stands beside the rest.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import median
from typing import Any

from receiver.domain.errors import PermanentError, TemporaryError
from receiver.domain.plans import ObjectRef
from receiver.domain.quantities import quantity
from receiver.domain.remediation import ClusterReader
from receiver.probes import pods as of_pods

# What conditions may use, with a sample value of the right kind: policies are checked against this.
FACTS: Mapping[str, Any] = {
    "count": 3,
    "looked": 3,
    "gone": 0,
    "notReady": 1,
    "underPressure": 1,
    "unschedulable": 0,
    "measured": 3,
    "cpuMax": 0.9,
    "memoryMax": 0.7,
    "nodes": [
        {
            "name": "node-1",
            "pods": 2,
            "ready": True,
            "diskPressure": False,
            "memoryPressure": False,
            "pidPressure": False,
            "unschedulable": False,
            "taints": 0,
            "cpu": 0.9,
            "memory": 0.7,
        }
    ],
    "topCpu": {"pod": "api-1", "node": "node-1", "cores": 2.5, "factor": 5.0},
    "topMemory": {"pod": "api-1", "node": "node-1", "bytes": 2e9, "factor": 2.0},
    "unmeasured": "why it is not known what is used",
}
METRICS = "metrics.k8s.io/v1beta1"
# Each is read for itself, so that no list of a whole cluster is read: those with most of the pods first.
LOOKED_INTO = 20

_PRESSURES = {
    "DiskPressure": "diskPressure",
    "MemoryPressure": "memoryPressure",
    "PIDPressure": "pidPressure",
}


@dataclass(frozen=True)
class Used:
    """What the metrics API told: cores (``cpu``) and bytes (``memory``), by node and by pod."""

    nodes: Mapping[str, Mapping[str, Decimal]]
    pods: Mapping[str, Mapping[str, Decimal]]


async def look(cluster: ClusterReader, target: ObjectRef) -> Any:
    """The facts of `nodes`; None where there is no such workload.

    Raises what the door raises where pods or nodes cannot be read; use that cannot be had is left out.
    """
    found = await of_pods.selected(cluster, target)
    if found is None:
        return None
    pods = found.pods
    names = [name for name, _ in _counted(pods).most_common(LOOKED_INTO)]
    nodes = await asyncio.gather(*(cluster.get(ObjectRef("v1", "Node", "", name)) for name in names))
    used: Used | str
    try:
        used = await _used(cluster, target.namespace, found.labels, names)
    except (TemporaryError, PermanentError) as error:
        used = f"the metrics API does not tell: {error}"
    return facts_of(pods, dict(zip(names, nodes, strict=True)), used)


async def _used(
    cluster: ClusterReader, namespace: str, labels: Mapping[str, str], names: Sequence[str]
) -> Used:
    of_nodes, of_workload = await asyncio.gather(
        asyncio.gather(*(cluster.get(ObjectRef(METRICS, "NodeMetrics", "", name)) for name in names)),
        cluster.list_objects(METRICS, "PodMetrics", namespace, labels=labels, limit=of_pods.MOST_PODS),
    )
    return Used(
        nodes={
            name: amounts
            for name, each in zip(names, of_nodes, strict=True)
            if each is not None and (amounts := _sum([each])) is not None
        },
        pods={
            each["metadata"]["name"]: amounts
            for each in of_workload
            if (amounts := _sum(each.get("containers") or [])) is not None
        },
    )


def facts_of(
    pods: Sequence[Mapping[str, Any]], nodes: Mapping[str, Mapping[str, Any] | None], used: Used | str
) -> dict[str, Any]:
    """The same from what was read; pure.

    ``nodes`` are those that were looked into, None where one is gone; ``used`` is a sentence where it is not
    known.
    """
    on = _counted(pods)
    of_nodes = {} if isinstance(used, str) else used.nodes
    told = [
        _node(name, node, on[name], of_nodes.get(name)) for name, node in nodes.items() if node is not None
    ]
    facts: dict[str, Any] = {
        "count": len(on),
        "looked": len(nodes),
        "gone": sum(node is None for node in nodes.values()),
        "notReady": sum(each.get("ready") is False for each in told),
        "underPressure": sum(any(each.get(name) for name in _PRESSURES.values()) for each in told),
        "unschedulable": sum(each["unschedulable"] for each in told),
        "nodes": told,
    }
    if isinstance(used, str):
        return {**facts, "unmeasured": used}
    facts["measured"] = sum(pod["metadata"]["name"] in used.pods for pod in pods)
    for name in ("cpu", "memory"):
        shares = [each[name] for each in told if name in each]
        # The one that is not measured may be the one that is full.
        if shares and len(shares) == len(on):
            facts[f"{name}Max"] = max(shares)
    for called, resource in (("topCpu", "cpu"), ("topMemory", "memory")):
        if (top := outlier(pods, used, resource)) is not None:
            facts[called] = top
    return facts


def outlier(pods: Sequence[Mapping[str, Any]], used: Used, resource: str) -> dict[str, Any] | None:
    """The pod that uses most, and how many times the median of its siblings that is.

    None where no pod was measured; the factor is missing where there is no sibling or they use nothing.
    """
    unit = {"cpu": "cores", "memory": "bytes"}[resource]
    on = {pod["metadata"]["name"]: pod["spec"].get("nodeName", "") for pod in pods}
    amounts = {name: used.pods[name][resource] for name in on if name in used.pods}
    if not amounts:
        return None
    top = max(amounts, key=lambda name: (amounts[name], name))
    found = {"pod": top, "node": on[top], unit: float(amounts[top])}
    usual = median([amount for name, amount in amounts.items() if name != top] or [Decimal(0)])
    return {**found, "factor": float(amounts[top] / usual)} if usual > 0 else found


def _node(
    name: str, node: Mapping[str, Any], pods: int, used: Mapping[str, Decimal] | None
) -> dict[str, Any]:
    spec, status = node.get("spec", {}), node.get("status", {})
    conditions = {each["type"]: each["status"] for each in status.get("conditions", [])}
    facts: dict[str, Any] = {
        "name": name,
        "pods": pods,
        "unschedulable": bool(spec.get("unschedulable", False)),
        "taints": len(spec.get("taints", [])),
    }
    if "Ready" in conditions:
        # Unknown is how Kubernetes says that the node was not heard of: it takes the pods away as well.
        facts["ready"] = conditions["Ready"] == "True"
    for kind, called in _PRESSURES.items():
        if conditions.get(kind) in ("True", "False"):
            facts[called] = conditions[kind] == "True"
    for resource, amount in (used or {}).items():
        size = _amount(status.get("allocatable", {}).get(resource))
        if size:
            facts[resource] = float(amount / size)
    return facts


def _counted(pods: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """How many of the pods are on each node; those that wait for one are on none."""
    return Counter(pod["spec"]["nodeName"] for pod in pods if pod["spec"].get("nodeName"))


def _sum(parts: Sequence[Mapping[str, Any]]) -> dict[str, Decimal] | None:
    """The use of all parts together; None where one does not tell, since a part would look like the whole."""
    total: dict[str, Decimal] = {}
    for part in parts:
        for resource in ("cpu", "memory"):
            amount = _amount(part.get("usage", {}).get(resource))
            if amount is None:
                return None
            total[resource] = total.get(resource, Decimal(0)) + amount
    return total or None


def _amount(said: Any) -> Decimal | None:
    """A quantity that somebody else wrote; None where it is none that we read."""
    try:
        return None if said is None else quantity(said)
    except ValueError:
        return None
