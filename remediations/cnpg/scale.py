"""Give a CloudNativePG Cluster one instance more, up to a bound.

The playbook's "scale up database replicas" helps whatever reads from a replica. It does nothing for writes,
nor for connections to the primary, and the copy that a new replica begins with is read from the primary
(INC-001, fix 2; row 001.2d).

There is no way back by machine: scaling in deletes a replica's volume.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from pydantic import Field

from receiver.domain import plans
from receiver.domain.capacity import asked_by, quota_against, within_quotas
from receiver.domain.claims import class_of, shortened, sizes_of
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
from receiver.domain.pointers import pointed_at
from receiver.domain.remediation import ClusterReader, Evidence, Placement
from receiver.domain.workloads import patch_of
from remediations.cnpg.reading import INSTANCE, claims_of, cluster_reference, label_of, left_alone, phase_of
from remediations.kubernetes.growing import over_quota

INSTANCES = "/spec/instances"
# PostgreSQL's own default; CloudNativePG leaves it.
WAL_SENDERS = 10


class Parameters(plans.Parameters):
    """What a policy may say below ``with``."""

    most: int = Field(ge=2, le=20, description="Never more instances than this, the primary included.")


SPEC = Spec(
    name="cnpg.scale",
    version=1,
    sentence="Gives a database cluster one instance more, which serves reads; it is not taken away again.",
    risk=Risk.IRREVERSIBLE,
    approval_default=ApprovalDefault.A2,
    target_kinds=frozenset({"Cluster"}),
    parameters=Parameters,
    needs_labels=frozenset(),
    reads=(
        Permission("postgresql.cnpg.io", "clusters", "get"),
        Permission("", "persistentvolumeclaims", "list"),
        Permission("", "resourcequotas", "list"),
    ),
    writes=(Permission("postgresql.cnpg.io", "clusters", "patch"),),
    settle=timedelta(minutes=30),
    reversible=False,
    about=__doc__,
    example="""\
- remediation: cnpg.scale
  why: The replicas are busy with reads
  with: {most: 4}
""",
)


class Scale:
    """`cnpg.scale`."""

    spec = SPEC

    def __init__(self, cluster: ClusterReader) -> None:
        self._cluster = cluster

    async def observe(self, target: ObjectRef, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """The Cluster, its claims and the quotas."""
        found = await self._cluster.get(target)
        if found is None:
            return {"cluster": None}
        return {
            "cluster": found,
            "claims": await claims_of(self._cluster, target),
            "quotas": await self._cluster.list_objects("v1", "ResourceQuota", target.namespace),
        }

    def plan(
        self, state: Mapping[str, Any], parameters: Mapping[str, Any], evidence: Evidence, *, now: datetime
    ) -> Draft | NotApplicable:
        """One instance more."""
        found = state["cluster"]
        if found is None:
            return NotApplicable("there is no such Cluster")
        asked = Parameters.model_validate(parameters)
        said = pointed_at(found, INSTANCES)
        current = int(found["spec"].get("instances", 1))
        try:
            reason = (
                left_alone(found)
                or _not_well(found, current)
                or _enough(current, asked)
                or _no_sender(found, current)
                or _no_room(state, found)
            )
        except ValueError as error:
            return NotApplicable(f"whether there is room for one more cannot be told: {error}")
        if reason is not None:
            return NotApplicable(reason)
        target = cluster_reference(found)
        return Draft(
            target=target,
            steps=(patch_of(found, target, FieldChange(INSTANCES, said, current + 1)),),
            summary=f"scale {target} from {current} to {current + 1} instances",
            why=f"it has {current}, and all are ready",
            blast_radius="one pod more, with volumes as large as the primary's; the primary is copied for it",
            notes=("it helps reads from a replica; not writes, and not connections to the primary",),
            undo_sentence="cannot be undone by machine: scaling in deletes a replica's volume",
        )

    def undo_plan(
        self, receipts: tuple[Receipt, ...], state: Mapping[str, Any]
    ) -> tuple[Step, ...] | NotApplicable:
        """Scaling in deletes a volume: a person's decision."""
        return NotApplicable("scaling in would delete a replica's volume: a person decides that")

    async def verify(self, receipt: Receipt) -> tuple[Placement, str]:
        """So many instances are ready."""
        found = await self._cluster.get(receipt.target)
        if found is None or found["metadata"]["uid"] != receipt.target.uid:
            return Placement.FAILED, f"{receipt.target} is gone"
        wanted = int(receipt.changes[0].after)
        if int(found["spec"].get("instances", 1)) < wanted:
            return Placement.FAILED, "somebody set fewer instances since"
        ready = int(found.get("status", {}).get("readyInstances", 0))
        said = f"{ready} of {wanted} instances are ready"
        if ready >= wanted:
            return Placement.IN_PLACE, said
        return Placement.NOT_YET, f"{said} ({phase_of(found)})"


def _enough(current: int, asked: Parameters) -> str | None:
    return None if current < asked.most else f"it has {current} instances; the policy allows {asked.most}"


def _not_well(found: Mapping[str, Any], current: int) -> str | None:
    """A new instance is copied from the others, and heals none of them."""
    ready = int(found.get("status", {}).get("readyInstances", 0))
    if ready < current:
        return f"{ready} of {current} instances are ready ({phase_of(found)}): see to those first"
    return None


def _no_sender(found: Mapping[str, Any], current: int) -> str | None:
    """Each replica takes a WAL sender of the primary, and the copy that a new one begins with one more."""
    said = pointed_at(found, "/spec/postgresql/parameters/max_wal_senders")
    senders = WAL_SENDERS if said is None else int(said)
    needed = current + 1
    return None if senders >= needed else f"max_wal_senders is {senders}, and {needed} would be in use"


def _no_room(state: Mapping[str, Any], found: Mapping[str, Any]) -> str | None:
    """Whether quotas allow one more of what the primary has. Raises ValueError where one cannot be read."""
    primary = found.get("status", {}).get("currentPrimary")
    volumes = [claim for claim in state["claims"] if primary and label_of(claim, INSTANCE) == primary]
    if not volumes:
        named = shortened(primary, 80) if primary else "nobody"
        return (
            f"its primary is {named}, of whose volumes nothing is known: how large one more is cannot be told"
        )
    count = Decimal(len(volumes))
    resources = found["spec"].get("resources", {})
    # A limit without a request is a request too.
    requests = {**resources.get("limits", {}), **resources.get("requests", {})}
    pod = asked_by({"containers": [{"resources": {"requests": requests}}]})
    claims = ("persistentvolumeclaims", "count/persistentvolumeclaims")
    return (
        over_quota(state["quotas"], [(class_of(claim), sizes_of(claim).charged) for claim in volumes])
        or quota_against(state["quotas"], dict.fromkeys(claims, count))
        or within_quotas(state["quotas"], pod)
    )
