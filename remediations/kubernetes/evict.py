"""Make one pod go, by the eviction API; its controller makes another.

The playbook's `kubectl delete pod` ignores disruption budgets (INC-003, fix 1; rows 003.1d, 1.5). This asks,
takes no for an answer, and never touches a pod that nobody would replace or that is evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from receiver.domain import plans
from receiver.domain.alerts import parse_time
from receiver.domain.durations import in_words
from receiver.domain.plans import (
    ApprovalDefault,
    Draft,
    EvictStep,
    NotApplicable,
    ObjectRef,
    Permission,
    Receipt,
    Risk,
    Spec,
    Step,
)
from receiver.domain.remediation import ClusterReader, Evidence, Placement
from receiver.domain.rollouts import read_rollout
from receiver.domain.workloads import deployment_reference, reference
from remediations.kubernetes.reading import with_replica_sets

QUARANTINE = "stanch.dev/quarantine"


class Parameters(plans.Parameters):
    """What a policy may say below ``with``."""

    pod: str = Field(description="Which pod; usually `{{ labels.pod }}`.", max_length=253)
    not_younger_than_minutes: int = Field(
        5,
        ge=0,
        le=1440,
        description="Not a pod that has just started: what it is sick of is not gone by starting.",
    )


SPEC = Spec(
    name="pod.evict",
    version=1,
    sentence="Makes one pod of the workload go, if disruption budgets allow it; a new one takes its place.",
    risk=Risk.DISRUPTIVE,
    approval_default=ApprovalDefault.A1,
    target_kinds=frozenset({"Deployment"}),
    parameters=Parameters,
    needs_labels=frozenset(),
    reads=(
        Permission("apps", "deployments", "get"),
        Permission("apps", "replicasets", "list"),
        Permission("", "pods", "get"),
    ),
    writes=(Permission("", "pods/eviction", "create"),),
    settle=timedelta(minutes=5),
    reversible=False,
    about=__doc__,
    example="""\
- remediation: pod.evict
  why: One pod of many is sick, the others are well
  with: {pod: "{{ labels.pod }}"}
""",
)


class Evict:
    """`pod.evict`."""

    spec = SPEC

    def __init__(self, cluster: ClusterReader) -> None:
        self._cluster = cluster

    async def observe(self, target: ObjectRef, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """The Deployment, its ReplicaSets and that pod."""
        state = await with_replica_sets(self._cluster, target)
        if state["deployment"] is None:
            return {**state, "pod": None}
        pod = await self._cluster.get(
            ObjectRef("v1", "Pod", target.namespace, str(parameters.get("pod", "")))
        )
        return {**state, "pod": pod}

    def plan(
        self, state: Mapping[str, Any], parameters: Mapping[str, Any], evidence: Evidence, *, now: datetime
    ) -> Draft | NotApplicable:
        """One eviction of this very pod."""
        deployment, pod = state["deployment"], state["pod"]
        asked = Parameters.model_validate(parameters)
        if deployment is None:
            return NotApplicable("there is no such Deployment")
        if pod is None:
            return NotApplicable(f"there is no pod {asked.pod}")
        if (reason := _why_not(deployment, state["replicaSets"], pod, asked, now)) is not None:
            return NotApplicable(reason)
        step = EvictStep(reference(pod, api_version="v1", kind="Pod"))
        others = int(deployment["spec"].get("replicas", 1)) - 1
        age = in_words(now - parse_time(pod["metadata"]["creationTimestamp"]))
        return Draft(
            target=deployment_reference(deployment),
            steps=(step,),
            summary=f"evict {step.target} of {deployment_reference(deployment)}",
            why=f"it runs since {age}, beside {others} others",
            blast_radius=f"this one pod; {others} others go on, and a new one starts",
            notes=("what it holds in memory and its logs are lost with it",),
            undo_sentence="cannot be undone: its controller makes another pod",
        )

    def undo_plan(
        self, receipts: tuple[Receipt, ...], state: Mapping[str, Any]
    ) -> tuple[Step, ...] | NotApplicable:
        """A pod that is gone does not come back."""
        return NotApplicable("an eviction cannot be undone")

    async def verify(self, receipt: Receipt) -> tuple[Placement, str]:
        """It is gone. Whether its successor serves is what the metrics tell."""
        pod = await self._cluster.get(receipt.target)
        if pod is None or pod["metadata"]["uid"] != receipt.target.uid:
            return Placement.IN_PLACE, f"{receipt.target} is gone"
        return Placement.NOT_YET, f"{receipt.target} is still there"


def _why_not(
    deployment: Mapping[str, Any],
    replica_sets: list[Mapping[str, Any]],
    pod: Mapping[str, Any],
    asked: Parameters,
    now: datetime,
) -> str | None:
    revisions = {revision.uid for revision in read_rollout(deployment, replica_sets).revisions}
    owners = [each["uid"] for each in pod["metadata"].get("ownerReferences", []) if each.get("controller")]
    if not revisions.intersection(owners):
        return f"pod {pod['metadata']['name']} does not belong to {deployment['metadata']['name']}"
    if QUARANTINE in pod["metadata"].get("labels", {}):
        return "the pod is quarantined: it is evidence"
    if pod["metadata"].get("deletionTimestamp") is not None:
        return "the pod is leaving already"
    age = now - parse_time(pod["metadata"]["creationTimestamp"])
    if age < timedelta(minutes=asked.not_younger_than_minutes):
        return f"the pod has run for {in_words(age)} only"
    if int(deployment["spec"].get("replicas", 1)) < 2:
        return "it is the only replica"
    return None
