"""Warm up new pods by a bounded number of GET requests to one endpoint of the operators' file.

The playbook runs curl a hundred times in a loop (INC-002, fix 3; row 002.3c). Here requests come one after
another and five a second at most; after each five every guard is asked again, and the first that is not
answered well is the last. Only where every pod is ready and the endpoint answers: a service that fails gets
no load on top. There is nothing to put back, and after a crash nothing is sent again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

from pydantic import Field

from receiver.domain import plans
from receiver.domain.endpoints import HTTP, REQUESTS_A_SECOND, EndpointKind
from receiver.domain.names import DNS_LABEL
from receiver.domain.plans import (
    ApprovalDefault,
    Draft,
    NotApplicable,
    ObjectRef,
    Permission,
    Receipt,
    Risk,
    Spec,
    Step,
    WarmUpStep,
)
from receiver.domain.remediation import ClusterReader, EndpointReader, Evidence, Placement
from receiver.domain.workloads import deployment_reference, reference, rolled_out


class Parameters(plans.Parameters):
    """What a policy may say below ``with``."""

    # What an alert says never chooses who is asked.
    fixed: ClassVar[frozenset[str]] = frozenset({"endpoint"})

    endpoint: str = Field(
        pattern=f"^{DNS_LABEL.pattern}$",
        description="Which endpoint of kind `warmUp`, by its name in the endpoints file.",
    )
    requests: int = Field(100, ge=1, le=100, description="How many at most.")


SPEC = Spec(
    name="http.warm-up",
    version=1,
    sentence="Warms up a workload that has just started, by a bounded number of GET requests.",
    risk=Risk.REVERSIBLE,
    approval_default=ApprovalDefault.A1,
    target_kinds=frozenset({"Deployment"}),
    parameters=Parameters,
    needs_labels=frozenset(),
    reads=(Permission("apps", "deployments", "get"), Permission(HTTP, "endpoints", "get")),
    writes=(Permission(HTTP, "endpoints", "warm up"),),
    settle=timedelta(minutes=1),
    reversible=False,
    about=__doc__,
    example="""\
- remediation: http.warm-up
  why: Pods have just started, and each first request of a path is slow
  when: rollout.current.ageSeconds < 900.0 && err < 0.05
  with: {endpoint: api-warm-up, requests: 50}
""",
)


class WarmUp:
    """`http.warm-up`."""

    spec = SPEC

    def __init__(self, cluster: ClusterReader, endpoints: EndpointReader) -> None:
        self._cluster = cluster
        self._endpoints = endpoints

    async def observe(self, target: ObjectRef, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """The Deployment, the endpoint, and what it answers to one request."""
        name = Parameters.model_validate(dict(parameters)).endpoint
        answered = await self._endpoints.ask(name, EndpointKind.WARM_UP)
        return {
            "deployment": await self._cluster.get(target),
            "endpoint": self._endpoints.warmable(name),
            "status": answered.status,
            "well": answered.well,
        }

    def plan(
        self, state: Mapping[str, Any], parameters: Mapping[str, Any], evidence: Evidence, *, now: datetime
    ) -> Draft | NotApplicable:
        """So many requests, in steps."""
        asked = Parameters.model_validate(dict(parameters))
        deployment, endpoint = state["deployment"], state["endpoint"]
        if deployment is None:
            return NotApplicable("there is no such Deployment")
        placed, said = rolled_out(deployment)
        if placed is not Placement.IN_PLACE:
            return NotApplicable(f"the rollout is not over: {said}")
        if not state["well"]:
            return NotApplicable(
                f"endpoint {asked.endpoint} answers {state['status']}: it gets no load on top"
            )
        target = reference(endpoint, api_version=HTTP, kind="Endpoint")
        workload = deployment_reference(deployment)
        return Draft(
            target=workload,
            steps=tuple(
                WarmUpStep(target, min(REQUESTS_A_SECOND, asked.requests - begun))
                for begun in range(0, asked.requests, REQUESTS_A_SECOND)
            ),
            summary=f"warm up {workload} by {asked.requests} requests to {asked.endpoint}",
            why=f"{said}, and the endpoint answers",
            blast_radius=(
                f"{asked.requests} requests at most, one at a time, {REQUESTS_A_SECOND} a second;"
                " the first that is not answered with 2xx is the last"
            ),
            notes=("they call themselves stanch-warm-up, so that they can be left out of what is counted",),
            undo_sentence="nothing to undo: requests leave nothing behind",
        )

    def undo_plan(
        self, receipts: tuple[Receipt, ...], state: Mapping[str, Any]
    ) -> tuple[Step, ...] | NotApplicable:
        """A GET changes nothing."""
        return NotApplicable("there is nothing to undo: requests leave nothing behind")

    async def verify(self, receipt: Receipt) -> tuple[Placement, str]:
        """A step that was done was answered well; whether it is fast now is what the metrics tell."""
        return Placement.IN_PLACE, receipt.how
