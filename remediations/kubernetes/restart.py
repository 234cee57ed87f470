"""Restart a Deployment's pods, as the rolling update allows.

The playbook's `kubectl rollout restart` (INC-003, fix 2; INC-004, fix 2). What is written is not the time but
what the template was: the same plan, made anew while people are asked, writes the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from receiver.domain import plans
from receiver.domain.canonical import digest_of
from receiver.domain.durations import in_words
from receiver.domain.plans import (
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
from receiver.domain.pointers import escaped
from receiver.domain.remediation import ClusterReader, Evidence, Placement
from receiver.domain.rollouts import read_rollout
from receiver.domain.workloads import deployment_reference, in_place, patch_of
from remediations.kubernetes.reading import with_replica_sets

ANNOTATION = "stanch.dev/restarted-from"
_ANNOTATIONS = "/spec/template/metadata/annotations"


class Parameters(plans.Parameters):
    """What a policy may say below ``with``."""

    least_replicas: int = Field(2, ge=1, description="Not where there are fewer: the only pod would be away.")
    not_within_minutes: int = Field(
        30, ge=1, le=1440, description="Not where the pods were replaced within so many minutes."
    )


SPEC = Spec(
    name="deployment.restart",
    version=1,
    sentence="Replaces every pod by a new one of the same template, as the rolling update allows.",
    risk=Risk.DISRUPTIVE,
    approval_default=ApprovalDefault.A1,
    target_kinds=frozenset({"Deployment"}),
    parameters=Parameters,
    needs_labels=frozenset(),
    reads=(Permission("apps", "deployments", "get"), Permission("apps", "replicasets", "list")),
    writes=(Permission("apps", "deployments", "patch"),),
    settle=timedelta(minutes=5),
    reversible=False,
    about=__doc__,
    example="""\
- remediation: deployment.restart
  why: Memory grows until the pods are killed, and begins anew with each
  with: {not_within_minutes: 60}
""",
)


class Restart:
    """`deployment.restart`."""

    spec = SPEC

    def __init__(self, cluster: ClusterReader) -> None:
        self._cluster = cluster

    async def observe(self, target: ObjectRef, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """The Deployment with its ReplicaSets: the newest tells when pods were replaced last."""
        return await with_replica_sets(self._cluster, target)

    def plan(
        self, state: Mapping[str, Any], parameters: Mapping[str, Any], evidence: Evidence, *, now: datetime
    ) -> Draft | NotApplicable:
        """One annotation of the template, which makes it another one."""
        deployment = state["deployment"]
        if deployment is None:
            return NotApplicable("there is no such Deployment")
        asked = Parameters.model_validate(parameters)
        replicas = int(deployment["spec"].get("replicas", 1))
        if deployment["spec"].get("paused", False):
            return NotApplicable("the rollout is paused: nothing would restart")
        if replicas < asked.least_replicas:
            return NotApplicable(
                f"it has {replicas} replicas; the policy wants {asked.least_replicas} to restart"
            )
        current = read_rollout(deployment, state["replicaSets"]).current
        if current is None:
            return NotApplicable("no ReplicaSet has the Deployment's template yet: a rollout has just begun")
        age = now - current.created_at
        if age < timedelta(minutes=asked.not_within_minutes):
            return NotApplicable(f"its pods were replaced {in_words(age)} ago: once more would not help")
        target = deployment_reference(deployment)
        return Draft(
            target=target,
            steps=(patch_of(deployment, target, _change(deployment)),),
            summary=f"restart {target}: {replicas} pods of {current.image}",
            why=f"its pods run since {in_words(age)}",
            blast_radius=f"all {replicas} pods restart, by rolling update; what they hold in memory is lost",
            notes=("what a leak has filled cannot be looked at any more afterwards",),
            undo_sentence="cannot be undone: new pods run the same template",
        )

    def undo_plan(
        self, receipts: tuple[Receipt, ...], state: Mapping[str, Any]
    ) -> tuple[Step, ...] | NotApplicable:
        """Another restart would be no undo."""
        return NotApplicable("a restart cannot be undone")

    async def verify(self, receipt: Receipt) -> tuple[Placement, str]:
        """Every replica is a new one, and no GitOps controller has taken the annotation away."""
        return in_place(await self._cluster.get(receipt.target), receipt)


def _change(deployment: Mapping[str, Any]) -> FieldChange:
    template = deployment["spec"]["template"]
    mark = digest_of(template)[:16]
    annotations = template.get("metadata", {}).get("annotations")
    if annotations is None:
        return FieldChange(_ANNOTATIONS, None, {ANNOTATION: mark})
    return FieldChange(f"{_ANNOTATIONS}/{escaped(ANNOTATION)}", annotations.get(ANNOTATION), mark)
