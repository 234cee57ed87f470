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
from decimal import Decimal
from typing import Any, Self

from pydantic import Field, model_validator

from receiver.domain import plans
from receiver.domain.alerts import parse_time
from receiver.domain.capacity import quota_against
from receiver.domain.claims import (
    SIZE,
    Sizes,
    arrived,
    busy,
    class_of,
    last_sized,
    owner_of,
    sizes_of,
    template_of,
)
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
from receiver.domain.pointers import pointed_at
from receiver.domain.quantities import in_gibibytes, quantity, written
from receiver.domain.remediation import ClusterReader, Evidence, Placement
from receiver.domain.workloads import patch_of, reference

# Amazon EBS refuses a second modification for so long after the first:
# https://docs.aws.amazon.com/ebs/latest/userguide/modify-volume-requirements.html
LOCKED_FOR = timedelta(hours=6)


class Parameters(plans.Parameters):
    """What a policy may say below ``with``."""

    grow_by_percent: int = Field(
        30,
        ge=0,
        le=100,
        description="By how much of its size it grows, rounded up to whole Gi; by 30, what was 90 % full is "
        "70 % full.",
    )
    at_least: str | None = Field(None, description="At least so large, such as 100Gi, where that is more.")
    most: str = Field(description="Never larger than this, such as 500Gi.")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        most = quantity(self.most)
        if self.at_least is not None and quantity(self.at_least) > most:
            raise ValueError(f"at_least {self.at_least} is more than most {self.most}")
        if self.at_least is None and not self.grow_by_percent:
            raise ValueError("nothing is asked for: add at_least, or a grow_by_percent above 0")
        return self

    def wanted(self, capacity: Decimal) -> str:
        """The size to ask for, in place of so many bytes."""
        grown = capacity * (100 + self.grow_by_percent) / 100
        return in_gibibytes(max(grown, quantity(self.at_least or 0)))


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
        name = class_of(claim)
        asked = ObjectRef("storage.k8s.io/v1", "StorageClass", "", name)
        return {
            "claim": claim,
            "class": await self._cluster.get(asked) if name else None,
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
            reason = _why_not(claim, state["class"], now) or _too_large(state, asked, sizes, wanted)
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


def _why_not(claim: Mapping[str, Any], storage_class: Mapping[str, Any] | None, now: datetime) -> str | None:
    """Why this claim does not grow now, whatever the size. Raises ValueError where it cannot be read."""
    if claim["metadata"].get("deletionTimestamp") is not None:
        return "it is being deleted"
    if (phase := claim.get("status", {}).get("phase")) != "Bound":
        return f"it is {phase or 'not bound'}: only a bound claim can grow"
    if (owner := owner_of(claim)) is not None:
        return f"it belongs to {owner}: its size is changed there"
    name = class_of(claim)
    if not name:
        return "it has no StorageClass, so nothing can grow its volume"
    if storage_class is None:
        return f"there is no StorageClass {name}, so whether its volume can grow is not known"
    if storage_class.get("allowVolumeExpansion") is not True:
        return f"StorageClass {name} does not allow its volumes to grow (allowVolumeExpansion)"
    return busy(claim) or _too_soon(claim, now)


def _too_soon(claim: Mapping[str, Any], now: datetime) -> str | None:
    hours = in_words(LOCKED_FOR)
    sized = last_sized(claim)
    if sized is None:
        return (
            f"who set its size, and when, is not recorded: whether it grew in the last {hours} is not known"
        )
    grown = sized.at > parse_time(claim["metadata"].get("creationTimestamp"))
    if grown and now - sized.at < LOCKED_FOR:
        age = in_words(now - sized.at)
        return f"{sized.manager} set its size {age} ago; some providers refuse another change for {hours}"
    return None


def _too_large(state: Mapping[str, Any], asked: Parameters, sizes: Sizes, wanted: str) -> str | None:
    size = quantity(wanted)
    if size <= sizes.capacity:
        return f"it has {written(sizes.capacity)} already; {asked.at_least} would not be more"
    if size > quantity(asked.most):
        return f"it has {written(sizes.capacity)} and would have {wanted}; the policy allows {asked.most}"
    more = size - sizes.charged
    name = class_of(state["claim"])
    keys = ("requests.storage", f"{name}.storageclass.storage.k8s.io/requests.storage")
    if (reason := quota_against(state["quotas"], dict.fromkeys(keys, more))) is not None:
        return f"{written(more)} more are too many: {reason}"
    return None


def _notes(claim: Mapping[str, Any]) -> tuple[str, ...]:
    notes = [f"some providers refuse to change it again for {in_words(LOCKED_FOR)} or longer"]
    if (template := template_of(claim)) is not None:
        notes.append(
            f"it comes from {template}: its volumeClaimTemplates keep the old size, which new replicas get"
        )
    if claim["spec"].get("volumeMode") == "Block":
        notes.append("it is a raw block device: whatever uses it must be told to use the rest")
    return tuple(notes)
