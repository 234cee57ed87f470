"""Whether more or larger pods would find room on the nodes: what is allocatable less what is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from receiver.domain.plans import NotApplicable
from receiver.domain.quantities import quantity, written
from receiver.domain.workloads import is_ready

# A list that is cut tells nothing of what is left on the nodes.
MOST_PODS = 5000
_OVER = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Amount:
    """Cores and bytes, and one pod where it stands for a pod."""

    cpu: Decimal = Decimal(0)
    memory: Decimal = Decimal(0)
    pods: Decimal = Decimal(0)

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.cpu + other.cpu, self.memory + other.memory, self.pods + other.pods)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.cpu - other.cpu, self.memory - other.memory, self.pods - other.pods)

    def holds(self, other: Amount) -> bool:
        """Whether the other fits into this one."""
        return self.cpu >= other.cpu and self.memory >= other.memory and self.pods >= other.pods

    def __str__(self) -> str:
        return f"{self.cpu.normalize():f} cores, {written(self.memory)} memory"


def asked_by(pod_spec: Mapping[str, Any]) -> Amount:
    """What the scheduler sets aside for one pod: the sum of its containers' requests.

    Raises ValueError where one of them is no quantity.
    """
    total = Amount(pods=Decimal(1))
    for container in pod_spec.get("containers", []):
        requests = container.get("resources", {}).get("requests", {})
        total += Amount(quantity(requests.get("cpu", 0)), quantity(requests.get("memory", 0)))
    return total


def takes_pods(node: Mapping[str, Any]) -> bool:
    """Whether a pod that asks for nothing special may go to this node."""
    tainted = any(taint.get("effect") != "PreferNoSchedule" for taint in node["spec"].get("taints", []))
    return not node["spec"].get("unschedulable") and not tainted and is_ready(node)


def free_on(
    nodes: Sequence[Mapping[str, Any]], pods: Sequence[Mapping[str, Any]]
) -> dict[str, Amount] | NotApplicable:
    """What is free on each node that takes pods, by its name; or why that cannot be told."""
    if len(pods) >= MOST_PODS:
        return _untold(f"there are more than {MOST_PODS} pods")
    try:
        return _free_on(nodes, pods)
    except ValueError as error:
        return _untold(str(error))


def _untold(why: str) -> NotApplicable:
    return NotApplicable(f"whether the nodes have room cannot be told: {why}")


def _free_on(nodes: Sequence[Mapping[str, Any]], pods: Sequence[Mapping[str, Any]]) -> dict[str, Amount]:
    free: dict[str, Amount] = {}
    for node in nodes:
        if not takes_pods(node):
            continue
        size = node["status"].get("allocatable", {})
        # One that does not say how large it is has no amounts, which is no quantity either.
        free[node["metadata"]["name"]] = Amount(
            quantity(size.get("cpu")), quantity(size.get("memory")), quantity(size.get("pods", 110))
        )
    for pod in pods:
        name = pod["spec"].get("nodeName")
        if name in free and pod.get("status", {}).get("phase") not in _OVER:
            free[name] -= asked_by(pod["spec"])
    return free


def fits(free: Mapping[str, Amount], each: Amount, count: int) -> int:
    """How many of ``count`` such pods find a node, one after the other."""
    left = dict(free)
    placed = 0
    for _ in range(count):
        name = next((name for name, amount in left.items() if amount.holds(each)), None)
        if name is None:
            return placed
        left[name] -= each
        placed += 1
    return placed


def within_quotas(quotas: Sequence[Mapping[str, Any]], more: Amount) -> str | None:
    """Why so much more is over a ResourceQuota of the namespace; None where it is within all.

    Raises ValueError where a quota cannot be read.
    """
    asked = {
        "pods": more.pods,
        "count/pods": more.pods,
        "cpu": more.cpu,
        "requests.cpu": more.cpu,
        "memory": more.memory,
        "requests.memory": more.memory,
    }
    return quota_against(quotas, asked)


def quota_against(quotas: Sequence[Mapping[str, Any]], asked: Mapping[str, Decimal]) -> str | None:
    """The same for amounts by the names that a quota has for them."""
    for found in quotas:
        hard = found.get("spec", {}).get("hard", {})
        used = found.get("status", {}).get("used", {})
        for key in sorted(hard.keys() & asked.keys()):
            if quantity(used.get(key, 0)) + asked[key] > quantity(hard[key]):
                name = found["metadata"]["name"]
                return f"ResourceQuota {name} allows {key} {hard[key]}, of which {used.get(key, 0)} is used"
    return None
