"""The provisioner, the resizer and the kubelet's part of it: claims get a volume, and a larger one later.

As with a real CSI driver, growing takes two steps: the volume first (condition `Resizing`), then the file
system on it (`FileSystemResizePending`), and only then does `status.capacity` say the new size. A claim can
be told to get stuck at either.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal

from receiver.demo.kubernetes.claims import capacity, requested
from receiver.demo.kubernetes.hand import MANAGER, Hand
from receiver.demo.kubernetes.resources import PVCS, STORAGECLASSES, JsonObject
from receiver.demo.kubernetes.storage import moment_of, timestamp

Stage = Literal["Resizing", "FileSystemResizePending"]
_RESIZING: Stage = "Resizing"
_PENDING: Stage = "FileSystemResizePending"
RESIZER = "external-resizer"
WAITS = "Waiting for user to (re-)start a pod to finish file system resize of volume on node."


class VolumeLoop:
    """Provides volumes and grows them, on the world's clock.

    ``stage_takes`` is how long each of the two steps takes; ``stuck`` names claims, by namespace and name,
    that never get past a step.
    """

    def __init__(self, hand: Hand, *, stage_takes: timedelta = timedelta(seconds=30)) -> None:
        self._hand = hand
        self.stage_takes = stage_takes
        self.stuck: dict[tuple[str, str], Stage] = {}

    def sync(self, claim: JsonObject) -> None:
        """Bring one claim a step further, if it is time."""
        if claim.get("status", {}).get("phase", "Pending") == "Pending":
            self._provide(claim)
        elif (found := _stage(claim)) is not None:
            stage, since = found
            if self._moves_on(claim, stage) and self._hand.store.now() >= since + self.stage_takes:
                self._grown(claim) if stage == _PENDING else self._pending(claim)
        elif requested(claim) > capacity(claim):
            self._begin(claim)

    def due_moments(self) -> Iterator[datetime]:
        """When the next step of a claim is over."""
        for claim in self._hand.store.objects(PVCS):
            found = _stage(claim)
            if found is not None and self._moves_on(claim, found[0]):
                yield found[1] + self.stage_takes

    def _moves_on(self, claim: JsonObject, stage: Stage) -> bool:
        metadata = claim["metadata"]
        return self.stuck.get((metadata["namespace"], metadata["name"])) != stage

    def _provide(self, claim: JsonObject) -> None:
        spec = claim["spec"]
        if self._hand.store.get(STORAGECLASSES, "", spec.get("storageClassName", "")) is None:
            return
        bound = self._hand.write(PVCS, claim, {}, {"volumeName": f"pvc-{claim['metadata']['uid']}"})
        size = {"storage": spec["resources"]["requests"]["storage"]}
        status = {"phase": "Bound", "accessModes": spec.get("accessModes", []), "capacity": size}
        self._write(bound, status, MANAGER)

    def _begin(self, claim: JsonObject) -> None:
        wanted = {"storage": claim["spec"]["resources"]["requests"]["storage"]}
        under_way = {"allocatedResources": wanted}
        self._stands_at(claim, _RESIZING, "ControllerResizeInProgress", RESIZER, under_way)
        message = f"External resizer is resizing volume {claim['spec'].get('volumeName', '')}"
        self._hand.event(PVCS, claim, RESIZER, "Resizing", message)

    def _pending(self, claim: JsonObject) -> None:
        self._stands_at(claim, _PENDING, "NodeResizePending", RESIZER, {})
        self._hand.event(PVCS, claim, RESIZER, "FileSystemResizeRequired", WAITS)

    def _stands_at(self, claim: JsonObject, stage: Stage, said: str, manager: str, more: JsonObject) -> None:
        condition = {
            "type": stage,
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": timestamp(self._hand.store.now()),
        }
        if stage == _PENDING:
            condition["message"] = WAITS
        resources = {"allocatedResourceStatuses": {"storage": said}}
        self._write(claim, {**claim["status"], **more, **resources, "conditions": [condition]}, manager)

    def _grown(self, claim: JsonObject) -> None:
        over = ("conditions", "allocatedResourceStatuses")
        status = {key: value for key, value in claim["status"].items() if key not in over}
        size = status.get("allocatedResources", claim["spec"]["resources"]["requests"])["storage"]
        self._write(claim, {**status, "capacity": {**status.get("capacity", {}), "storage": size}}, "kubelet")
        self._hand.event(
            PVCS, claim, "kubelet", "FileSystemResizeSuccessful", "MountVolume.NodeExpandVolume succeeded"
        )

    def _write(self, claim: JsonObject, status: JsonObject, manager: str) -> None:
        self._hand.registry.write_status(PVCS, claim, status, manager)


def _stage(claim: JsonObject) -> tuple[Stage, datetime] | None:
    """At which step of growing a claim is, and since when."""
    for condition in claim.get("status", {}).get("conditions", []):
        for stage in (_RESIZING, _PENDING):
            if condition["type"] == stage and condition["status"] == "True":
                return stage, moment_of(condition["lastTransitionTime"])
    return None
