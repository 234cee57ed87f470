"""What a kubelet would report about a pod, decided by its images' tags alone.

Three fates: an image `...:broken` is never pulled; one whose tag ends in `-bad` runs and becomes Ready but
is sick, which only its metrics and its log tell; every other one is well.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from receiver.demo.kubernetes.resources import JsonObject
from receiver.demo.kubernetes.storage import moment_of, timestamp

Health = Literal["well", "sick", "broken"]


def image_health(image: str) -> Health:
    """The fate of a container with that image."""
    tag = image.rpartition("/")[2].partition(":")[2]
    if tag == "broken":
        return "broken"
    return "sick" if tag.endswith("-bad") else "well"


def template_health(pod_spec: JsonObject) -> Health:
    """The worst fate among a pod's containers."""
    fates = {image_health(container["image"]) for container in pod_spec.get("containers", [])}
    return "broken" if "broken" in fates else "sick" if "sick" in fates else "well"


def is_ready(pod: JsonObject) -> bool:
    return ready_since(pod) is not None


def ready_since(pod: JsonObject) -> datetime | None:
    """When the pod became Ready; None if it is not."""
    for condition in pod.get("status", {}).get("conditions", []):
        if condition["type"] == "Ready" and condition["status"] == "True":
            return moment_of(condition["lastTransitionTime"])
    return None


def is_available(pod: JsonObject, min_ready: timedelta, now: datetime) -> bool:
    """Ready for at least ``min_ready``."""
    since = ready_since(pod)
    return since is not None and since + min_ready <= now


def report(pod: JsonObject, *, now: datetime, ready_after: timedelta) -> JsonObject:
    """The pod's status at ``now``, ``ready_after`` being how long a well pod takes."""
    created = moment_of(pod["metadata"]["creationTimestamp"])
    broken = template_health(pod["spec"]) == "broken"
    if broken:
        return _status(pod, created, None, ("ImagePullBackOff", "back-off pulling image"))
    ready_at = created + ready_after
    if ready_at > now:
        return _status(pod, created, None, ("ContainerCreating", ""))
    return _status(pod, created, max(ready_at, ready_since(pod) or ready_at), None)


def _status(
    pod: JsonObject, created: datetime, ready_at: datetime | None, waiting: tuple[str, str] | None
) -> JsonObject:
    start = timestamp(created)
    status: JsonObject = {
        "phase": "Pending" if ready_at is None else "Running",
        "conditions": _conditions(start, None if ready_at is None else timestamp(ready_at)),
        "hostIP": "127.0.0.1",
        "startTime": start,
        "containerStatuses": [
            _container(container, ready_at, waiting) for container in pod["spec"]["containers"]
        ],
        "qosClass": "BestEffort",
    }
    if ready_at is not None:
        # Any address will do as long as it stays the same: nobody connects to it.
        uid = int(pod["metadata"]["uid"][:4], 16)
        address = f"10.244.{uid % 2}.{uid // 2 % 250 + 2}"
        status |= {"podIP": address, "podIPs": [{"ip": address}]}
    return status


def _conditions(start: str, ready: str | None) -> list[JsonObject]:
    def condition(kind: str, since: str, *, met: bool = True) -> JsonObject:
        result: JsonObject = {"type": kind, "status": "True" if met else "False"}
        if not met:
            result["reason"] = "ContainersNotReady"
        return {**result, "lastProbeTime": None, "lastTransitionTime": since}

    return [
        condition("PodReadyToStartContainers", start),
        condition("Initialized", start),
        condition("Ready", ready or start, met=ready is not None),
        condition("ContainersReady", ready or start, met=ready is not None),
        condition("PodScheduled", start),
    ]


def _container(
    container: JsonObject, ready_at: datetime | None, waiting: tuple[str, str] | None
) -> JsonObject:
    state: JsonObject = {"running": {"startedAt": timestamp(ready_at)}} if ready_at else {}
    if waiting:
        reason, message = waiting
        state = {"waiting": {"reason": reason, **({"message": message} if message else {})}}
    return {
        "name": container["name"],
        "state": state,
        "lastState": {},
        "ready": ready_at is not None,
        "restartCount": 0,
        "image": container["image"],
        "imageID": "",
        "started": ready_at is not None,
    }
