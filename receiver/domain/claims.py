"""What a PersistentVolumeClaim tells of itself: how large it is, what is under way, whose it is.

Where the rules come from: https://kubernetes.io/docs/concepts/storage/persistent-volumes/ (expanding claims,
recovering from failure when expanding volumes), and the fields of `PersistentVolumeClaimStatus`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from receiver.domain.alerts import parse_time
from receiver.domain.pointers import pointed_at
from receiver.domain.quantities import quantity, written
from receiver.domain.remediation import Placement

SIZE = "/spec/resources/requests/storage"
PENDING = "FileSystemResizePending"
CNPG_LABEL = "cnpg.io/cluster"
_SIZE_OWNED = "/fieldsV1/f:spec/f:resources/f:requests/f:storage"
_OLD_CLASS = "volume.beta.kubernetes.io/storage-class"
_UNDER_WAY = ("Resizing", "ModifyingVolume", PENDING)
_FAILED = ("ControllerResizeError", "NodeResizeError", "ModifyVolumeError")
# What the resizer tries no more, unless somebody asks for another size.
_INFEASIBLE = ("ControllerResizeInfeasible", "NodeResizeInfeasible")
_OF_A_STATEFUL_SET = re.compile(r".+-\d{1,9}")
SHOWN = 160


@dataclass(frozen=True)
class Sizes:
    """In bytes: what there is, what is asked for, and what is set aside for a resize that is not over."""

    capacity: Decimal
    requested: Decimal
    allocated: Decimal

    @property
    def charged(self) -> Decimal:
        """What a ResourceQuota counts: the larger of what is asked for and what is set aside."""
        return max(self.requested, self.allocated)


@dataclass(frozen=True)
class Sized:
    """Who wrote the size last, and when."""

    manager: str
    at: datetime


def sizes_of(claim: Mapping[str, Any]) -> Sizes:
    """Raises ValueError where one of them is no quantity that can be read."""
    status = claim.get("status", {})
    return Sizes(
        capacity=quantity(status.get("capacity", {}).get("storage", 0)),
        requested=quantity(pointed_at(claim, SIZE) or 0),
        allocated=quantity(status.get("allocatedResources", {}).get("storage", 0)),
    )


def class_of(claim: Mapping[str, Any]) -> str:
    """The name of its StorageClass, "" where it has none; the old annotation counts first, as always."""
    annotations = claim["metadata"].get("annotations", {})
    return str(annotations.get(_OLD_CLASS) or claim["spec"].get("storageClassName") or "")


def busy(claim: Mapping[str, Any]) -> str | None:
    """Why its size is not at rest: a resize is under way, or failed; None where it is at rest.

    Raises ValueError where a size cannot be read.
    """
    for kind, said in _conditions(claim):
        if kind in _FAILED:
            return f"its last resize failed ({kind}{said})"
        if kind in _UNDER_WAY:
            return f"a resize is under way ({kind}{said})"
    if (stage := _stage(claim)) is not None:
        return (
            f"its last resize failed ({stage})"
            if stage in _INFEASIBLE
            else f"a resize is under way ({stage})"
        )
    sizes = sizes_of(claim)
    if sizes.charged > sizes.capacity:
        return (
            f"a resize is under way: {written(sizes.capacity)} are there, and {written(sizes.charged)} "
            "were asked for"
        )
    return None


def arrived(claim: Mapping[str, Any], wanted: Decimal) -> tuple[Placement, str]:
    """Whether so many bytes are there for whoever uses the claim, its file system included."""
    try:
        sizes = sizes_of(claim)
    except ValueError as error:
        return Placement.NOT_YET, f"how large it is cannot be told: {error}"
    if sizes.requested < wanted:
        return Placement.FAILED, f"somebody asked for {written(sizes.requested)} since"
    conditions = dict(_conditions(claim))
    if sizes.capacity >= wanted and PENDING not in conditions:
        return Placement.IN_PLACE, f"the volume has {written(sizes.capacity)}"
    there = f"the volume has {written(sizes.capacity)} of {written(wanted)}"
    if (stage := _stage(claim)) in _INFEASIBLE:
        return Placement.FAILED, f"{there}, and gets no more ({stage}): the provider refuses this size"
    for kind in _FAILED:
        if kind in conditions:
            return (
                Placement.NOT_YET,
                f"{there}; the resize fails and is tried again ({kind}{conditions[kind]})",
            )
    if PENDING in conditions:
        return Placement.NOT_YET, f"{there}: its file system grows when a pod mounts it; restart the pod"
    return Placement.NOT_YET, there


def last_sized(claim: Mapping[str, Any]) -> Sized | None:
    """The youngest write of whoever wrote the size, by `managedFields`; None where that is not recorded.

    The marker of an earlier plan carries no time. A manager's time moves with any field it writes, so this
    may be later than the size's own last change, never earlier. Raises ValueError for a time that is none.
    """
    entries = claim["metadata"].get("managedFields", [])
    found = [
        Sized(shortened(entry.get("manager"), 60), parse_time(entry.get("time")))
        for entry in entries
        if not entry.get("subresource") and pointed_at(entry, _SIZE_OWNED) is not None
    ]
    return max(found, key=lambda each: each.at, default=None)


def owner_of(claim: Mapping[str, Any]) -> str | None:
    """Who decides its size instead: an operator's object, or the pod that it goes with.

    A StatefulSet owns at most the life of a claim; it never touches its size.
    """
    metadata = claim["metadata"]
    cluster = metadata.get("labels", {}).get(CNPG_LABEL)
    if cluster is not None:
        return f"Cluster {shortened(cluster, 80)} of CloudNativePG"
    for owner in metadata.get("ownerReferences", []):
        if owner.get("kind") != "StatefulSet":
            return f"{shortened(owner.get('kind'), 80)} {shortened(owner.get('name'), 80)}"
    return None


def template_of(claim: Mapping[str, Any]) -> str | None:
    """The StatefulSet from whose template it was made, in words; None where nothing speaks for one.

    Claims are named template, StatefulSet and number; where the first ends the name does not tell.
    """
    metadata = claim["metadata"]
    for owner in metadata.get("ownerReferences", []):
        if owner.get("kind") == "StatefulSet":
            return f"StatefulSet {shortened(owner.get('name'), 80)}"
    return "a StatefulSet, by its name" if _OF_A_STATEFUL_SET.fullmatch(metadata["name"]) else None


def shortened(text: Any, most: int) -> str:
    """What somebody else wrote, on one line and no longer than that."""
    return " ".join(str(text).split())[:most]


def _conditions(claim: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The conditions that are not said to be false, each with its message as it is added to a sentence."""
    found: list[tuple[str, str]] = []
    for each in claim.get("status", {}).get("conditions", []):
        if each.get("status") != "False":
            message = shortened(each.get("message") or "", SHOWN)
            found.append((str(each.get("type")), f": {message}" if message else ""))
    return found


def _stage(claim: Mapping[str, Any]) -> str | None:
    """Where its resize stands, by the resizer's own word."""
    said = claim.get("status", {}).get("allocatedResourceStatuses", {}).get("storage")
    return None if not said else shortened(said, 60)
