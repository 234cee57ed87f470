"""What may be changed of a PersistentVolumeClaim: its size, upwards, where its StorageClass allows it.

The texts are the real server's: `ValidatePersistentVolumeClaimUpdate` in pkg/apis/core/validation and the
admission plugin PersistentVolumeClaimResize of https://github.com/kubernetes/kubernetes. The first answers
422, the second, which comes after it, 403. The diff that a real 422 appends is left out.
"""

from __future__ import annotations

import copy
from decimal import Decimal

from receiver.demo.kubernetes.resources import PVCS, STORAGECLASSES, JsonObject
from receiver.demo.kubernetes.status import Cause, forbidden, forbidden_field
from receiver.demo.kubernetes.storage import Store
from receiver.domain.quantities import quantity

_SIZE = "spec.resources.requests.storage"


def requested(claim: JsonObject) -> Decimal:
    """The size that is asked for, in bytes."""
    return quantity(claim["spec"].get("resources", {}).get("requests", {}).get("storage", 0))


def capacity(claim: JsonObject) -> Decimal:
    """The size that there is, in bytes; 0 while there is no volume."""
    return quantity(claim.get("status", {}).get("capacity", {}).get("storage", 0))


def changed(new: JsonObject, old: JsonObject) -> list[Cause]:
    """What is wrong with the change from ``old`` to ``new``."""
    causes: list[Cause] = []
    alike = copy.deepcopy(new["spec"])
    bound = new.get("status", {}).get("phase") == "Bound"
    if bound and "storage" in alike.get("resources", {}).get("requests", {}):
        alike["resources"]["requests"]["storage"] = old["spec"]["resources"]["requests"]["storage"]
    if bound:
        alike["volumeAttributesClassName"] = old["spec"].get("volumeAttributesClassName")
        if alike["volumeAttributesClassName"] is None:
            del alike["volumeAttributesClassName"]
    if "volumeName" not in old["spec"]:
        alike.pop("volumeName", None)
    if alike != old["spec"]:
        why = (
            "spec is immutable after creation except resources.requests and volumeAttributesClassName "
            "for bound claims"
        )
        causes.append(forbidden_field("spec", why))
    if requested(new) < requested(old) and requested(new) <= capacity(new):
        causes.append(forbidden_field(_SIZE, "field can not be less than status.capacity"))
    return causes


def admit(store: Store, new: JsonObject, old: JsonObject) -> None:
    """Refuse to grow what its StorageClass does not let grow; raises `ApiError` (403)."""
    if requested(new) <= requested(old):
        return
    name = new["metadata"]["name"]
    if old.get("status", {}).get("phase") != "Bound":
        raise forbidden(PVCS, name, "Only bound persistent volume claims can be expanded")
    found = store.get(STORAGECLASSES, "", new["spec"].get("storageClassName", ""))
    if found is None or not found.get("allowVolumeExpansion"):
        why = (
            "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc "
            "must support resize"
        )
        raise forbidden(PVCS, name, why)
