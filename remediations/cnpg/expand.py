"""Make the volumes of a CloudNativePG Cluster larger, never smaller.

The playbook's `modify-db-instance --allocated-storage 1000` is absolute, and a claim of such a Cluster that
is grown by itself is not what its Cluster says. This raises `storage.size` or `walStorage.size`, and the
operator raises every claim (INC-005, cause 3; row 005.3f).

It is in place only when every claim has the size. Where a WAL volume is full, CloudNativePG does not pass a
size on (https://github.com/cloudnative-pg/cloudnative-pg/issues/11341): then it says which claims a person
has to grow by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import Field

from receiver.domain.claims import arrived, class_of, sizes_of
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
from receiver.domain.workloads import no_longer, patch_of
from remediations.cnpg.reading import FULL, ROLE, claims_of, cluster_reference, label_of, left_alone, phase_of
from remediations.kubernetes.growing import (
    LOCKED_NOTE,
    Growth,
    cannot_grow,
    growth,
    over_quota,
    storage_class,
)


@dataclass(frozen=True)
class Part:
    """One kind of volume: where the Cluster says its size, and the role that its claims are labelled with."""

    field: str
    role: str

    @property
    def pointer(self) -> str:
        """Where its size stands."""
        return f"/spec/{self.field}/size"


PARTS: Mapping[str, Part] = {"data": Part("storage", "PG_DATA"), "wal": Part("walStorage", "PG_WAL")}


class Parameters(Growth):
    """What a policy may say below ``with``."""

    volume: Literal["data", "wal"] = Field("data", description="Which volume of each instance.")


SPEC = Spec(
    name="cnpg.expand",
    version=1,
    sentence="Makes the volumes of a database cluster larger; they cannot be made smaller again.",
    risk=Risk.IRREVERSIBLE,
    approval_default=ApprovalDefault.A2,
    target_kinds=frozenset({"Cluster"}),
    parameters=Parameters,
    needs_labels=frozenset(),
    reads=(
        Permission("postgresql.cnpg.io", "clusters", "get"),
        Permission("", "persistentvolumeclaims", "list"),
        Permission("storage.k8s.io", "storageclasses", "get", everywhere=True),
        Permission("", "resourcequotas", "list"),
    ),
    writes=(Permission("postgresql.cnpg.io", "clusters", "patch"),),
    settle=timedelta(minutes=15),
    reversible=False,
    about=__doc__,
    example="""\
- remediation: cnpg.expand
  why: The database's volume is nearly full, and nothing in it may go
  with: {volume: data, grow_by_percent: 30, most: 1Ti}
""",
)


class Expand:
    """`cnpg.expand`."""

    spec = SPEC

    def __init__(self, cluster: ClusterReader) -> None:
        self._cluster = cluster

    async def observe(self, target: ObjectRef, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """The Cluster, its claims, their StorageClasses by name, and the quotas."""
        found = await self._cluster.get(target)
        if found is None:
            return {"cluster": None}
        claims = await claims_of(self._cluster, target)
        names = sorted({class_of(claim) for claim in claims})
        return {
            "cluster": found,
            "claims": claims,
            "classes": {name: await storage_class(self._cluster, name) for name in names},
            "quotas": await self._cluster.list_objects("v1", "ResourceQuota", target.namespace),
        }

    def plan(
        self, state: Mapping[str, Any], parameters: Mapping[str, Any], evidence: Evidence, *, now: datetime
    ) -> Draft | NotApplicable:
        """The size that the Cluster says, raised."""
        found = state["cluster"]
        if found is None:
            return NotApplicable("there is no such Cluster")
        asked = Parameters.model_validate(parameters)
        part = PARTS[asked.volume]
        claims = [claim for claim in state["claims"] if label_of(claim, ROLE) == part.role]
        said = pointed_at(found, part.pointer)
        if (reason := left_alone(found) or _not_its_own(found, part, claims)) is not None:
            return NotApplicable(reason)
        try:
            sizes = [sizes_of(claim) for claim in claims]
            present = max(quantity(said), *(each.capacity for each in sizes))
            wanted = asked.wanted(present)
            more = [
                (class_of(claim), growth(each, wanted)) for claim, each in zip(claims, sizes, strict=True)
            ]
            reason = (
                _claim_at_rest(claims, state["classes"], now)
                or asked.out_of_bounds(present, wanted)
                or over_quota(state["quotas"], more)
            )
        except ValueError as error:
            return NotApplicable(f"how large its volumes are, or may be, cannot be told: {error}")
        if reason is not None:
            return NotApplicable(reason)
        target = cluster_reference(found)
        total = written(sum((amount for _, amount in more), quantity(0)))
        return Draft(
            target=target,
            steps=(patch_of(found, target, FieldChange(part.pointer, said, wanted)),),
            summary=f"grow the {asked.volume} volumes of {target} from {written(present)} to {wanted}",
            why=f"{len(claims)} instances have {written(present)} each",
            blast_radius=f"{len(claims)} volumes, and what they cost: {total} more",
            notes=_notes(found),
            undo_sentence="cannot be undone: a volume never shrinks",
        )

    def undo_plan(
        self, receipts: tuple[Receipt, ...], state: Mapping[str, Any]
    ) -> tuple[Step, ...] | NotApplicable:
        """A volume never shrinks."""
        return NotApplicable("volumes that have grown cannot be made smaller")

    async def verify(self, receipt: Receipt) -> tuple[Placement, str]:
        """Every claim has the size."""
        found = await self._cluster.get(receipt.target)
        if (failed := no_longer(found, receipt)) is not None:
            return failed
        (change,) = receipt.changes
        claims = await claims_of(self._cluster, receipt.target)
        (role,) = (part.role for part in PARTS.values() if part.pointer == change.pointer)
        return all_arrived([claim for claim in claims if label_of(claim, ROLE) == role], change.after)


def all_arrived(claims: list[dict[str, Any]], wanted: str) -> tuple[Placement, str]:
    """Whether every claim has so much; otherwise the first that has not, and what a person does about it."""
    if not claims:
        return Placement.NOT_YET, "it has no claims of that kind"
    size = quantity(wanted)
    waiting = [claim["metadata"]["name"] for claim in claims if _asks_for_less(claim, wanted)]
    if waiting:
        return Placement.NOT_YET, (
            f"CloudNativePG has not passed {wanted} on to {', '.join(sorted(waiting))}: with a full volume "
            "it does not. Set spec.resources.requests.storage of the claim by hand, first where the "
            "instance fails"
        )
    for claim in claims:
        placement, sentence = arrived(claim, size)
        if placement is not Placement.IN_PLACE:
            return placement, f"{claim['metadata']['name']}: {sentence}"
    return Placement.IN_PLACE, f"all {len(claims)} volumes have {wanted}"


def _asks_for_less(claim: Mapping[str, Any], wanted: str) -> bool:
    try:
        return sizes_of(claim).requested < quantity(wanted)
    except ValueError:
        # What cannot be read is told with the arrival.
        return False


def _not_its_own(found: Mapping[str, Any], part: Part, claims: list[Mapping[str, Any]]) -> str | None:
    """Why the size of these volumes is not the Cluster's to change, or not known."""
    if pointed_at(found, part.pointer) is None:
        return f"it says no {part.field}.size, so there is nothing to raise"
    if pointed_at(found, f"/spec/{part.field}/resizeInUseVolumes") is False:
        return f"its {part.field}.resizeInUseVolumes is false: volumes in use would stay as they are"
    instances = int(found["spec"].get("instances", 1))
    if len(claims) < instances:
        return f"{len(claims)} of {instances} instances have such a volume: see to the others first"
    return None


def _claim_at_rest(
    claims: list[Mapping[str, Any]], classes: Mapping[str, Mapping[str, Any] | None], now: datetime
) -> str | None:
    for claim in claims:
        if (reason := cannot_grow(claim, classes.get(class_of(claim)), now)) is not None:
            return f"claim {claim['metadata']['name']}: {reason}"
    return None


def _notes(found: Mapping[str, Any]) -> tuple[str, ...]:
    if (phase := phase_of(found)) != FULL:
        return (LOCKED_NOTE,)
    passes = "CloudNativePG may pass the size on only after somebody grew the full instance's claim by hand"
    return LOCKED_NOTE, f"its phase is {phase!r}: {passes}"
