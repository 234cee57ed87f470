"""Make the volume of a PersistentVolumeClaim larger, never smaller.

The playbook's `modify-volume --size 500` is absolute: it may be less than there is; and `resize2fs` by hand
does nothing where the partition did not grow, or where the file system is XFS. This asks for more by the
claim, and the storage driver grows volume and file system (INC-003, fix 3; row 003.3f).

No volume ever shrinks, and every gigabyte is paid for from then on, so it does nothing where anything is in
doubt: a resize that is not over, a change in the last 6 hours (some providers then refuse the next one), a
claim that an operator looks after. It says so where the new size is not there after 15 minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from receiver.domain.claims import SIZE, arrived, class_of, owner_of, sizes_of, template_of
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
from receiver.domain.quantities import quantity, written
from receiver.domain.remediation import ClusterReader, Evidence, Placement
from receiver.domain.workloads import patch_of, reference
from remediations.kubernetes.growing import (
    LOCKED_NOTE,
    Growth,
    cannot_grow,
    growth,
    over_quota,
    storage_class,
)


class Parameters(Growth):
    """What a policy may say below ``with``."""


SPEC = Spec(
    name="volume.expand",
    version=1,
    sentence="Makes a claim's volume larger, never smaller; it cannot be made smaller again.",
    risk=Risk.IRREVERSIBLE,
    approval_default=ApprovalDefault.A2,
    target_kinds=frozenset({"PersistentVolumeClaim"}),
    parameters=Parameters,
    needs_labels=frozenset(),
    reads=(
        Permission("", "persistentvolumeclaims", "get"),
        Permission("storage.k8s.io", "storageclasses", "get", everywhere=True),
        Permission("", "resourcequotas", "list"),
    ),
    writes=(Permission("", "persistentvolumeclaims", "patch"),),
    settle=timedelta(minutes=15),
    reversible=False,
    about=__doc__,
    example="""\
- remediation: volume.expand
  why: The volume is nearly full, and what fills it is needed
  with: {grow_by_percent: 30, most: 500Gi}
""",
)


class Expand:
    """`volume.expand`."""

    spec = SPEC

    def __init__(self, cluster: ClusterReader) -> None:
        self._cluster = cluster

    async def observe(self, target: ObjectRef, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """The claim, its StorageClass (None: it has none, or there is none of that name), the quotas."""
        claim = await self._cluster.get(target)
        if claim is None:
            return {"claim": None}
        return {
            "claim": claim,
            "class": await storage_class(self._cluster, class_of(claim)),
            "quotas": await self._cluster.list_objects("v1", "ResourceQuota", target.namespace),
        }

    def plan(
        self, state: Mapping[str, Any], parameters: Mapping[str, Any], evidence: Evidence, *, now: datetime
    ) -> Draft | NotApplicable:
        """The size that the claim asks for, raised."""
        claim = state["claim"]
        if claim is None:
            return NotApplicable("there is no such PersistentVolumeClaim")
        asked = Parameters.model_validate(parameters)
        try:
            sizes = sizes_of(claim)
            wanted = asked.wanted(sizes.capacity)
            reason = (
                _owned(claim)
                or cannot_grow(claim, state["class"], now)
                or asked.out_of_bounds(sizes.capacity, wanted)
                or over_quota(state["quotas"], [(class_of(claim), growth(sizes, wanted))])
            )
        except ValueError as error:
            return NotApplicable(f"how large it is, or may be, cannot be told: {error}")
        if reason is not None:
            return NotApplicable(reason)
        more = written(quantity(wanted) - sizes.capacity)
        target = reference(claim, api_version="v1", kind="PersistentVolumeClaim")
        change = FieldChange(SIZE, pointed_at(claim, SIZE), wanted)
        return Draft(
            target=target,
            steps=(patch_of(claim, target, change),),
            summary=f"grow {target} from {written(sizes.capacity)} to {wanted}",
            why=f"it has {written(sizes.capacity)}",
            blast_radius=f"this one volume, and what it costs: {more} more",
            notes=_notes(claim),
            undo_sentence="cannot be undone: a volume never shrinks",
        )

    def undo_plan(
        self, receipts: tuple[Receipt, ...], state: Mapping[str, Any]
    ) -> tuple[Step, ...] | NotApplicable:
        """A volume never shrinks."""
        return NotApplicable("a volume that has grown cannot be made smaller")

    async def verify(self, receipt: Receipt) -> tuple[Placement, str]:
        """The new size is there, and the file system has it."""
        claim = await self._cluster.get(receipt.target)
        if claim is None or claim["metadata"]["uid"] != receipt.target.uid:
            return Placement.FAILED, f"{receipt.target} is gone"
        return arrived(claim, quantity(receipt.changes[0].after))


def _owned(claim: Mapping[str, Any]) -> str | None:
    owner = owner_of(claim)
    return None if owner is None else f"it belongs to {owner}: its size is changed there"


def _notes(claim: Mapping[str, Any]) -> tuple[str, ...]:
    notes = [LOCKED_NOTE]
    if (template := template_of(claim)) is not None:
        notes.append(
            f"it comes from {template}: its volumeClaimTemplates keep the old size, which new replicas get"
        )
    if claim["spec"].get("volumeMode") == "Block":
        notes.append("it is a raw block device: whatever uses it must be told to use the rest")
    return tuple(notes)
