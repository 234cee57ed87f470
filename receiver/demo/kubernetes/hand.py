"""A controller's hand in the cluster: how the control loops find what is theirs, write it, and tell of it."""

from __future__ import annotations

from receiver.demo.kubernetes.registry import Registry, WriteOptions
from receiver.demo.kubernetes.resources import EVENTS, JsonObject, Resource
from receiver.demo.kubernetes.storage import timestamp

MANAGER = "kube-controller-manager"
AS_CONTROLLER = WriteOptions(manager=MANAGER, field_validation="Ignore")


class Hand:
    """Writes unconditionally, as loops do that read a moment ago and never let go of the loop."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.store = registry.store
        self._events_made = 0

    def owned(self, resource: Resource, owner: JsonObject) -> list[JsonObject]:
        namespace, uid = owner["metadata"]["namespace"], owner["metadata"]["uid"]
        return self.store.controlled(resource, namespace, uid)

    def write(
        self, resource: Resource, obj: JsonObject, metadata: JsonObject, spec: JsonObject
    ) -> JsonObject:
        namespace, name = obj["metadata"]["namespace"], obj["metadata"]["name"]
        is_so = all(obj["metadata"].get(key) == value for key, value in metadata.items()) and all(
            obj["spec"].get(key) == value for key, value in spec.items()
        )
        if is_so and self.store.get(resource, namespace, name) is obj:
            # As the real loops: what is so already is not sent.
            return obj
        body = {
            **obj,
            "metadata": {**obj["metadata"], **metadata, "resourceVersion": ""},
            "spec": {**obj["spec"], **spec},
        }
        return self.registry.replace(resource, namespace, name, body, AS_CONTROLLER).obj

    def event(
        self,
        resource: Resource,
        about: JsonObject,
        component: str,
        reason: str,
        message: str,
        *,
        kind: str = "Normal",
    ) -> None:
        metadata, now = about["metadata"], timestamp(self.store.now())
        self._events_made += 1
        # As client-go names events: by the nanosecond, so that they list in the order of happening.
        moment = int(self.store.now().timestamp()) * 10**9 + self._events_made
        body: JsonObject = {
            "metadata": {"name": f"{metadata['name']}.{moment:016x}"},
            "involvedObject": {
                "apiVersion": resource.group_version,
                "kind": resource.kind,
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "resourceVersion": metadata["resourceVersion"],
                "uid": metadata["uid"],
            },
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "message": message,
            "reason": reason,
            "reportingComponent": component,
            "source": {"component": component},
            "type": kind,
        }
        self.registry.create(EVENTS, metadata["namespace"], body, AS_CONTROLLER)


def owner_reference(resource: Resource, obj: JsonObject) -> JsonObject:
    return {
        "apiVersion": resource.group_version,
        "kind": resource.kind,
        "name": obj["metadata"]["name"],
        "uid": obj["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
