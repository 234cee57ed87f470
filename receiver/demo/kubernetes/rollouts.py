"""The arithmetic of a Deployment, as pure functions: how many replicas where, and what its status says.

The controller gathers the ReplicaSets, asks here, and writes. The rules and the texts are those of the real
deployment controller, since people and `kubectl rollout status` read them.
"""

from __future__ import annotations

import copy
import json
import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from receiver.demo.kubernetes.resources import JsonObject
from receiver.demo.kubernetes.storage import moment_of, timestamp

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
HASH_LABEL = "pod-template-hash"
NOT_COPIED = frozenset(
    {"kubectl.kubernetes.io/last-applied-configuration", REVISION, REVISION_HISTORY, DESIRED, MAXIMUM}
)
"""Annotations of a Deployment that its ReplicaSets do not get."""

_HASH_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


def bare_template(template: JsonObject) -> JsonObject:
    """The template without the label that only a ReplicaSet's has."""
    bare = copy.deepcopy(template)
    bare.get("metadata", {}).get("labels", {}).pop(HASH_LABEL, None)
    return bare


def template_hash(template: JsonObject) -> str:
    """A short name for a template: a 32-bit FNV-1a sum, its digits spelled in letters that make no words."""
    total = 0x811C9DC5
    for byte in json.dumps(template, sort_keys=True).encode():
        total = ((total ^ byte) * 0x01000193) & 0xFFFFFFFF
    return "".join(_HASH_LETTERS[ord(digit) % len(_HASH_LETTERS)] for digit in str(total))


@dataclass(frozen=True)
class Set:
    """A ReplicaSet as the arithmetic needs it."""

    name: str
    wanted: int
    pods: int
    ready: int
    available: int

    @classmethod
    def of(cls, replica_set: JsonObject) -> Set:
        status = replica_set.get("status", {})
        return cls(
            replica_set["metadata"]["name"],
            replica_set["spec"]["replicas"],
            status.get("replicas", 0),
            status.get("readyReplicas", 0),
            status.get("availableReplicas", 0),
        )


@dataclass(frozen=True)
class Bounds:
    """How far a rollout may go above and below the wanted number."""

    replicas: int
    surge: int
    unavailable: int
    recreate: bool = False

    @classmethod
    def of(cls, spec: JsonObject) -> Bounds:
        replicas = spec["replicas"]
        if spec["strategy"]["type"] == "Recreate":
            return cls(replicas, 0, replicas, recreate=True)
        rolling = spec["strategy"]["rollingUpdate"]
        surge = _count(rolling["maxSurge"], replicas, math.ceil)
        unavailable = _count(rolling["maxUnavailable"], replicas, math.floor)
        if surge == 0 and unavailable == 0:
            unavailable = 1
        return cls(replicas, surge, min(unavailable, replicas))

    @property
    def most(self) -> int:
        return self.replicas + self.surge

    @property
    def least_available(self) -> int:
        return self.replicas - self.unavailable


def _count(value: int | str, replicas: int, rounded: Any) -> int:
    if isinstance(value, str):
        return int(rounded(int(value.rstrip("%")) * replicas / 100))
    return value


def new_size(bounds: Bounds, new: Set | None, old: list[Set]) -> int:
    """How many replicas the current ReplicaSet should have now (None: it is about to be made)."""
    wanted = new.wanted if new else 0
    if bounds.recreate:
        return bounds.replicas if not any(each.pods or each.wanted for each in old) else wanted
    if wanted >= bounds.replicas:
        return bounds.replicas
    total = wanted + sum(each.wanted for each in old)
    return min(bounds.replicas, wanted + max(0, bounds.most - total))


def old_sizes(bounds: Bounds, new: Set, old: list[Set]) -> dict[str, int]:
    """New sizes of the old ReplicaSets that shrink now: first the pods that are no use, then the rest."""
    if bounds.recreate:
        return {each.name: 0 for each in old if each.wanted}
    total = new.wanted + sum(each.wanted for each in old)
    room = total - bounds.least_available - (new.wanted - new.available)
    sizes = {each.name: each.wanted for each in old}
    for each in old:
        if room <= 0:
            break
        useless = min(room, each.wanted - each.available)
        if useless > 0:
            sizes[each.name] -= useless
            room -= useless
    spare = new.available + sum(each.available for each in old) - bounds.least_available
    for each in old:
        drop = min(sizes[each.name], max(0, spare), max(0, room))
        sizes[each.name] -= drop
        spare -= drop
        room -= drop
    return {each.name: sizes[each.name] for each in old if sizes[each.name] != each.wanted}


def counts(deployment: JsonObject, bounds: Bounds, new: Set | None, old: list[Set]) -> JsonObject:
    """The numbers of the status; what is zero is left out, as `omitempty` does."""
    sets = [*([new] if new else []), *old]
    numbers = {
        "replicas": sum(each.pods for each in sets),
        "updatedReplicas": new.pods if new else 0,
        "readyReplicas": sum(each.ready for each in sets),
        "availableReplicas": sum(each.available for each in sets),
        "unavailableReplicas": max(0, sum(each.wanted - each.available for each in sets)),
    }
    return {
        "observedGeneration": deployment["metadata"]["generation"],
        **{key: value for key, value in numbers.items() if value},
        "terminatingReplicas": 0,
    }


def find_condition(status: JsonObject, kind: str) -> JsonObject | None:
    return next((c for c in status.get("conditions", []) if c["type"] == kind), None)


def _set_condition(status: JsonObject, condition: JsonObject, now: str, *, refresh: bool = False) -> None:
    """Write a condition; one with the same status and reason is left alone unless ``refresh``."""
    present = find_condition(status, condition["type"])
    if present and not refresh and all(present[k] == condition[k] for k in ("status", "reason")):
        return
    same = present is not None and present["status"] == condition["status"]
    since = present["lastTransitionTime"] if present and same else now
    rest = [c for c in status.get("conditions", []) if c["type"] != condition["type"]]
    status["conditions"] = [*rest, {**condition, "lastUpdateTime": now, "lastTransitionTime": since}]


def _progressing(reason: str, message: str, *, met: bool = True) -> JsonObject:
    status = "True" if met else "False"
    return {"type": "Progressing", "status": status, "reason": reason, "message": message}


def made_new_set(status: JsonObject, name: str, now: datetime) -> JsonObject:
    """The status right after a new ReplicaSet was made."""
    result = copy.deepcopy(status)
    condition = _progressing("NewReplicaSetCreated", f'Created new replica set "{name}"')
    _set_condition(result, condition, timestamp(now))
    return result


def status_at(
    deployment: JsonObject, bounds: Bounds, new: Set | None, old: list[Set], now: datetime
) -> JsonObject:
    """The whole status of ``deployment`` as it should read at ``now``."""
    before = deployment.get("status", {})
    status = counts(deployment, bounds, new, old)
    if before.get("conditions"):
        status["conditions"] = copy.deepcopy(before["conditions"])
    available = {
        "type": "Available",
        "status": "True",
        "reason": "MinimumReplicasAvailable",
        "message": "Deployment has minimum availability.",
    }
    if status.get("availableReplicas", 0) < bounds.least_available:
        available |= {
            "status": "False",
            "reason": "MinimumReplicasUnavailable",
            "message": "Deployment does not have minimum availability.",
        }
    _set_condition(status, available, timestamp(now))
    _note_progress(deployment["spec"], before, status, new, now)
    return status


def _note_progress(
    spec: JsonObject, before: JsonObject, status: JsonObject, new: Set | None, now: datetime
) -> None:
    present = find_condition(status, "Progressing")
    if "progressDeadlineSeconds" not in spec or new is None:
        return
    done = (
        status.get("updatedReplicas", 0)
        == status.get("replicas", 0)
        == status.get("availableReplicas", 0)
        == spec["replicas"]
    )
    settled = status.get("replicas", 0) == status.get("updatedReplicas", 0)
    if settled and present and present["reason"] == "NewReplicaSetAvailable":
        return
    subject = f'ReplicaSet "{new.name}"'
    if done:
        condition = _progressing("NewReplicaSetAvailable", f"{subject} has successfully progressed.")
        _set_condition(status, condition, timestamp(now))
    elif _moved(before, status):
        condition = _progressing("ReplicaSetUpdated", f"{subject} is progressing.")
        _set_condition(status, condition, timestamp(now), refresh=True)
    elif (deadline := progress_deadline(spec, status)) and deadline <= now:
        message = f"{subject} has timed out progressing."
        _set_condition(status, _progressing("ProgressDeadlineExceeded", message, met=False), timestamp(now))


def _moved(before: JsonObject, status: JsonObject) -> bool:
    def old(numbers: JsonObject) -> int:
        return int(numbers.get("replicas", 0)) - int(numbers.get("updatedReplicas", 0))

    grown = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return any(status.get(k, 0) > before.get(k, 0) for k in grown) or old(status) < old(before)


def progress_deadline(spec: JsonObject, status: JsonObject) -> datetime | None:
    """When the rollout under way will count as stuck; None if none is under way."""
    present = find_condition(status, "Progressing")
    limit = spec.get("progressDeadlineSeconds")
    if not present or not limit:
        return None
    if present["reason"] in ("NewReplicaSetAvailable", "ProgressDeadlineExceeded"):
        return None
    # One second more: the times are whole seconds, and the limit must be exceeded.
    return moment_of(present["lastUpdateTime"]) + timedelta(seconds=limit + 1)
