"""Let no new pod onto a node that one of the workload's pods runs on.

The playbook's `kubectl cordon` (row 007.1a), here as an act of operation: a node that is short of disk or
fails again and again gets no more work. It ends nothing and moves nothing. An alert may name any node, so
only one that runs a pod of the workload is cordoned, none of the control plane, and only while enough
others take pods.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from receiver.domain import plans
from receiver.domain.capacity import MOST_PODS, takes_pods
from receiver.domain.plans import (
    MANAGER,
    ApprovalDefault,
    Draft,
    FieldChange,
    NotApplicable,
    ObjectRef,
    Permission,
    Receipt,
    Risk,
    Spec,
    Step,
)
from receiver.domain.remediation import ClusterReader, Evidence, Placement
from receiver.domain.workloads import deployment_reference, patch_of, put_back, reference, selector_of

UNSCHEDULABLE = "/spec/unschedulable"
_CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")


class Parameters(plans.Parameters):
    """What a policy may say below ``with``."""

    node: str = Field(description="Which node; usually `{{ labels.node }}`.", max_length=253)
    keep: int = Field(
        2, ge=1, description="Not where fewer other nodes than this would be left that take pods."
    )


SPEC = Spec(
    name="node.cordon",
    version=1,
    sentence="Lets no new pod onto a node of the workload; what runs there goes on.",
    risk=Risk.REVERSIBLE,
    approval_default=ApprovalDefault.A1,
    target_kinds=frozenset({"Deployment"}),
    parameters=Parameters,
    needs_labels=frozenset(),
    reads=(
        Permission("apps", "deployments", "get"),
        Permission("", "pods", "list"),
        Permission("", "nodes", "get", everywhere=True),
        Permission("", "nodes", "list", everywhere=True),
    ),
    writes=(Permission("", "nodes", "patch", everywhere=True),),
    settle=timedelta(minutes=1),
    mitigates=True,
    about=__doc__,
    example="""\
- remediation: node.cordon
  why: The node is short of disk, and whatever starts there is evicted again
  with: {node: "{{ labels.node }}", keep: 3}
  expires: 4h
""",
)


class Cordon:
    """`node.cordon`."""

    spec = SPEC

    def __init__(self, cluster: ClusterReader) -> None:
        self._cluster = cluster

    async def observe(self, target: ObjectRef, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """The Deployment, those of its pods that are on the node, the node, and all nodes."""
        deployment = await self._cluster.get(target)
        name = str(parameters.get("node", ""))
        node = await self._cluster.get(ObjectRef("v1", "Node", "", name))
        labels = None if deployment is None else selector_of(deployment)
        if node is None or labels is None:
            return {"deployment": deployment, "node": node, "pods": [], "nodes": []}
        return {
            "deployment": deployment,
            "node": node,
            "pods": await self._cluster.list_objects(
                "v1",
                "Pod",
                target.namespace,
                labels=labels,
                fields={"spec.nodeName": name},
            ),
            "nodes": await self._cluster.list_objects("v1", "Node", "", limit=MOST_PODS),
        }

    def plan(
        self, state: Mapping[str, Any], parameters: Mapping[str, Any], evidence: Evidence, *, now: datetime
    ) -> Draft | NotApplicable:
        """One field of the node."""
        deployment, node = state["deployment"], state["node"]
        asked = Parameters.model_validate(parameters)
        if deployment is None:
            return NotApplicable("there is no such Deployment")
        if node is None:
            return NotApplicable(f"there is no node {asked.node}")
        target = reference(node, api_version="v1", kind="Node")
        others = sum(takes_pods(each) for each in state["nodes"] if each["metadata"]["name"] != target.name)
        workload = deployment_reference(deployment)
        if selector_of(deployment) is None:
            return NotApplicable(f"which pods are of {workload} is not known: it selects by expressions")
        if not state["pods"]:
            return NotApplicable(f"no pod of {workload} runs on {target}")
        if (reason := _why_not(node, others, asked.keep)) is not None:
            return NotApplicable(reason)
        change = FieldChange(UNSCHEDULABLE, node["spec"].get("unschedulable"), True)
        return Draft(
            target=workload,
            steps=(patch_of(node, target, change),),
            summary=f"cordon {target}, which runs {len(state['pods'])} pods of {workload}",
            why=_ailing(node),
            blast_radius=f"no pod is ended or moved; new ones go to the {others} other nodes that take pods",
            notes=("what is on the node stays there, sick or not; DaemonSets go on to start theirs",),
            undo_sentence="undone by uncordoning it, where nobody else has cordoned it since",
        )

    def undo_plan(
        self, receipts: tuple[Receipt, ...], state: Mapping[str, Any]
    ) -> tuple[Step, ...] | NotApplicable:
        """The node takes pods again, if it is still our word that forbids it."""
        back = put_back(receipts, state["node"])
        if isinstance(back, NotApplicable) or _is_ours(state["node"]):
            return back
        return NotApplicable(f"somebody changed {UNSCHEDULABLE} since: another manager has set it anew")

    async def verify(self, receipt: Receipt) -> tuple[Placement, str]:
        """It takes no new pods. Whether that helps is what the metrics tell."""
        node = await self._cluster.get(receipt.target)
        if node is None or node["metadata"]["uid"] != receipt.target.uid:
            return Placement.FAILED, f"{receipt.target} is gone"
        if node["spec"].get("unschedulable"):
            return Placement.IN_PLACE, f"{receipt.target} takes no new pods"
        return Placement.FAILED, f"somebody uncordoned {receipt.target} since"


def _why_not(node: Mapping[str, Any], others: int, keep: int) -> str | None:
    name, spec = node["metadata"]["name"], node["spec"]
    marks = {*node["metadata"].get("labels", {}), *(taint.get("key") for taint in spec.get("taints", []))}
    if marks.intersection(_CONTROL_PLANE):
        return f"node {name} is of the control plane"
    if spec.get("unschedulable"):
        return f"node {name} is cordoned already"
    if others < keep:
        return f"{others} other nodes take pods; the policy wants {keep} left"
    return None


def _ailing(node: Mapping[str, Any]) -> str:
    conditions = {each["type"]: each["status"] for each in node.get("status", {}).get("conditions", [])}
    # Every condition but Ready is a trouble.
    ailing = [f"{kind} is {status}" for kind, status in conditions.items() if _is_bad(kind, status)]
    return f"of the node, {', '.join(sorted(ailing))}" if ailing else "the node itself says that it is well"


def _is_bad(kind: str, status: str) -> bool:
    return status != ("True" if kind == "Ready" else "False")


def _is_ours(node: Mapping[str, Any]) -> bool:
    """Whether the field is still ours: whoever uncordons and cordons the node becomes its manager."""
    managers = {
        entry.get("manager")
        for entry in node["metadata"].get("managedFields", [])
        if "f:unschedulable" in entry.get("fieldsV1", {}).get("f:spec", {})
    }
    return managers == {MANAGER}
