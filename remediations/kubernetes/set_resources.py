"""Give one container of a Deployment more memory or CPU; never less.

The playbook's `kubectl set resources` without `-c` changes every container, sidecars too, and may ask for
more than any node has (INC-003, fix 2; rows 003.2c, 1.5).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Self

from pydantic import Field, model_validator

from receiver.domain import plans
from receiver.domain.capacity import Amount, asked_by, fits, free_on, within_quotas
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
from receiver.domain.quantities import as_served, quantity
from receiver.domain.remediation import ClusterReader, Evidence, Placement
from receiver.domain.workloads import (
    CONTAINERS,
    container_of,
    deployment_reference,
    in_place,
    patch_of,
    put_back,
)
from remediations.kubernetes.reading import nodes_and_pods


class Parameters(plans.Parameters):
    """What a policy may say below ``with``."""

    container: str = Field(description="Which container.")
    memory_limit: str | None = Field(None, description="Such as 4Gi.")
    memory_request: str | None = Field(None, description="Such as 2Gi.")
    cpu_limit: str | None = Field(None, description="Such as 2, or 500m.")
    cpu_request: str | None = Field(None, description="Such as 1, or 250m.")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        wanted = self.wanted()
        if not any(wanted.values()):
            raise ValueError("nothing is asked for: add a limit or a request of memory or cpu")
        for resource in ("memory", "cpu"):
            request = wanted["requests"].get(resource)
            limit = wanted["limits"].get(resource)
            amounts = [quantity(each) for each in (request, limit) if each is not None]
            if len(amounts) == 2 and amounts[0] > amounts[1]:
                raise ValueError(f"{resource}_request {request} is more than {resource}_limit {limit}")
        return self

    def wanted(self) -> dict[str, dict[str, str]]:
        """What is asked for, in the shape of a container's ``resources`` and as an API server spells it.

        Raises ValueError for what is no quantity.
        """
        said = {
            "limits": {"memory": self.memory_limit, "cpu": self.cpu_limit},
            "requests": {"memory": self.memory_request, "cpu": self.cpu_request},
        }
        return {
            kind: {name: as_served(each) for name, each in of.items() if each is not None}
            for kind, of in said.items()
        }


SPEC = Spec(
    name="deployment.set-resources",
    version=1,
    sentence="Gives one container more memory or CPU; the pods restart with it.",
    risk=Risk.DISRUPTIVE,
    approval_default=ApprovalDefault.A1,
    target_kinds=frozenset({"Deployment"}),
    parameters=Parameters,
    needs_labels=frozenset(),
    reads=(
        Permission("apps", "deployments", "get"),
        Permission("", "resourcequotas", "list"),
        Permission("", "nodes", "list", everywhere=True),
        Permission("", "pods", "list", everywhere=True),
    ),
    writes=(Permission("apps", "deployments", "patch"),),
    settle=timedelta(minutes=5),
    mitigates=True,
    about=__doc__,
    example="""\
- remediation: deployment.set-resources
  why: The container is killed for memory at a load it must bear
  with: {container: api, memory_limit: 4Gi, memory_request: 2Gi}
  expires: 7d
""",
)


class SetResources:
    """`deployment.set-resources`."""

    spec = SPEC

    def __init__(self, cluster: ClusterReader) -> None:
        self._cluster = cluster

    async def observe(self, target: ObjectRef, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """The Deployment, the quotas, and what the nodes have left."""
        deployment = await self._cluster.get(target)
        if deployment is None:
            return {"deployment": None}
        return {
            "deployment": deployment,
            "quotas": await self._cluster.list_objects("v1", "ResourceQuota", target.namespace),
            **await nodes_and_pods(self._cluster),
        }

    def plan(
        self, state: Mapping[str, Any], parameters: Mapping[str, Any], evidence: Evidence, *, now: datetime
    ) -> Draft | NotApplicable:
        """The resources of that container, raised."""
        deployment = state["deployment"]
        if deployment is None:
            return NotApplicable("there is no such Deployment")
        if deployment["spec"].get("paused", False):
            return NotApplicable("the rollout is paused: nothing would restart")
        asked = Parameters.model_validate(parameters)
        found = container_of(deployment, asked.container)
        if isinstance(found, NotApplicable):
            return found
        index, container = found
        before = container.get("resources")
        try:
            after = _raised(before or {}, asked.wanted())
            if isinstance(after, NotApplicable):
                return after
            reason = _no_room(state, deployment, index, after)
        except ValueError as error:
            return NotApplicable(f"what it has, or what is left, cannot be told: {error}")
        if reason is not None:
            return NotApplicable(reason)
        target = deployment_reference(deployment)
        change = FieldChange(f"{CONTAINERS}/{index}/resources", before, after)
        return Draft(
            target=target,
            steps=(patch_of(deployment, target, change),),
            summary=f"give container {asked.container} of {target} {_told(asked.wanted())}",
            why=f"it has {_told(before or {}) or 'no requests and no limits'}",
            blast_radius=f"all {deployment['spec'].get('replicas', 1)} pods restart, by rolling update",
            undo_sentence="undone by the resources it had",
        )

    def undo_plan(
        self, receipts: tuple[Receipt, ...], state: Mapping[str, Any]
    ) -> tuple[Step, ...] | NotApplicable:
        """The resources as they were."""
        return put_back(receipts, state["deployment"])

    async def verify(self, receipt: Receipt) -> tuple[Placement, str]:
        """Every replica runs with them."""
        return in_place(await self._cluster.get(receipt.target), receipt)


def _raised(
    before: Mapping[str, Any], wanted: Mapping[str, Mapping[str, str]]
) -> dict[str, Any] | NotApplicable:
    after: dict[str, Any] = {
        kind: dict(each) if isinstance(each, Mapping) else each for kind, each in before.items()
    }
    more = False
    for kind, amounts in wanted.items():
        for resource, amount in amounts.items():
            present = after.get(kind, {}).get(resource)
            if present is not None and quantity(amount) < quantity(present):
                return NotApplicable(f"{kind}.{resource} is {present}; {amount} would be less")
            more = more or present is None or quantity(amount) > quantity(present)
            after.setdefault(kind, {})[resource] = amount
    for resource, request in after.get("requests", {}).items():
        limit = after.get("limits", {}).get(resource)
        if limit is not None and quantity(request) > quantity(limit):
            return NotApplicable(
                f"the request of {request} {resource} would be more than the limit of {limit}"
            )
    return after if more else NotApplicable("it has as much already")


def _no_room(
    state: Mapping[str, Any], deployment: Mapping[str, Any], index: int, after: Mapping[str, Any]
) -> str | None:
    spec = deployment["spec"]["template"]["spec"]
    containers = [dict(container) for container in spec["containers"]]
    containers[index]["resources"] = after
    old, new = asked_by(spec), asked_by({**spec, "containers": containers})
    replicas = int(deployment["spec"].get("replicas", 1))
    grown = new - old
    more = Amount(grown.cpu * replicas, grown.memory * replicas)
    if (reason := within_quotas(state["quotas"], more)) is not None:
        return reason
    free = free_on(state["nodes"], state["pods"])
    if isinstance(free, NotApplicable):
        return free.reason
    if fits(free, new, 1) < 1:
        return f"no node has room for a pod that asks for {new}"
    total = Amount()
    for amount in free.values():
        total += amount
    if not total.holds(more):
        return f"the nodes have {total} left, and {replicas} pods would ask for {more} more"
    return None


def _told(resources: Mapping[str, Any]) -> str:
    parts = [
        f"{kind[:-1]} {amount} {resource}"
        for kind in ("requests", "limits")
        for resource, amount in resources.get(kind, {}).items()
    ]
    return ", ".join(parts)
